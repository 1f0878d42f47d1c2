//! Models a process of a function, with its own clock, its own random numbers, and a gate before every port
//! call.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use domain::drops::Drop;
use domain::limits::CLOCK_SKEW_MS;
use domain::time::Timestamp;
use ports::runtime::{Clock, Metrics, Random};

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Place, Stroke, faults_of, stroke_of};
use crate::function::Function;
use crate::lock::lock;
use crate::sabotage::Sabotage;
use crate::world::World;

#[derive(Default)]
struct Invocation {
    label: Arc<str>,
    key: u64,
    calls: u64,
    begun_ms: i64,
}

/// A process, which serves one invocation at a time and keeps its state until it dies.
pub struct Process {
    /// The process's number.
    pub id: u64,
    /// The function that the process runs.
    pub function: Function,
    /// The state that all parts of the run share.
    pub world: Arc<World>,
    skew_ms: i64,
    randoms: AtomicU64,
    old_drop: Mutex<Option<Drop>>,
    invocation: Mutex<Invocation>,
}

impl Process {
    /// Starts a process, and draws the offset of its clock.
    #[must_use]
    pub fn start(world: &Arc<World>, function: Function) -> Arc<Self> {
        let id = world.next_process();
        let half = CLOCK_SKEW_MS / 2;
        let drawn = keyed(world.plan.seed ^ 0x5ce3, key_of(function.name()), id);
        // Extreme offsets cause most failures, so they are drawn often.
        let skew_ms = match drawn % 4 {
            _ if !world.plan.faults.rates.contains_key(&Fault::ClockSkew) => 0,
            0 => half,
            1 => -half,
            _ => i64::try_from((drawn >> 8) % (2 * half.unsigned_abs() + 1)).unwrap_or(0) - half,
        };
        if skew_ms != 0 {
            world.count(Fault::ClockSkew);
        }
        Arc::new(Self {
            id,
            function,
            world: Arc::clone(world),
            skew_ms,
            randoms: AtomicU64::new(0),
            old_drop: Mutex::default(),
            invocation: Mutex::default(),
        })
    }

    /// Begins an invocation, which later calls belong to.
    pub fn begin(&self, label: String) {
        *lock(&self.invocation) = Invocation {
            key: key_of(&label),
            label: label.into(),
            calls: 0,
            begun_ms: self.world.now_ms(),
        };
    }

    /// The start of the current invocation, in milliseconds since the beginning.
    #[must_use]
    pub fn begun_ms(&self) -> i64 {
        lock(&self.invocation).begun_ms
    }

    /// The label of the current invocation.
    #[must_use]
    pub fn label(&self) -> Arc<str> {
        Arc::clone(&lock(&self.invocation).label)
    }

    /// The present time by the process's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world.now().plus_millis(self.skew_ms)
    }

    /// Waits for the time that the next call takes before its effect. Returns the stroke that hits the call, and the
    /// time that the answer takes, in milliseconds. Everything that may happen at a call is decided here.
    pub async fn arrive(&self, place: Place) -> (Option<Stroke>, i64) {
        let (label, key, nth) = {
            let mut invocation = lock(&self.invocation);
            invocation.calls += 1;
            (Arc::clone(&invocation.label), invocation.key, invocation.calls)
        };
        let faults = faults_of(place, self.function == Function::RelayEvents);
        let lives_long = self.function == Function::ConductDrop;
        let stroke = self
            .world
            .strike_one_of(&label, key, nth, faults, |fault, chance| {
                stroke_of(fault, lives_long, chance)
            });
        let drawn = keyed(self.world.plan.seed ^ 0x1a7e, key, nth);
        // Calls to the gateway take longer than calls to the database.
        let longest =
            u64::from(self.world.plan.system.latency_ms) * if place == Place::Gateway { 10 } else { 1 };
        let ms = i64::try_from(drawn % (longest + 1)).unwrap_or(0);
        let slow_ms = match stroke {
            Some(Stroke::Slow(ms)) => i64::from(ms),
            _ => 0,
        };
        // The usual time of a call passes either before or after its effect, and so does the delay of a slow call.
        let share = |bit: u32, ms: i64| if drawn >> bit & 1 == 0 { ms } else { 0 };
        let before_ms = share(40, ms) + share(41, slow_ms);
        self.world.sleep(before_ms).await;
        (stroke, ms + slow_ms - before_ms)
    }

    /// Passes work to a service that the fault `away` stops at times. `take` runs if the service accepts it.
    /// Returns whether the caller gets the confirmation.
    pub async fn hand_over(&self, away: Option<Fault>, take: impl FnOnce()) -> bool {
        let (stroke, after_ms) = self.arrive(Place::Send).await;
        if stroke == Some(Stroke::DiesBefore) {
            self.die().await;
        }
        let is_away = away.is_some_and(|fault| self.world.is_away(fault));
        if is_away || stroke == Some(Stroke::UnknownBefore) {
            return false;
        }
        take();
        match stroke {
            Some(Stroke::DiesAfter) => self.die().await,
            Some(Stroke::UnknownAfter) => return false,
            _ => {}
        }
        self.world.sleep(after_ms).await;
        true
    }

    /// Ends the process at this call, which never returns.
    pub async fn die(&self) {
        self.world.note("a process died");
        self.world
            .tell(|| format!("{} dies at {}", self.name(), self.label()));
        self.world.timeline.kill(self.id);
        std::future::pending::<()>().await;
    }

    /// The drop as the process first read it if the sabotage requires that, otherwise the result of `read`.
    pub async fn stale_drop<X>(
        &self,
        read: impl Future<Output = Result<Option<Drop>, X>>,
    ) -> Result<Option<Drop>, X> {
        let keeps = self.world.is_sabotaged(Sabotage::StaleSaysGone);
        if keeps && let Some(drop) = lock(&self.old_drop).clone() {
            return Ok(Some(drop));
        }
        let read = read.await?;
        if keeps {
            lock(&self.old_drop).clone_from(&read);
        }
        Ok(read)
    }

    /// The process's name in the history.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.function.name(), self.id)
    }

    /// Adds a line about the process's action to the history.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        self.world
            .tell(|| format!("{} [{}] {}", self.name(), self.label(), line()));
    }
}

/// The clock, random numbers and waits of a process.
#[derive(Clone)]
pub struct ProcessRuntime(pub Arc<Process>);

impl Clock for ProcessRuntime {
    fn now(&self) -> Timestamp {
        let early = self.0.function == Function::ConductDrop
            && self.0.world.is_sabotaged(Sabotage::GiveBackWithoutSkew);
        self.0.now().plus_millis(if early { CLOCK_SKEW_MS } else { 0 })
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + Send {
        self.0.world.sleep(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

impl Random for ProcessRuntime {
    fn random(&self) -> u64 {
        let nth = self.0.randoms.fetch_add(1, Ordering::Relaxed) + 1;
        keyed(self.0.world.plan.seed ^ 0xd1ce, self.0.id, nth)
    }
}

impl Metrics for ProcessRuntime {}
