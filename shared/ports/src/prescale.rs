//! Pre-scaling: reading the account, changing it, and the stored results of runs.
//!
//! Control planes are slow, have low rate limits and accept one change of a resource at a time. Their calls
//! take no fencing token. So each port separates changes that were certainly not done
//! ([`ControlError::Busy`], [`ControlError::InProgress`]) from changes with an unknown outcome
//! ([`ControlError::Unknown`]). A caller assumes nothing: the next read shows the state.

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

/// Why a control plane did not carry out a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Certainly not done: throttled, or never sent. A repeat may succeed soon.
    #[error("the control plane refused for the moment")]
    Busy,
    /// Certainly not done: another change of the same resource is in progress, perhaps for minutes. The next
    /// run tries again.
    #[error("another change is under way")]
    InProgress,
    /// Certainly not done: a deployment is moving the alias from one version to another, and Lambda accepts
    /// no provisioned concurrency until it has ended.
    #[error("a deployment is shifting the alias; it is left alone until that ends")]
    AliasShifting,
    /// Sent without an answer: it may have been done. Read the state.
    #[error("the outcome is unknown")]
    Unknown,
    /// A repeat fails again: a missing permission or resource, or an invalid value.
    #[error("the control plane cannot do that: {0}")]
    Broken(String),
}

impl Transient for ControlError {
    /// An unknown change may be repeated, since every change sets a value whatever the former one is.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unknown)
    }
}

/// Documents, or all mistakes in their text. Only the form is checked here; [`Documents::mistakes`] checks
/// whether the documents are consistent.
pub type Readable<T> = Result<T, Vec<FieldError>>;

/// Reads the declared documents (profile, baseline, budget, prices, calendar), each as a whole.
pub trait ReadDocuments: Send + Sync {
    /// All documents. A mistake begins with the name of its document: `calendar[2].starts_at`.
    fn documents(&self) -> impl Future<Output = Result<Readable<Documents>, ControlError>> + Send;

    /// The current calendar alone, for another read before a reduction.
    fn calendar(&self) -> impl Future<Output = Result<Readable<Vec<CalendarDrop>>, ControlError>> + Send;
}

/// Reads the account's limits.
pub trait ReadQuotas: Send + Sync {
    /// The limits. Of the account's concurrency, the part that functions outside the baseline have reserved
    /// or provisioned counts as used by others. Limits that no call returns (the payment gateway's) come from
    /// a declared document.
    fn quotas(
        &self,
        baseline: &Baseline,
    ) -> impl Future<Output = Result<Readable<Quotas>, ControlError>> + Send;
}

/// Reads the state of the account.
pub trait Observe: Send + Sync {
    /// Everything that the baseline names, by the baseline's names. A missing function or database is
    /// `Broken`; a missing table or event source is inactive. `orders_draining` is `true` while orders are
    /// open or messages wait, and when this cannot be read.
    fn observe(&self, baseline: &Baseline) -> impl Future<Output = Result<Seen, ControlError>> + Send;
}

/// The outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Complete.
    Done,
    /// Accepted; the change takes time, and a read shows its progress.
    Started,
    /// The value was already set, and nothing was changed.
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
    /// Carries out one step. It sets the step's value to `to`, whatever the former value is. Only a
    /// fail-over, which sets no value, first checks whether `to` is already the writer. The call does not
    /// wait for completion.
    fn carry_out(&self, step: &Step) -> impl Future<Output = Result<Carried, ControlError>> + Send;
}

/// Measures the existing capacity, as opposed to its settings.
pub trait Measure: Send + Sync {
    /// The ACU with which the Serverless v2 cluster ran in the newest minute of the last five up to `now`;
    /// `None` if there is no figure, and for instances of a class.
    fn reached_acu(&self, now: Timestamp) -> impl Future<Output = Result<Option<f64>, ControlError>> + Send;

    /// Invocations of the live alias beyond its provisioned concurrency from `since` to `until`.
    fn spill_over(
        &self,
        function: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<u64, ControlError>> + Send;
}

/// Measures the load that a drop caused.
pub trait MeasureDemand: Send + Sync {
    /// The load of the baseline's functions, tables and queues in the time of `drop`, by the calendar's
    /// phases; `None` if there is no figure at all. Missing figures are left out. The numbers of shoppers and
    /// sold units are not measured here: the expected shoppers and the units on sale replace them.
    fn demand(
        &self,
        baseline: &Baseline,
        drop: &CalendarDrop,
    ) -> impl Future<Output = Result<Option<Measured>, ControlError>> + Send;
}

/// Changes the capacity profile.
pub trait WriteProfile: Send + Sync {
    /// The current profile and its version. A mistake begins with the name of its document.
    fn profile(&self) -> impl Future<Output = Result<Readable<(CapacityProfile, u64)>, ControlError>> + Send;

    /// Replaces the profile if `version` is still the current one. Refused: it is not, and nothing was
    /// changed. A service that cannot compare and write in one step may overwrite a concurrent change. The
    /// log reports this, and the service's own history keeps the overwritten text.
    fn write_profile(
        &self,
        profile: &CapacityProfile,
        version: u64,
    ) -> impl Future<Output = Result<Conditional<()>, ControlError>> + Send;
}

/// Stores the lessons of drops.
pub trait KeepLessons: Send + Sync {
    /// The lesson that was stored last; `None` for a drop without one.
    fn lesson(&self, drop: &DropId) -> impl Future<Output = Result<Option<Lesson>, StoreError>> + Send;

    /// Stores the lesson under the lease with this fencing number. Refused: a run with a higher number has
    /// stored one, or the same run a later one.
    fn keep_lesson(
        &self,
        fencing: u64,
        lesson: &Lesson,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Calls a function's live alias to check whether it answers.
pub trait CallFunction: Send + Sync {
    /// Whether the function answered without an error to an event that changes nothing: a request for an
    /// impossible drop, or a batch without records.
    fn answers(&self, function: &str) -> impl Future<Output = Result<bool, ControlError>> + Send;
}

/// A change, for the audit record.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited {
    /// The run's fencing number.
    pub fencing: u64,
    /// The index of the change in the run, from 1. With the fencing number it identifies the record, so a
    /// second write replaces the record.
    pub number: u32,
    /// The start of the change.
    pub at: Timestamp,
    /// The invocation that made the change.
    pub run: String,
    /// The trigger of the run: `scheduled`, or the mode of a manual run.
    pub mode: String,
    /// The drops for which capacity was wanted; none while capacity is reduced to the baseline.
    pub drops: Vec<DropId>,
    /// The change.
    pub step: Step,
    /// The outcome of the change; `None` before it is known.
    pub outcome: Option<Result<Carried, ControlError>>,
}

/// Writes the audit record of changes.
pub trait WriteAudit: Send + Sync {
    /// Stores the record, or replaces the one with the same name. It is written before the change without an
    /// outcome, and again after it. A delayed write without an outcome never replaces a record that has one.
    fn audit(&self, change: &Audited) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The basis of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The right to run.
    pub lease: Lease,
    /// The record of the last run.
    pub record: Option<Record>,
}

/// Allows one run at a time, and passes a record to the next run.
pub trait KeepRun: Send + Sync {
    /// Takes the lease for `holder` until `until`, if it is free at `now`, expired, or `holder`'s own. A
    /// renewal keeps the fencing number; any other taking raises it. Returns the stored record too. Refused:
    /// the current lease of another holder.
    fn take(
        &self,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<Result<Held, Lease>, StoreError>> + Send;

    /// The lease as stored, strongly consistent.
    fn lease(&self) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// Stores the record under the lease. Refused: another lease has been taken since.
    fn leave(
        &self,
        lease: &Lease,
        record: &Record,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;

    /// Ends the lease at `now`. Refused: it is no longer the current one.
    fn release(
        &self,
        lease: &Lease,
        now: Timestamp,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Stores the readiness of a drop.
pub trait StoreReadiness: Send + Sync {
    /// Stores the readiness under the lease with this fencing number. Refused: a run with a higher number has
    /// stored one, or the same run a later one.
    fn store_readiness(
        &self,
        fencing: u64,
        readiness: &Readiness,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Reads the readiness of a drop.
pub trait ReadReadiness: Send + Sync {
    /// The readiness that was stored last; `None` if no run has prepared the drop.
    fn readiness(&self, drop: &DropId) -> impl Future<Output = Result<Option<Readiness>, StoreError>> + Send;
}
