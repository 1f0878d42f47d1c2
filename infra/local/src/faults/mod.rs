//! Injects faults, which are drawn from a seed and counted.
//!
//! **Problem.** A guarantee is tested only when parts fail. Production failures happen between the parts: a write is
//! done and its answer is lost, a process dies with half of its work done, a message is delivered twice, clocks differ.
//! A test must inject each fault during a whole drop with the real binaries, and the report must show that the fault
//! happened.
//!
//! **Model.** A [`FaultPlan`] names the faults of a run. [`Faults`] decides at each injection point of the stack
//! whether a fault happens:
//!
//! | injection point | faults | decided in |
//! |---|---|---|
//! | before and after a request to DynamoDB | `throttle`, `transaction-conflict`, `timeout-before-write`, `timeout-after-write`, `slow-dynamodb` | [`tables`], [`partitions`] |
//! | a function's process | `kill-functions`, `clock-skew` | [`processes`], [`clock`] |
//! | between a queue and its function | `queue-duplicates`, `queue-reorder` | [`queues`] |
//! | send requests of the relay | `relay-crash` | [`relay_crash`] |
//! | the payment gateway | `gateway-timeout-after-charge`, `gateway-outage`, `webhook-disorder` | [`gateway`] |
//! | PostgreSQL's process | `postgres-restart`, `postgres-outage` | [`ledger`] |
//!
//! **Walk-through.** The stack makes one [`Faults`] from the plan and the seed and passes it to its parts. Each part
//! asks at its injection point and applies the answer, and the fault is counted. `GET /faults` on the control address
//! returns the counts; `POST /faults/end` ends all faults permanently, so that an audit reads without faults.
//!
//! **What it does not do.** Faults are injected only into functions and their requests, not into requests of an audit
//! or a person. The random numbers follow from the seed, but their assignment to requests depends on how the run
//! interleaves. So the same seed gives the same rates and not the same history.

mod chance;
pub mod clock;
pub mod gateway;
pub mod ledger;
pub mod partitions;
pub mod processes;
pub mod queues;
pub mod relay_crash;
mod request;
mod strikes;
pub mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use sandbox_gateway::faults::Switch;
use sandbox_gateway::webhooks::{Target, WebhookFaults, Webhooks};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

pub use request::Keys;
pub use stack_api::faults::{Fault, FaultPlan};

use crate::meter::{Caller, Uses};
use crate::postgres::Postgres;
use crate::wire::Message;
use relay_crash::Crash;
use stack_api::Struck;
use strikes::Strikes;
use tables::Fate;

/// Kills the process that runs an invocation of a function. Returns false if no process runs it.
type Kill = Box<dyn Fn(&str, u64) -> bool + Send + Sync>;

pub struct Faults {
    plan: FaultPlan,
    seed: u64,
    over: watch::Sender<bool>,
    strikes: Strikes,
    tables: tables::Tables,
    queues: queues::Queues,
    processes: processes::Processes,
    relay: relay_crash::Relay,
    clock: Option<PathBuf>,
    gateway: Arc<Switch>,
    webhooks: Arc<Webhooks>,
    kill: OnceLock<Kill>,
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
            relay: relay_crash::Relay::new(&plan, seed),
            clock,
            gateway: Arc::new(Switch::new(gateway::of(&plan, seed))),
            webhooks: Arc::default(),
            kill: OnceLock::new(),
            plan,
            seed,
        }
    }

    /// The faults of `plan`, with random numbers from `seed`. Tools for the faults are built in `folder`.
    ///
    /// # Errors
    /// When a tool cannot be built.
    pub fn new(plan: FaultPlan, seed: u64, keys: Keys, folder: &Path) -> Result<Arc<Self>> {
        let clock = match plan.has(Fault::ClockSkew) {
            true => Some(clock::build(folder)?),
            false => None,
        };
        Ok(Arc::new(Self::of(plan, seed, keys, clock)))
    }

    #[must_use]
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Sets the function that kills the process of an invocation. Without it, no such process is killed.
    pub fn kill_with(&self, kill: impl Fn(&str, u64) -> bool + Send + Sync + 'static) {
        let _ = self.kill.set(Box::new(kill));
    }

    /// The switch that changes and counts the sandbox gateway's faults.
    #[must_use]
    pub fn gateway(&self) -> Arc<Switch> {
        Arc::clone(&self.gateway)
    }

    /// Sends the sandbox gateway's webhooks to `url`, signed with `secret`, and injects the plan's faults into them.
    #[must_use]
    pub fn webhooks(&self, url: String, secret: String) -> Arc<Webhooks> {
        self.webhooks.send_to(Some(Target {
            url,
            secret,
            faults: gateway::of_webhooks(&self.plan, self.seed),
        }));
        Arc::clone(&self.webhooks)
    }

    /// Starts the faults that need no request: outages and crashes.
    #[must_use]
    pub fn start(self: &Arc<Self>, postgres: &Arc<Mutex<Postgres>>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(gateway::come_and_go(Arc::clone(self), self.gateway()));
        tasks.spawn(ledger::crash(Arc::clone(self), Arc::clone(postgres)));
        tasks.spawn(ledger::outage(Arc::clone(self), Arc::clone(postgres)));
        tasks
    }

    /// Whether faults may happen: true until [`Self::end`].
    #[must_use]
    pub fn is_on(&self) -> bool {
        !*self.over.borrow()
    }

    /// Ends all faults permanently. PostgreSQL restarts within seconds, and held messages are delivered with the next
    /// receive. Clock offsets stay.
    pub fn end(&self) {
        self.over.send_replace(true);
        self.webhooks.strike_with(WebhookFaults::default());
        self.gateway.change(|faults| {
            *faults = sandbox_gateway::faults::Faults {
                // The rate limit is a setting of the stack and not a fault, so it stays.
                calls_per_second: faults.calls_per_second,
                ..Default::default()
            }
        });
    }

    /// Waits until the faults end.
    async fn over(&self) {
        // The wait cannot fail, since the sender lives as long as `self`.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// The number of times that each fault of the plan has happened.
    #[must_use]
    pub fn report(&self) -> BTreeMap<&'static str, Struck> {
        let mut report = self.strikes.report();
        let struck = self.gateway.struck();
        let webhooks = self.webhooks.struck();
        let after_charge = Fault::GatewayTimeoutAfterCharge;
        for (fault, kind, count) in [
            (after_charge, "confirm", struck.lost_after_charge),
            (Fault::GatewayOutage, "request refused", struck.refused),
            (Fault::WebhookDisorder, "lost", webhooks.lost),
            (Fault::WebhookDisorder, "twice", webhooks.twice),
            (Fault::WebhookDisorder, "late", webhooks.late),
        ] {
            if let Some(figures) = report.get_mut(fault.name()) {
                figures.strikes += count;
                figures.kinds.insert(kind.to_owned(), count);
            }
        }
        report
    }

    fn note(&self, fault: Fault, kind: &'static str) {
        self.strikes.add(fault, kind, 1);
    }

    /// Decides whether a fault happens to a function's request to DynamoDB, and counts it.
    #[must_use]
    pub fn fate(&self, operation: &str, body: &[u8]) -> Fate {
        if self.plan.is_empty() || !self.is_on() {
            return Fate::Answered;
        }
        let Some((fate, (fault, kind, count))) = self.tables.fate(operation, body) else {
            return Fate::Answered;
        };
        self.strikes.add(fault, kind, count);
        fate
    }

    /// Charges the capacity that a request to DynamoDB consumed to the partitions that throttle.
    pub fn charge(&self, operation: &str, body: &[u8], uses: &Uses) {
        if self.is_on() {
            self.tables.charge(operation, body, uses);
        }
    }

    /// The messages of a queue to deliver now, at most `most`: received messages, and messages held back before.
    #[must_use]
    pub fn pass(&self, queue: &str, received: Vec<Message>, most: usize) -> Vec<Message> {
        let (now, on) = (Instant::now(), self.is_on());
        let (due, strikes) = self.queues.pass(queue, received, most, now, on);
        for (fault, kind, count) in strikes {
            self.strikes.add(fault, kind, count);
        }
        due
    }

    /// The time that a receive may wait. Without faults it is `long`; while messages of the queue are held back, it is
    /// shorter.
    #[must_use]
    pub fn patience(&self, queue: &str, long: Duration) -> Duration {
        match self.queues.keeps(queue) {
            true => long.min(queues::LOOK_AGAIN),
            false => long,
        }
    }

    /// Whether messages of the queue are held back.
    #[must_use]
    pub fn keeps(&self, queue: &str) -> bool {
        self.queues.keeps(queue)
    }

    /// Whether an action on a queue kills the calling process, and when.
    #[must_use]
    pub fn crash(&self, function: Option<&str>, action: &str, caller: Caller) -> Option<Crash> {
        let Caller::Invocation(invocation) = caller else {
            return None;
        };
        let sends = matches!(action, "SendMessage" | "SendMessageBatch");
        if !self.is_on() || !sends || function != Some(relay_crash::RELAY) {
            return None;
        }
        self.relay.decide(invocation)
    }

    /// Kills the relay process that runs `caller`.
    pub fn kill_relay(&self, crash: Crash, caller: Caller) {
        let (Caller::Invocation(invocation), Some(kill)) = (caller, self.kill.get()) else {
            return;
        };
        if kill(relay_crash::RELAY, invocation) {
            let kind = match crash {
                Crash::Before => "before sending",
                Crash::After | Crash::Already => "after sending",
            };
            self.note(Fault::RelayCrash, kind);
        }
    }

    /// The lifetime of a function process that starts now; `None` if no fault limits it.
    #[must_use]
    pub fn life(&self, scheduled: bool) -> Option<Duration> {
        self.processes.life(scheduled)
    }

    /// The delay after which a process dies that begins an invocation now. `None` if it does not die.
    #[must_use]
    pub fn dies_after(&self, scheduled: bool) -> Option<Duration> {
        match scheduled || !self.is_on() {
            true => None,
            false => self.processes.dies_after(),
        }
    }

    /// Counts a kill decided by [`Faults::life`] or [`Faults::dies_after`].
    pub fn killed(&self, busy: bool) {
        self.note(Fault::KillFunctions, if busy { "at work" } else { "idle" });
    }

    /// The environment variables that shift the clock of a process that starts now.
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
