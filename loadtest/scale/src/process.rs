//! Models an environment of a function, with its own clock, random numbers and caches.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use domain::time::Timestamp;
use ports::runtime::{Clock, Metrics, Random};
use replay::chance::keyed;
use replay::function::Function;

use crate::world::World;

/// An environment. It serves one invocation at a time.
#[derive(Debug)]
pub struct Process {
    /// The process's number.
    pub id: u64,
    /// The function that the environment runs.
    pub function: Function,
    /// The state that all parts of the run share.
    pub world: Arc<World>,
    skew_ms: i64,
    randoms: AtomicU64,
    ended: AtomicBool,
}

impl Process {
    /// Starts an environment, and draws the offset of its clock.
    #[must_use]
    pub fn start(world: &Arc<World>, function: Function) -> Arc<Self> {
        let id = world.next_process();
        let most = world.settings.times.skew_us;
        let skew_us = world.drawn_us([-most, most]);
        Arc::new(Self {
            id,
            function,
            world: Arc::clone(world),
            skew_ms: skew_us / 1_000,
            randoms: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        })
    }

    /// Ends the environment: no further call begins. A call in progress may still take effect.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Returns immediately if the environment still exists, and never if it has ended.
    pub async fn goes_on(&self) {
        if self.ended.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// Lets the time of a call pass, which is drawn between the two limits, in µs. Never returns if the environment
    /// has ended.
    pub async fn calls(&self, us: [i64; 2]) {
        self.goes_on().await;
        self.world.takes(us).await;
    }

    /// The present time by the environment's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world.now().plus_millis(self.skew_ms)
    }
}

/// The clock, random numbers and waits of an environment.
#[derive(Debug, Clone)]
pub struct ProcessRuntime(pub Arc<Process>);

impl Clock for ProcessRuntime {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + Send {
        let us = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        self.0.world.timeline.sleep(us)
    }
}

impl Random for ProcessRuntime {
    fn random(&self) -> u64 {
        let nth = self.0.randoms.fetch_add(1, Ordering::Relaxed);
        keyed(self.0.world.settings.seed ^ 0xd1ce, self.0.id, nth)
    }
}

impl Metrics for ProcessRuntime {}
