//! Prepares capacity before every drop, verifies it, and reduces it afterwards.
//!
//! **The problem.** At the opening of a drop, reactive scaling is too slow. And capacity that is not reduced afterwards
//! costs money permanently. Increases and reductions must both work although any run of this function may die at any
//! point, run twice, or run late.
//!
//! **The model.** Every minute a run takes the lease, reads the declared documents and the account's limits, reads the
//! current capacity, lets [`capacity::reconcile`] decide, stores the record of its decision, carries out the
//! differences, reads the capacity again, and stores each drop's readiness. A run keeps no other state: the next run
//! reads the capacity that exists.
//!
//! **Increases immediately, reductions with confirmation.** Calls to a control plane take no fencing token. So a step
//! that reduces something, or interrupts the database, is carried out only if two runs agree, and after reading lease
//! and calendar *again* with the same decision. One case remains: a process that is suspended between that read and its
//! call. The next run increases again what this process reduces.
//!
//! **A walk through.** [`Prescaler::run`] is one invocation, in one of four [modes](Mode). `steps` carries out,
//! `verify` measures, `lessons` changes the profile by the load of finished drops, [`outcome`] is the answer and the
//! log.
//!
//! **The calendar.** A listed drop is on the calendar by itself: its entry follows from the number of shoppers that
//! its operator expects, its units and its times. A document `calendar/ID`, written by an engineer who knows the drop
//! better, replaces this entry. Each run reads the drops, so an operator's change or cancellation applies within a
//! minute.
//!
//! **Starts.** Where a drop's policy is to open later rather than with less capacity, and its
//! [readiness](capacity::readiness) requires it, the run moves the start itself.
//!
//! **Repeats.** The adapter repeats each call that reads the account. This crate repeats the calls of the database, and
//! the changes that increase something.
//!
//! **What it does not do.** It does not wait for changes that take minutes; the next run reads their result.
#![forbid(unsafe_code)]

mod lessons;
mod moves;
pub mod outcome;
mod steps;
mod verify;

use capacity::documents::Documents;
use capacity::quotas::Quotas;
use capacity::readiness::Seen;
use capacity::reconcile::{Decision, reconcile};
use capacity::target::{LEAST_BETWEEN_RUNS_MS, Record};
use domain::drops::FieldError;
use domain::ids::DropId;
pub use domain::limits::PRESCALE_TIMEOUT_SECONDS as TIMEOUT_SECONDS;
use domain::limits::{FunctionLimits, Trigger};
use domain::time::Timestamp;
use ports::drops::{Lease, ListDrops, ReadDrop, StoreDrop};
use ports::invocation::{Handle, Invocation};
use ports::prescale::{
    CallFunction, CarryOut, ControlError, Held, KeepLessons, KeepRun, Measure, MeasureDemand, Observe,
    ReadDocuments, ReadQuotas, StoreReadiness, WriteAudit, WriteProfile,
};
use ports::retry::{IN_WORKER, retry};
use ports::runtime::{Metrics, Runtime};
use ports::{Conditional, StoreError};
use serde::{Deserialize, Serialize};

use outcome::Outcome;

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits {
    reserved_concurrency: Some(1),
    ..FunctionLimits::new(TIMEOUT_SECONDS, Trigger::Schedule { every_seconds: 60 })
};

/// The length of a run's lease, in milliseconds: longer than its process lives, shorter than the schedule's minute.
pub const LEASE_MS: i64 = 58_000;
/// The time that is left at the end of a run to read the capacity again and to store the readiness, in milliseconds. No
/// step begins in this time.
pub const RESERVE_MS: i64 = 10_000;

const _: () = assert!(TIMEOUT_SECONDS as i64 * 1_000 < LEASE_MS && LEASE_MS < 60_000);

/// Why a time limit is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeoutError {
    /// The text is not a number of seconds.
    #[error("not a number of seconds")]
    NoNumber,
    /// A process could outlive its lease, and reduce what the next run has increased.
    #[error("must end before the lease of {} s does", LEASE_MS / 1_000)]
    TooLong,
    /// [`Mode::Restore`], which waits between its two decisions, would never complete.
    #[error("too short: going back agrees with itself {} s later", LEAST_BETWEEN_RUNS_MS / 1_000)]
    TooShort,
}

/// Parses the function's deployed time limit, in seconds. The limit must be shorter than the lease, and longer than a
/// restoration takes.
///
/// # Errors
/// [`TimeoutError`].
pub fn timeout_within_lease(seconds: &str) -> Result<u32, TimeoutError> {
    let seconds: u32 = seconds.trim().parse().map_err(|_| TimeoutError::NoNumber)?;
    let ms = i64::from(seconds) * 1_000;
    if ms >= LEASE_MS {
        Err(TimeoutError::TooLong)
    } else if ms <= LEAST_BETWEEN_RUNS_MS + RESERVE_MS {
        Err(TimeoutError::TooShort)
    } else {
        Ok(seconds)
    }
}

/// The mode of a run, which determines what the run may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Reports the changes that would be made now, and makes none.
    Plan,
    /// Makes the necessary changes, verifies the capacity, and stores each drop's readiness.
    Apply,
    /// Reports the drops' readiness, and changes nothing.
    Verify,
    /// Runs the decision twice, 30 s apart, then restores the baseline. Refused while a drop's time runs.
    Restore,
}

impl Mode {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Verify => "verify",
            Self::Restore => "restore",
        }
    }
}

/// The function's event. The field `mode` is required, so that a mistyped event changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub mode: Mode,
}

/// Why a run failed. The schedule's run of the next minute tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The documents cannot be used; nothing was changed.
    #[error("mistakes in the documents: {}", list(.0))]
    Mistakes(Vec<FieldError>),
    #[error("{what}: {error}")]
    Control {
        /// The action that failed, for the log.
        what: &'static str,
        error: ControlError,
    },
    #[error("{what}: {error}")]
    Store {
        /// The action that failed, for the log.
        what: &'static str,
        error: StoreError,
    },
    /// Another run holds the lease.
    #[error("another run has taken over")]
    Superseded,
    /// A drop's time runs, so no capacity is reduced.
    #[error("the time of drop {} runs", .0.as_str())]
    DropIsOn(DropId),
}

fn list(mistakes: &[FieldError]) -> String {
    let lines: Vec<String> = (mistakes.iter())
        .map(|mistake| format!("{}: {}", mistake.field, mistake.message))
        .collect();
    lines.join("; ")
}

fn control(what: &'static str) -> impl FnOnce(ControlError) -> RunError {
    move |error| RunError::Control { what, error }
}

fn store(what: &'static str) -> impl FnOnce(StoreError) -> RunError {
    move |error| RunError::Store { what, error }
}

/// The ports through which a run reads, changes and measures the account.
pub trait Account:
    ReadDocuments + ReadQuotas + Observe + CarryOut + Measure + CallFunction + MeasureDemand + WriteProfile
{
}
impl<
    T: ReadDocuments + ReadQuotas + Observe + CarryOut + Measure + CallFunction + MeasureDemand + WriteProfile,
> Account for T
{
}

/// The ports through which a run stores its lease, its record, its changes and the drops' readiness and lessons.
pub trait RunStore: KeepRun + WriteAudit + StoreReadiness + KeepLessons {}
impl<T: KeepRun + WriteAudit + StoreReadiness + KeepLessons> RunStore for T {}

/// The ports through which a run reads the drops and moves their starts.
pub trait Drops: ReadDrop + ListDrops + StoreDrop {}
impl<T: ReadDrop + ListDrops + StoreDrop> Drops for T {}

#[derive(Debug, Clone)]
pub struct Prescaler<A, S, D, R> {
    account: A,
    store: S,
    drops: D,
    runtime: R,
    stage: String,
}

/// The declared documents, the account's limits and the observed capacity, as a run has read them.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) docs: Documents,
    pub(crate) quotas: Quotas,
    pub(crate) seen: Seen,
}

/// A run in progress, with its lease.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) mode: Mode,
    pub(crate) lease: Lease,
    /// No step is begun after this moment.
    pub(crate) until: Timestamp,
    /// The number of changes that the run has begun. It numbers the run's audit records.
    pub(crate) changes: u32,
}

impl<A: Account, S: RunStore, D: Drops, R: Runtime> Prescaler<A, S, D, R> {
    /// A pre-scaler that uses these ports. Its metrics have the deployment `stage` as dimension.
    pub fn new(account: A, store: S, drops: D, runtime: R, stage: impl Into<String>) -> Self {
        Self {
            account,
            store,
            drops,
            runtime,
            stage: stage.into(),
        }
    }

    /// One invocation by `holder`, whose process lives until `deadline`.
    ///
    /// # Errors
    /// [`RunError`]. Completed changes stay, and the next run continues.
    pub async fn run(&self, mode: Mode, holder: &str, deadline: Timestamp) -> Result<Outcome, RunError> {
        if matches!(mode, Mode::Plan | Mode::Verify) {
            return self.look(mode).await;
        }
        let now = self.runtime.now();
        let take = || self.store.take(holder, now, now.plus_millis(LEASE_MS));
        let held = retry(&self.runtime, IN_WORKER, take)
            .await
            .map_err(store("taking the lease"))?;
        let Held { lease, record } = match held {
            Ok(held) => held,
            Err(theirs) => return Ok(Outcome::standby(mode, now, &theirs)),
        };
        let mut run = Run {
            mode,
            until: deadline.min(lease.until).plus_millis(-RESERVE_MS),
            lease,
            changes: 0,
        };
        let outcome = match mode {
            Mode::Restore => self.restore(&mut run).await,
            _ => self.apply(&mut run, record.as_ref()).await,
        };
        // An error is only logged, since the lease expires before the schedule's next run.
        let ended = self.store.release(&run.lease, self.runtime.now()).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "the lease could not be released; until it expires within a minute, other runs change nothing");
        }
        outcome
    }

    async fn apply(&self, run: &mut Run, previous: Option<&Record>) -> Result<Outcome, RunError> {
        let read = self.read().await?;
        let now = self.runtime.now();
        let decision = reconcile(&read.docs, &read.quotas, &read.seen.observed, previous, now);
        self.leave(run, &decision.record).await?;
        for warning in &decision.warnings {
            tracing::warn!(
                ?warning,
                "pre-scaling found a problem with the capacity; `warning` names it"
            );
        }
        let taken = self.carry_out_all(run, &read, &decision, previous).await;
        self.leave_what_was_accepted(run, &decision.record, &taken).await;
        let lesson = self.learn(run, &read, &decision).await;
        let mut outcome = self.conclude(run, read, decision, taken, now).await?;
        outcome.lesson = lesson;
        Ok(outcome)
    }

    /// Decides twice, 30 s apart, so that the second decision confirms the reductions of the first within one run.
    async fn restore(&self, run: &mut Run) -> Result<Outcome, RunError> {
        let read = self.read().await?;
        let first = self.off_duty(&read)?;
        self.leave(run, &first.record).await?;
        let pause = u64::try_from(LEAST_BETWEEN_RUNS_MS).unwrap_or(0);
        self.runtime.sleep(pause).await;
        let read = self.read().await?;
        let now = self.runtime.now();
        self.off_duty(&read)?;
        let previous = Some(&first.record);
        let decision = reconcile(&read.docs, &read.quotas, &read.seen.observed, previous, now);
        self.leave(run, &decision.record).await?;
        let taken = self.carry_out_all(run, &read, &decision, previous).await;
        self.conclude(run, read, decision, taken, now).await
    }

    /// The current decision. While a drop's time runs, this is an error, since nothing may be reduced then.
    fn off_duty(&self, read: &Read) -> Result<Decision, RunError> {
        let now = self.runtime.now();
        let decision = reconcile(&read.docs, &read.quotas, &read.seen.observed, None, now);
        match decision.wanted.drops.first() {
            Some(on) => Err(RunError::DropIsOn(on.drop.clone())),
            None => Ok(decision),
        }
    }

    async fn look(&self, mode: Mode) -> Result<Outcome, RunError> {
        let read = self.read().await?;
        let now = self.runtime.now();
        let decision = reconcile(&read.docs, &read.quotas, &read.seen.observed, None, now);
        let mut outcome = Outcome::decided(mode, now, &decision);
        if mode == Mode::Plan {
            outcome.plan(&read, now);
        } else {
            outcome.readiness = self.readiness_of_all(&read, &decision, now).await;
        }
        Ok(outcome)
    }

    async fn conclude(
        &self,
        run: &Run,
        mut read: Read,
        decision: Decision,
        taken: Vec<outcome::Taken>,
        began: Timestamp,
    ) -> Result<Outcome, RunError> {
        if taken.iter().any(outcome::Taken::changed) {
            read.seen = self.observe(&read.docs).await?;
        }
        let mut outcome = Outcome::decided(run.mode, began, &decision);
        outcome.taken = taken;
        outcome.readiness = self.readiness_of_all(&read, &decision, self.runtime.now()).await;
        self.move_starts(&outcome.readiness).await;
        for readiness in &outcome.readiness {
            let put = || self.store.store_readiness(run.lease.fencing, readiness);
            let stored = retry(&self.runtime, IN_WORKER, put).await;
            if stored.map_err(store("storing the readiness"))? != Conditional::Done {
                return Err(RunError::Superseded);
            }
        }
        Ok(outcome)
    }

    async fn leave(&self, run: &Run, record: &Record) -> Result<(), RunError> {
        let leave = || self.store.leave(&run.lease, record);
        match retry(&self.runtime, IN_WORKER, leave).await {
            Ok(Conditional::Done) => Ok(()),
            Ok(Conditional::Refused(())) => Err(RunError::Superseded),
            Err(error) => Err(store("leaving the record")(error)),
        }
    }

    /// Stores the provisioned concurrency that Lambda accepted. Without this record, the next run would attribute
    /// another controller's change to this run, and would detect only later changes.
    async fn leave_what_was_accepted(&self, run: &Run, record: &Record, taken: &[outcome::Taken]) {
        let mut after = record.clone();
        for (function, units) in taken.iter().filter_map(outcome::Taken::accepted) {
            after.accepted(function, units);
        }
        if after != *record
            && let Err(error) = self.leave(run, &after).await
        {
            tracing::warn!(%error, "the accepted capacity could not be recorded; the next run may not detect another controller's change");
        }
    }

    async fn read(&self) -> Result<Read, RunError> {
        let docs = self.account.documents().await;
        let mut docs = docs
            .map_err(control("reading the documents"))?
            .map_err(RunError::Mistakes)?;
        self.follow_drops(&mut docs.calendar)
            .await
            .map_err(store("reading the drops"))?;
        let quotas = self.account.quotas(&docs.baseline).await;
        let quotas = quotas
            .map_err(control("reading the account's limits"))?
            .map_err(RunError::Mistakes)?;
        let mistakes = docs.mistakes(&quotas);
        if !mistakes.is_empty() {
            return Err(RunError::Mistakes(mistakes));
        }
        let seen = self.observe(&docs).await?;
        Ok(Read { docs, quotas, seen })
    }

    async fn observe(&self, docs: &Documents) -> Result<Seen, RunError> {
        let seen = self.account.observe(&docs.baseline).await;
        seen.map_err(control("looking at the account"))
    }
}

impl<A, S, D, R> Handle for Prescaler<A, S, D, R>
where
    A: Account + 'static,
    S: RunStore + 'static,
    D: Drops + 'static,
    R: Runtime + Metrics,
{
    type Event = Event;
    type Answer = Outcome;
    type Error = RunError;

    async fn handle(&self, event: Event, invocation: &Invocation) -> Result<Outcome, RunError> {
        let holder = invocation.unique_name(&self.runtime);
        let outcome = self.run(event.mode, &holder, invocation.deadline).await?;
        // CloudWatch bills a metric for each hour in which it is written, so a run without events writes none.
        if outcome.is_eventful() {
            self.runtime.put_metrics(outcome.metrics(&self.stage));
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_what_it_means() {
        let read = |text: &str| serde_json::from_str::<Event>(text).map(|event| event.mode).ok();
        assert_eq!(read(r#"{"mode": "apply"}"#), Some(Mode::Apply));
        assert_eq!(read(r#"{"mode": "plan"}"#), Some(Mode::Plan));
        for text in [
            "{}",
            "null",
            r#"{"mod": "plan"}"#,
            r#"{"mode": "Plan"}"#,
            r#"{"mode": "plan", "drop": "x"}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_process_ends_before_its_lease_and_after_going_back() {
        assert_eq!(timeout_within_lease("55"), Ok(TIMEOUT_SECONDS));
        assert_eq!(timeout_within_lease("57"), Ok(57));
        for (text, error) in [
            ("58", TimeoutError::TooLong),
            ("900", TimeoutError::TooLong),
            ("40", TimeoutError::TooShort),
            ("0", TimeoutError::TooShort),
            ("-1", TimeoutError::NoNumber),
            ("a minute", TimeoutError::NoNumber),
        ] {
            assert_eq!(timeout_within_lease(text), Err(error), "{text}");
        }
    }
}
