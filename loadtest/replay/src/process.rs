//! Models a process of a function, with its own clock, its own random numbers, and a gate before every port
//! call.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::drops::Drop;
use domain::limits::CLOCK_SKEW_MS;
use domain::time::Timestamp;
use ports::runtime::{Clock, Metrics, Random};

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Place, Stroke, faults_of, stroke_of};
use crate::function::Function;
use crate::sabotage::Sabotage;
use crate::timeline::Sleep;
use crate::watch::Watch;
use crate::world::World;

#[derive(Debug, Default)]
struct Invocation {
    label: String,
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
    /// The checks that run after the process's writes.
    pub watch: Arc<Watch>,
    skew_ms: i64,
    randoms: Mutex<u64>,
    old_drop: Mutex<Option<Drop>>,
    invocation: Mutex<Invocation>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// Starts a process, and draws the offset of its clock.
    #[must_use]
    pub fn start(world: &Arc<World>, watch: &Arc<Watch>, function: Function) -> Arc<Self> {
        let id = world.next_process();
        let half = CLOCK_SKEW_MS / 2;
        let drawn = keyed(world.seed ^ 0x5ce3, key_of(function.name()), id);
        // Extreme offsets cause most failures, so they are drawn often.
        let skew_ms = match drawn % 4 {
            _ if !world.faults.skews_clocks() => 0,
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
            watch: Arc::clone(watch),
            skew_ms,
            randoms: Mutex::new(0),
            old_drop: Mutex::default(),
            invocation: Mutex::default(),
        })
    }

    /// Begins an invocation, which later calls belong to.
    pub fn begin(&self, label: String) {
        let key = key_of(&label);
        *lock(&self.invocation) = Invocation {
            label,
            key,
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
    pub fn label(&self) -> String {
        lock(&self.invocation).label.clone()
    }

    /// The present time by the process's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world.now().plus_millis(self.skew_ms)
    }

    /// The time that the next call takes before and after its effect, and the stroke that hits it. Everything
    /// that may happen at a call is decided here.
    pub fn arrive(&self, place: Place) -> Arrival {
        let (label, key, nth) = {
            let mut invocation = lock(&self.invocation);
            invocation.calls += 1;
            let explicit = self.world.faults.strokes.is_some() || !self.world.faults.rates.is_empty();
            let label = if explicit {
                invocation.label.clone()
            } else {
                String::new()
            };
            (label, invocation.key, invocation.calls)
        };
        let lives_long = self.function == Function::ConductDrop;
        let faults = faults_of(place, self.function == Function::RelayEvents);
        let stroke = self
            .world
            .strike_one_of(&label, key, nth, faults, |fault, chance| {
                stroke_of(fault, place, lives_long, chance)
            });
        let drawn = keyed(self.world.seed ^ 0x1a7e, key, nth);
        // Calls to the gateway take longer than calls to the database.
        let longest = u64::from(self.world.latency_ms) * if place == Place::Gateway { 10 } else { 1 };
        let ms = i64::try_from(drawn % (longest + 1)).unwrap_or(0);
        let before = if drawn >> 40 & 1 == 0 { ms } else { 0 };
        let slow = match stroke {
            Some(Stroke::Slow(ms)) => i64::from(ms),
            _ => 0,
        };
        let mut arrival = Arrival {
            before_ms: before,
            after_ms: ms - before,
            stroke,
        };
        // A slow call is delayed either before or after its effect.
        if drawn >> 41 & 1 == 0 {
            arrival.before_ms += slow;
        } else {
            arrival.after_ms += slow;
        }
        arrival
    }

    /// Passes work to a service that the fault `away` stops at times. `take` runs if the service accepts it.
    /// Returns whether the caller gets the confirmation.
    pub async fn hand_over(&self, away: Option<Fault>, take: impl FnOnce()) -> bool {
        let arrival = self.arrive(Place::Send);
        self.world.sleep(arrival.before_ms).await;
        if arrival.stroke == Some(Stroke::DiesBefore) {
            self.die().await;
        }
        let is_away = away.is_some_and(|fault| self.world.is_away(fault));
        if is_away || arrival.stroke == Some(Stroke::UnknownBefore) {
            return false;
        }
        take();
        match arrival.stroke {
            Some(Stroke::DiesAfter) => self.die().await,
            Some(Stroke::UnknownAfter) => return false,
            _ => {}
        }
        self.world.sleep(arrival.after_ms).await;
        true
    }

    /// Ends the process at this call, which never returns.
    pub async fn die(&self) {
        self.world.note("a process died");
        self.world
            .tell(|| format!("{} dies at {}", self.name(), self.label()));
        self.world.kill(self.id);
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

/// The delays of a call, and the stroke that hits it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The delay before the effect, in milliseconds.
    pub before_ms: i64,
    /// The delay of the answer, in milliseconds.
    pub after_ms: i64,
    /// The stroke that hits the call; `None` if none does.
    pub stroke: Option<Stroke>,
}

/// The clock, random numbers and waits of a process.
#[derive(Clone)]
pub struct ProcessRuntime(pub Arc<Process>);

impl Clock for ProcessRuntime {
    fn now(&self) -> Timestamp {
        let now = self.0.now();
        match self.0.function {
            Function::ConductDrop if self.0.world.is_sabotaged(Sabotage::GiveBackWithoutSkew) => {
                now.plus_millis(CLOCK_SKEW_MS)
            }
            _ => now,
        }
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + Send {
        let world = &self.0.world;
        let sleep: Sleep = world.sleep(i64::try_from(ms).unwrap_or(i64::MAX));
        sleep
    }
}

impl Random for ProcessRuntime {
    fn random(&self) -> u64 {
        let mut randoms = lock(&self.0.randoms);
        *randoms += 1;
        keyed(self.0.world.seed ^ 0xd1ce, self.0.id, *randoms)
    }
}

impl Metrics for ProcessRuntime {}
