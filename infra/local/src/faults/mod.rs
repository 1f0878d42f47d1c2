//! Faults on purpose: what a run has to bear, drawn from a seed and counted.
//!
//! **Problem.** Promises that hold while nothing breaks say little. What breaks in production breaks between the parts:
//! a write is done and its answer lost, a process dies with half of its work done, a message comes twice, clocks differ.
//! Each has to be tried during a whole drop, through the real binaries, and the report must be able to say that it really
//! happened.
//!
//! **Model.** A [`FaultPlan`] names the faults of a run. [`Faults`] decides at each seam of the stack whether to strike:
//!
//! | seam | faults | decided in |
//! |---|---|---|
//! | before and after a request on the tables | `throttle`, `transaction-conflict`, `timeout-before-write`, `timeout-after-write`, `slow-dynamodb` | [`tables`], [`partitions`] |
//! | a function's process | `kill-functions`, `clock-skew` | [`processes`], [`clock`] |
//! | between a queue and its function | `queue-duplicates`, `queue-reorder` | [`queues`] |
//! | the relay's requests to send | `relay-crash` | [`relay`] |
//! | the payment gateway | `gateway-timeout-after-charge`, `gateway-outage` | [`gateway`] |
//! | PostgreSQL's process | `postgres-restart`, `postgres-outage` | [`ledger`] |
//!
//! **Walk-through.** The stack makes one [`Faults`] from the plan and the seed and hands it to its parts; each asks at its
//! seam, does what it is told and the strike is counted. `GET /faults` on the control address tells the figures,
//! `POST /faults/end` ends all of them for good, so that an audit reads in peace.
//!
//! **What it does not do.** Only functions are struck: requests of an audit or of a person pass. The draws follow from the
//! seed, but which request meets which draw depends on how the run interleaves; the same seed is the same weather, not the
//! same history.

mod chance;
pub mod clock;
pub mod gateway;
pub mod ledger;
pub mod partitions;
pub mod processes;
pub mod queues;
pub mod relay;
mod request;
mod strikes;
pub mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use sandbox_gateway::faults::Switch;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

pub use request::Keys;
pub use stack_api::faults::{Fault, FaultPlan};

use crate::meter::{Caller, Uses};
use crate::postgres::Postgres;
use crate::sqs::Message;
use relay::Crash;
use stack_api::Struck;
use strikes::Strikes;
use tables::Fate;

/// Kills the process that runs an invocation of a function; false if none does.
type Kill = Box<dyn Fn(&str, u64) -> bool + Send + Sync>;

/// The faults of one stack.
pub struct Faults {
    plan: FaultPlan,
    seed: u64,
    over: watch::Sender<bool>,
    strikes: Strikes,
    tables: tables::Tables,
    queues: queues::Queues,
    processes: processes::Processes,
    relay: relay::Relay,
    clock: Option<PathBuf>,
    gateway: Arc<Switch>,
    kill: OnceLock<Kill>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults")
            .field("plan", &self.plan)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::of(FaultPlan::default(), 0, Keys::default(), None)
    }
}

impl Faults {
    fn of(plan: FaultPlan, seed: u64, keys: Keys, clock: Option<PathBuf>) -> Self {
        Self {
            over: watch::Sender::new(false),
            strikes: Strikes::of(&plan),
            tables: tables::Tables::new(&plan, seed, keys),
            queues: queues::Queues::new(&plan, seed),
            processes: processes::Processes::new(&plan, seed),
            relay: relay::Relay::new(&plan, seed),
            clock,
            gateway: Arc::new(Switch::new(gateway::of(&plan, seed))),
            kill: OnceLock::new(),
            plan,
            seed,
        }
    }

    /// The faults of `plan`, every draw from `seed`; what has to be built for them is built in `folder`.
    ///
    /// # Errors
    /// When something cannot be built.
    pub fn new(plan: FaultPlan, seed: u64, keys: Keys, folder: &Path) -> Result<Arc<Self>> {
        let clock = match plan.has(Fault::ClockSkew) {
            true => Some(clock::build(folder)?),
            false => None,
        };
        Ok(Arc::new(Self::of(plan, seed, keys, clock)))
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Says how processes are killed; without it none is by name.
    pub fn kill_with(&self, kill: impl Fn(&str, u64) -> bool + Send + Sync + 'static) {
        let _ = self.kill.set(Box::new(kill));
    }

    /// The switch of the sandbox gateway's faults.
    #[must_use]
    pub fn gateway(&self) -> Arc<Switch> {
        Arc::clone(&self.gateway)
    }

    /// Starts what happens by itself, without anyone asking: outages and crashes.
    #[must_use]
    pub fn start(self: &Arc<Self>, postgres: &Arc<Mutex<Postgres>>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(gateway::come_and_go(Arc::clone(self), self.gateway()));
        tasks.spawn(ledger::crash(Arc::clone(self), Arc::clone(postgres)));
        tasks.spawn(ledger::outage(Arc::clone(self), Arc::clone(postgres)));
        tasks
    }

    /// Whether they go on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !*self.over.borrow()
    }

    /// Ends all of them for good. What is away comes back: PostgreSQL within seconds, a message that is held back at the
    /// next receive. Clocks stay as they are.
    pub fn end(&self) {
        self.over.send_replace(true);
        self.gateway.change(|faults| {
            *faults = sandbox_gateway::faults::Faults {
                // A setting of the stack, no fault.
                calls_per_second: faults.calls_per_second,
                ..Default::default()
            }
        });
    }

    /// Waits until they are over.
    async fn over(&self) {
        // The sender lives as long as `self`.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// How often each struck.
    #[must_use]
    pub fn report(&self) -> BTreeMap<&'static str, Struck> {
        let mut report = self.strikes.report();
        let struck = self.gateway.struck();
        for (fault, kind, count) in [
            (
                Fault::GatewayTimeoutAfterCharge,
                "confirm",
                struck.lost_after_charge,
            ),
            (Fault::GatewayOutage, "request refused", struck.refused),
        ] {
            if let Some(figures) = report.get_mut(fault.name()) {
                figures.strikes = count;
                figures.kinds.insert(kind.to_owned(), count);
            }
        }
        report
    }

    fn note(&self, fault: Fault, kind: &'static str) {
        self.strikes.add(fault, kind);
    }

    /// What becomes of a function's request to DynamoDB.
    #[must_use]
    pub fn fate(&self, operation: &str, body: &[u8]) -> Fate {
        if self.plan.is_empty() || !self.is_on() {
            return Fate::Answered;
        }
        let (fate, strike) = self.tables.fate(operation, body);
        if let Some((fault, kind, count)) = strike {
            self.strikes.add_many(fault, kind, count);
        }
        fate
    }

    /// A function's request to DynamoDB used this.
    pub fn charge(&self, operation: &str, body: &[u8], uses: &Uses) {
        if self.is_on() {
            self.tables.charge(operation, body, uses);
        }
    }

    /// What of a queue is delivered now: see [`queues::Queues`].
    #[must_use]
    pub fn pass(&self, queue: &str, received: Vec<Message>, most: usize) -> Vec<Message> {
        let (due, strikes) = self
            .queues
            .pass(queue, received, most, Instant::now(), self.is_on());
        for (fault, kind, count) in strikes {
            self.strikes.add_many(fault, kind, count);
        }
        due
    }

    /// How long a receive may wait, when it would wait `long` without faults.
    #[must_use]
    pub fn patience(&self, queue: &str, long: Duration) -> Duration {
        match self.queues.keeps(queue) {
            true => long.min(queues::LOOK_AGAIN),
            false => long,
        }
    }

    /// Whether messages of the queue are held back here.
    #[must_use]
    pub fn keeps(&self, queue: &str) -> bool {
        self.queues.keeps(queue)
    }

    /// Whether the caller of an action on a queue dies, and when.
    #[must_use]
    pub fn crash(&self, function: Option<&str>, action: &str, caller: Caller) -> Option<Crash> {
        let Caller::Invocation(invocation) = caller else {
            return None;
        };
        let sends = matches!(action, "SendMessage" | "SendMessageBatch");
        if !self.is_on() || !sends || function != Some(relay::RELAY) {
            return None;
        }
        self.relay.decide(invocation)
    }

    /// Kills the relay's process that runs `caller`.
    pub fn kill_relay(&self, crash: Crash, caller: Caller) {
        let (Caller::Invocation(invocation), Some(kill)) = (caller, self.kill.get()) else {
            return;
        };
        if kill(relay::RELAY, invocation) {
            let kind = match crash {
                Crash::Before => "before sending",
                Crash::After | Crash::Already => "after sending",
            };
            self.note(Fault::RelayCrash, kind);
        }
    }

    /// How long a function's process that starts now lives.
    #[must_use]
    pub fn life(&self, scheduled: bool) -> Option<Duration> {
        self.processes.life(scheduled)
    }

    /// After what time a process dies that begins an invocation now, if it does.
    #[must_use]
    pub fn dies_after(&self, scheduled: bool) -> Option<Duration> {
        match scheduled || !self.is_on() {
            true => None,
            false => self.processes.dies_after(),
        }
    }

    /// A process was killed as [`Faults::life`] or [`Faults::dies_after`] told.
    pub fn killed(&self, busy: bool) {
        self.note(Fault::KillFunctions, if busy { "at work" } else { "idle" });
    }

    /// What a process that starts now has in its environment for its clock to be off.
    #[must_use]
    pub fn clock_variables(&self) -> Vec<(&'static str, String)> {
        match (&self.clock, self.processes.clock_offset_ms()) {
            (Some(library), Some(offset_ms)) if self.is_on() => {
                self.note(Fault::ClockSkew, if offset_ms < 0 { "behind" } else { "ahead" });
                vec![
                    ("LD_PRELOAD", library.display().to_string()),
                    (clock::OFFSET, offset_ms.to_string()),
                ]
            }
            _ => Vec::new(),
        }
    }
}
