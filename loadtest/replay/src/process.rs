//! A process of a function, with its own clock, its own random numbers, and a gate before every port call.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::drops::Drop;
use domain::limits::{CLOCK_SKEW_MS, FunctionLimits};
use domain::time::Timestamp;
use ports::runtime::{Clock, Metrics, Random};

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Place, Stroke};
use crate::sabotage::Sabotage;
use crate::timeline::Sleep;
use crate::world::{World, faults_of, stroke_of};

/// A function of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// `get-drop`
    GetDrop,
    /// `reserve`
    Reserve,
    /// `checkout`
    Checkout,
    /// `get-order`
    GetOrder,
    /// `operate-drop`
    OperateDrop,
    /// `relay-events`
    RelayEvents,
    /// `process-order`
    ProcessOrder,
    /// `project-ledger`
    ProjectLedger,
    /// `conduct-drop`
    ConductDrop,
    /// `sweep-orders`
    SweepOrders,
    /// `receive-webhook`
    ReceiveWebhook,
    /// `notify-shopper`
    NotifyShopper,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::GetDrop,
        Self::Reserve,
        Self::Checkout,
        Self::GetOrder,
        Self::OperateDrop,
        Self::RelayEvents,
        Self::ProcessOrder,
        Self::ProjectLedger,
        Self::ConductDrop,
        Self::SweepOrders,
        Self::ReceiveWebhook,
        Self::NotifyShopper,
    ];

    /// The function's name, which is the name of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetDrop => "get-drop",
            Self::Reserve => "reserve",
            Self::Checkout => "checkout",
            Self::GetOrder => "get-order",
            Self::OperateDrop => "operate-drop",
            Self::RelayEvents => "relay-events",
            Self::ProcessOrder => "process-order",
            Self::ProjectLedger => "project-ledger",
            Self::ConductDrop => "conduct-drop",
            Self::SweepOrders => "sweep-orders",
            Self::ReceiveWebhook => "receive-webhook",
            Self::NotifyShopper => "notify-shopper",
        }
    }

    #[must_use]
    pub const fn limits(self) -> FunctionLimits {
        match self {
            Self::GetDrop => get_drop::LIMITS,
            Self::Reserve => reserve::LIMITS,
            Self::Checkout => checkout::LIMITS,
            Self::GetOrder => get_order::LIMITS,
            Self::OperateDrop => operate_drop::LIMITS,
            Self::RelayEvents => relay_events::LIMITS,
            Self::ProcessOrder => process_order::LIMITS,
            Self::ProjectLedger => project_ledger::LIMITS,
            Self::ConductDrop => conduct_drop::LIMITS,
            Self::SweepOrders => sweep_orders::LIMITS,
            Self::ReceiveWebhook => receive_webhook::LIMITS,
            Self::NotifyShopper => notify_shopper::LIMITS,
        }
    }
}

#[derive(Debug, Default)]
struct Invocation {
    label: String,
    key: u64,
    calls: u64,
    begun_ms: i64,
}

/// A process. It serves one invocation at a time, and keeps its state until it dies.
pub struct Process {
    /// The process's number.
    pub id: u64,
    /// Of which function.
    pub function: Function,
    /// Where it lives.
    pub world: Arc<World>,
    skew_ms: i64,
    randoms: Mutex<u64>,
    old_drop: Mutex<Option<Drop>>,
    invocation: Mutex<Invocation>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// A new process.
    #[must_use]
    pub fn start(world: &Arc<World>, function: Function) -> Arc<Self> {
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
            skew_ms,
            randoms: Mutex::new(0),
            old_drop: Mutex::default(),
            invocation: Mutex::default(),
        })
    }

    /// Takes on an invocation.
    pub fn begin(&self, label: String) {
        let key = key_of(&label);
        *lock(&self.invocation) = Invocation {
            label,
            key,
            calls: 0,
            begun_ms: self.world.now_ms(),
        };
    }

    /// The start of its invocation, in milliseconds since the beginning.
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
        // Calls to a gateway take longer.
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

    /// The process dies here: the call never returns.
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

/// What awaits a call.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The delay before the effect, in milliseconds.
    pub before_ms: i64,
    /// The delay of the answer, in milliseconds.
    pub after_ms: i64,
    /// What strikes it.
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
