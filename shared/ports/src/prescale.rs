//! Defines the ports of pre-scaling: reads of the account, changes of it, and the stored results of runs.
//!
//! Control planes are slow, have low rate limits and accept one change of a resource at a time. Their
//! calls take no fencing token. So each port distinguishes changes that were certainly not made
//! ([`ControlError::Busy`], [`ControlError::InProgress`]) from changes with an unknown outcome
//! ([`ControlError::Unknown`]). A caller must not assume that a change was made: the next read shows
//! the state.
//!
//! An adapter repeats each call of a read by itself, since a read of the account takes dozens of calls: if the
//! caller repeated it, one throttled call would send all of them again. A caller repeats changes only.

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
    /// The change was certainly not made: the call was throttled or never sent. A repeat may succeed soon.
    #[error("the control plane refused for the moment")]
    Busy,
    /// The change was certainly not made: another change of the same resource is in progress, perhaps for
    /// minutes. The next run tries again.
    #[error("another change is under way")]
    InProgress,
    /// The change was certainly not made: a deployment is moving the alias from one version to another.
    /// Lambda accepts no provisioned concurrency until the deployment has ended.
    #[error("a deployment is shifting the alias; it is left alone until that ends")]
    AliasShifting,
    /// The call was sent without an answer, so the change may have been made. The caller must read the state.
    #[error("the outcome is unknown")]
    Unknown,
    /// A repeat would fail again: a permission or a resource is missing, or a value is invalid.
    #[error("the control plane cannot do that: {0}")]
    Broken(String),
}

impl Transient for ControlError {
    /// A change with an unknown outcome may be repeated, since every change sets a value whatever the former
    /// value is.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unknown)
    }
}

/// A document that was read, or all mistakes in its text. Only the form is checked here;
/// [`Documents::mistakes`] checks whether the documents are consistent.
pub type Readable<T> = Result<T, Vec<FieldError>>;

/// Reads the declared documents: profile, baseline, budget, prices and calendar.
pub trait ReadDocuments: Send + Sync {
    /// All documents. The path of a mistake begins with the name of its document, for example
    /// `calendar[2].starts_at`.
    fn documents(&self) -> impl Future<Output = Result<Readable<Documents>, ControlError>> + Send;

    /// The current calendar alone. A run reads it again before a reduction.
    fn calendar(&self) -> impl Future<Output = Result<Readable<Vec<CalendarDrop>>, ControlError>> + Send;
}

/// Reads the account's limits.
pub trait ReadQuotas: Send + Sync {
    /// The limits. Concurrency that functions outside the baseline have reserved or provisioned counts
    /// as reserved by others. A limit that no call returns (the payment gateway's) comes from a
    /// declared document.
    fn quotas(
        &self,
        baseline: &Baseline,
    ) -> impl Future<Output = Result<Readable<Quotas>, ControlError>> + Send;
}

/// Reads the current state of the account's resources.
pub trait Observe: Send + Sync {
    /// The state of all resources that the baseline names. A missing function or database is an error of the
    /// kind `Broken`; a missing table or event source counts as inactive. `orders_draining` is `true` while
    /// orders are open or messages wait, and also if this cannot be read.
    fn observe(&self, baseline: &Baseline) -> impl Future<Output = Result<Seen, ControlError>> + Send;
}

domain::named! {
    /// The outcome of a change that a control plane accepted.
    pub enum Carried {
        /// The change is complete.
        Done = "done",
        /// The change was accepted but takes time. A read shows its progress.
        Started = "started",
        /// The value was already set, so nothing was changed.
        AlreadySo = "already so",
    }
}

/// Changes the capacity of the account's resources.
pub trait CarryOut: Send + Sync {
    /// Carries out one step, without waiting for its completion. The call sets the step's value to `to`,
    /// whatever the former value is. A failover sets no value, so the call first checks whether `to` is
    /// already the writer.
    fn carry_out(&self, step: &Step) -> impl Future<Output = Result<Carried, ControlError>> + Send;
}

/// Measures the capacity that really exists, beyond its settings.
pub trait Measure: Send + Sync {
    /// The ACU with which the Serverless v2 cluster ran in the newest minute, of the last five before `now`,
    /// that has a figure; `None` if no minute has a figure, and for a cluster of instances of a class.
    fn reached_acu(&self, now: Timestamp) -> impl Future<Output = Result<Option<f64>, ControlError>> + Send;

    /// The number of invocations of the live alias beyond its provisioned concurrency, from `since`
    /// to `until`.
    fn spill_over(
        &self,
        function: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<u64, ControlError>> + Send;
}

/// Measures the load that a drop caused, for learning.
pub trait MeasureDemand: Send + Sync {
    /// The load of the baseline's functions, tables and queues in the time of `drop`, by the calendar's
    /// phases; `None` if there is no figure at all. Missing figures are omitted. Shoppers and sold units are
    /// not measured here: the numbers of expected shoppers and of units on sale replace them.
    fn demand(
        &self,
        baseline: &Baseline,
        drop: &CalendarDrop,
    ) -> impl Future<Output = Result<Option<Measured>, ControlError>> + Send;
}

/// Reads and replaces the capacity profile.
pub trait WriteProfile: Send + Sync {
    /// The current profile and its version. The path of a mistake begins with the name of its document.
    fn profile(&self) -> impl Future<Output = Result<Readable<(CapacityProfile, u64)>, ControlError>> + Send;

    /// Replaces the profile if `version` is still the current version. Refused: the version has changed, and
    /// nothing was written. A service that cannot compare and write in one step may overwrite a concurrent
    /// change. The log then reports this, and the service's own history keeps the overwritten text.
    fn write_profile(
        &self,
        profile: &CapacityProfile,
        version: u64,
    ) -> impl Future<Output = Result<Conditional<()>, ControlError>> + Send;
}

/// Stores the lessons that runs learned from drops.
pub trait KeepLessons: Send + Sync {
    /// The lesson that was stored last for the drop; `None` if there is no lesson.
    fn lesson(&self, drop: &DropId) -> impl Future<Output = Result<Option<Lesson>, StoreError>> + Send;

    /// Stores the lesson under the lease with this fencing number. Refused: a run with a higher number has
    /// stored a lesson, or the same run has stored a later one.
    fn keep_lesson(
        &self,
        fencing: u64,
        lesson: &Lesson,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Calls a function's live alias to check whether it answers.
pub trait CallFunction: Send + Sync {
    /// Whether the function answered an event that changes nothing, without an error. The event is a request
    /// for an impossible drop, or a batch without records.
    fn answers(&self, function: &str) -> impl Future<Output = Result<bool, ControlError>> + Send;
}

/// One change by a run, for the audit record.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited {
    /// The fencing number of the run's lease.
    pub fencing: u64,
    /// The index of the change in the run, from 1. The fencing number and the index identify the record, so a
    /// second write replaces the record.
    pub number: u32,
    /// The time at which the change began.
    pub at: Timestamp,
    /// The run that made the change, by the unique name of its invocation, which is also the holder of the
    /// lease.
    pub run: String,
    /// The trigger of the run: `scheduled`, or the mode of a manual run.
    pub mode: String,
    /// The drops for which capacity was needed; empty while capacity is reduced to the baseline.
    pub drops: Vec<DropId>,
    /// The step that was carried out.
    pub step: Step,
    /// The outcome of the change; `None` before the outcome is known.
    pub outcome: Option<Result<Carried, ControlError>>,
}

/// Writes the audit record of changes.
pub trait WriteAudit: Send + Sync {
    /// Stores the record, or replaces the record with the same fencing number and index. It is written before
    /// the change, without an outcome, and again after the change. A delayed write without an outcome never
    /// replaces a record that has one.
    fn audit(&self, change: &Audited) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The lease that a run has taken, and the record that the run before has stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The lease, which is the right to run.
    pub lease: Lease,
    /// The record of the last run; `None` if no run has stored one.
    pub record: Option<Record>,
}

/// Lets one run at a time hold the lease, and passes a record to the next run.
pub trait KeepRun: Send + Sync {
    /// Takes the lease for `holder` until `until`, if the lease is free at `now`, has expired, or is
    /// `holder`'s own. A renewal keeps the fencing number; a new holder gets a higher number. Also returns
    /// the stored record. Refused: contains the current lease of another holder.
    fn take(
        &self,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<Result<Held, Lease>, StoreError>> + Send;

    /// The stored lease, strongly consistent; `None` if no run has taken it.
    fn lease(&self) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// Stores the record under the lease. Refused: another run has taken the lease since.
    fn leave(
        &self,
        lease: &Lease,
        record: &Record,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;

    /// Ends the lease at `now`, so that the next run can take it. Refused: the lease is no longer the
    /// current one.
    fn release(
        &self,
        lease: &Lease,
        now: Timestamp,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Stores the readiness of a drop.
pub trait StoreReadiness: Send + Sync {
    /// Stores the readiness under the lease with this fencing number. Refused: a run with a higher number has
    /// stored a readiness, or the same run has stored a later one.
    fn store_readiness(
        &self,
        fencing: u64,
        readiness: &Readiness,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Reads the readiness of a drop.
pub trait ReadReadiness: Send + Sync {
    /// The readiness that was stored last for the drop; `None` if no run has prepared the drop.
    fn readiness(&self, drop: &DropId) -> impl Future<Output = Result<Option<Readiness>, StoreError>> + Send;
}
