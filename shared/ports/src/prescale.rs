//! Pre-scaling: the account as it is, the changes to it, and what a run leaves behind.
//!
//! Control planes are slow, throttle early and take one change of a thing at a time; none of their calls takes a fencing
//! token. So each port tells apart what was certainly not done ([`ControlError::Busy`], [`ControlError::InProgress`])
//! from what may have been ([`ControlError::Unknown`]), and a caller never assumes: the next look shows what is there.

use std::fmt;
use std::future::Future;

use capacity::baseline::Baseline;
use capacity::calendar::CalendarDrop;
use capacity::documents::Documents;
use capacity::learn::Lesson;
use capacity::measured::Measured;
use capacity::profile::CapacityProfile;
use capacity::quotas::Quotas;
use capacity::readiness::{Readiness, Seen};
use capacity::steps::Step;
use capacity::target::Record;
use domain::drops::FieldError;
use domain::ids::DropId;
use domain::time::Timestamp;

use crate::drops::Lease;
use crate::retry::Transient;
use crate::{Conditional, StoreError};

/// Why a control plane did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Certainly not done: throttled, or never sent. Worth repeating shortly.
    #[error("the control plane refused for the moment")]
    Busy,
    /// Certainly not done: another change of the same thing is under way, for minutes perhaps. The next run's matter.
    #[error("another change is under way")]
    InProgress,
    /// Certainly not done: a deployment is shifting the alias from one version to another, and Lambda takes no provisioned concurrency until it
    /// has ended.
    #[error("a deployment is shifting the alias; it is left alone until that ends")]
    AliasShifting,
    /// Sent, and no answer came: it may have been done. Look.
    #[error("the outcome is unknown")]
    Unknown,
    /// Repeating is no use: a missing permission, a thing that is not there, a value that is not taken.
    #[error("the control plane cannot do that: {0}")]
    Broken(String),
}

impl Transient for ControlError {
    /// An unknown change may be repeated: all of them set a value, whatever was there.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unknown)
    }
}

/// Documents, or all mistakes in their text. Only their form is checked here: whether they make sense together is
/// [`Documents::mistakes`].
pub type Readable<T> = Result<T, Vec<FieldError>>;

/// Reads what people declare (profile, baseline, budget, prices, calendar), each document as a whole.
pub trait ReadDocuments: Send + Sync {
    /// All documents. Mistakes name the document first: `calendar[2].starts_at`.
    fn documents(&self) -> impl Future<Output = Result<Readable<Documents>, ControlError>> + Send;

    /// The calendar alone, up to date: read again before anything is lowered.
    fn calendar(&self) -> impl Future<Output = Result<Readable<Vec<CalendarDrop>>, ControlError>> + Send;
}

/// Reads the account's limits.
pub trait ReadQuotas: Send + Sync {
    /// The limits; of the account's concurrency, what functions beside those of the baseline have reserved or
    /// provisioned is counted as others'. Limits that no call tells (the payment gateway's) come from a declared document.
    fn quotas(
        &self,
        baseline: &Baseline,
    ) -> impl Future<Output = Result<Readable<Quotas>, ControlError>> + Send;
}

/// Looks at the account.
pub trait Observe: Send + Sync {
    /// Everything that the baseline names, by the baseline's names. What the account does not have is `Broken` for
    /// functions and the database, and inactive for tables and event sources. `orders_draining` is `true` while orders are
    /// open or messages wait, and when that cannot be told.
    fn observe(&self, baseline: &Baseline) -> impl Future<Output = Result<Seen, ControlError>> + Send;
}

/// How a change went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Complete.
    Done,
    /// Accepted; it takes time. A look shows how far it is.
    Started,
    /// It was so already, and nothing was changed.
    AlreadySo,
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Started => "started",
            Self::AlreadySo => "already so",
        })
    }
}

/// Changes the account.
pub trait CarryOut: Send + Sync {
    /// Carries out one step. It sets what the step says to `to`, whatever is there; only a fail-over, which has no value
    /// to set, looks first whether `to` writes already. Nothing is waited for.
    fn carry_out(&self, step: &Step) -> impl Future<Output = Result<Carried, ControlError>> + Send;
}

/// Measures what is there beyond how it is set.
pub trait Measure: Send + Sync {
    /// ACU that the Serverless v2 cluster ran with in the newest minute of the last five up to `now`; `None` if there is
    /// no figure, and for instances of a class.
    fn reached_acu(&self, now: Timestamp) -> impl Future<Output = Result<Option<f64>, ControlError>> + Send;

    /// Invocations of the live alias beyond its provisioned concurrency from `since` to `until`.
    fn spill_over(
        &self,
        function: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<u64, ControlError>> + Send;
}

/// Measures what a drop has caused.
pub trait MeasureDemand: Send + Sync {
    /// What the baseline's functions, tables and queues did in the time of `drop`, by the calendar's phases; `None` if there
    /// is no figure at all. What cannot be told is left out. Who came and what was sold nobody measures here: the expected
    /// shoppers stand for them, and the units on sale.
    fn demand(
        &self,
        baseline: &Baseline,
        drop: &CalendarDrop,
    ) -> impl Future<Output = Result<Option<Measured>, ControlError>> + Send;
}

/// Changes the capacity profile.
pub trait WriteProfile: Send + Sync {
    /// The profile, up to date, and its version. Mistakes name the document first.
    fn profile(&self) -> impl Future<Output = Result<Readable<(CapacityProfile, u64)>, ControlError>> + Send;

    /// Replaces the profile if `version` is still the current one. Refused: it is not, and nothing was changed. Where a
    /// service cannot compare and write in one, someone who writes in that very moment is overwritten, which is told in the
    /// log; the service's own history keeps what they wrote.
    fn write_profile(
        &self,
        profile: &CapacityProfile,
        version: u64,
    ) -> impl Future<Output = Result<Conditional<()>, ControlError>> + Send;
}

/// Keeps what drops taught.
pub trait KeepLessons: Send + Sync {
    /// As last kept; `None` for a drop that was not learned from.
    fn lesson(&self, drop: &DropId) -> impl Future<Output = Result<Option<Lesson>, StoreError>> + Send;

    /// Keeps it under the lease with this fencing number. Refused: a run with a higher one has kept it, or the same run
    /// later.
    fn keep_lesson(
        &self,
        fencing: u64,
        lesson: &Lesson,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Calls a function's live alias to see whether it answers.
pub trait CallFunction: Send + Sync {
    /// Whether the function answered without an error of its own to an event that changes nothing: a request for a drop
    /// that cannot be, or a batch without records.
    fn answers(&self, function: &str) -> impl Future<Output = Result<bool, ControlError>> + Send;
}

/// A change, for the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited {
    /// The run's fencing number.
    pub fencing: u64,
    /// The change's place in the run, from 1. With the fencing number it is the record's name: writing it again replaces it.
    pub number: u32,
    /// When it was begun.
    pub at: Timestamp,
    /// Who ran: the invocation.
    pub run: String,
    /// What asked for it: `scheduled`, or the mode asked for by hand.
    pub mode: String,
    /// For which drops capacity was wanted then; none on the way back.
    pub drops: Vec<DropId>,
    /// The change.
    pub step: Step,
    /// How it went; `None` before it is known.
    pub outcome: Option<Result<Carried, ControlError>>,
}

/// Writes the record of changes.
pub trait WriteAudit: Send + Sync {
    /// Stores it, or replaces the one of the same name. Written before the change with no outcome, and again after it; one
    /// that is held up on its way and has no outcome never replaces one that has.
    fn audit(&self, change: &Audited) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What a run stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The right to run.
    pub lease: Lease,
    /// What the last run left.
    pub record: Option<Record>,
}

/// One run at a time, and what it leaves for the next.
pub trait KeepRun: Send + Sync {
    /// Takes the lease for `holder` until `until`, if it is free at `now`, expired, or `holder`'s own; keeping one's own
    /// keeps its fencing number, any other taking raises it. With the record as then stored. Refused: the lease of whoever
    /// has it.
    fn take(
        &self,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<Result<Held, Lease>, StoreError>> + Send;

    /// The lease as stored, strongly consistent.
    fn lease(&self) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// Stores the record under the lease. Refused: a lease with another fencing number has been taken since.
    fn leave(
        &self,
        lease: &Lease,
        record: &Record,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;

    /// Ends the lease at `now`. Refused: it is not the current one any more.
    fn release(
        &self,
        lease: &Lease,
        now: Timestamp,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Stores how ready a drop is.
pub trait StoreReadiness: Send + Sync {
    /// Stores it under the lease with this fencing number. Refused: a run with a higher one has stored, or the same run a
    /// later look.
    fn store_readiness(
        &self,
        fencing: u64,
        readiness: &Readiness,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Reads how ready a drop is.
pub trait ReadReadiness: Send + Sync {
    /// As last stored; `None` if no run has prepared it.
    fn readiness(&self, drop: &DropId) -> impl Future<Output = Result<Option<Readiness>, StoreError>> + Send;
}
