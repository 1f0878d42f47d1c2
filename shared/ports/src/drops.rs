//! Drops, their status documents, the free counts by shard, and the conductor's lease.

use std::future::Future;

use domain::drops::Drop;
use domain::ids::{DropId, SkuId};
use domain::status::DropStatus;
use domain::time::Timestamp;

use crate::{Conditional, StoreError};

/// Reads one drop.
pub trait ReadDrop: Send + Sync {
    /// The drop, strongly consistent; `None` if it does not exist.
    fn drop(&self, id: &DropId) -> impl Future<Output = Result<Option<Drop>, StoreError>> + Send;

    /// The given copy (0 to `domain::limits::DROP_COPIES` - 1) of a published drop, eventually consistent;
    /// `None` if the drop does not exist or is not published.
    fn copy(&self, id: &DropId, copy: u8) -> impl Future<Output = Result<Option<Drop>, StoreError>> + Send;
}

/// One page of the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropPage {
    /// Latest start first.
    pub drops: Vec<Drop>,
    /// The start of the next page, if there is one: start and id of the last drop on this page.
    pub next: Option<(Timestamp, DropId)>,
}

/// The two parts of the calendar. They are separate so that a page of one part is never short because of
/// drops in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The drops that lists show.
    Listed,
    /// The drops that lists do not show.
    Unlisted,
}

/// Lists published drops.
pub trait ListDrops: Send + Sync {
    /// Up to `limit` published drops of `listing`, latest start first, after `after`; eventually consistent.
    fn published(
        &self,
        listing: Listing,
        after: Option<&(Timestamp, DropId)>,
        limit: u16,
    ) -> impl Future<Output = Result<DropPage, StoreError>> + Send;
}

/// Stores drops.
pub trait StoreDrop: Send + Sync {
    /// Stores `drop` on condition that the stored version is the one before, or as a new drop at version 1.
    /// Refused: another change came first. The copies of a published drop change in the same transaction, so
    /// all of them have the same version at every moment. A drop is on the calendar, in the part that its
    /// `listed` says, once it is scheduled.
    fn store(&self, drop: &Drop) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Reads the status document.
pub trait ReadStatus: Send + Sync {
    /// The given copy of the status document, counted from 0, eventually consistent; `None` before the first survey.
    fn status(
        &self,
        drop: &DropId,
        replica: u8,
    ) -> impl Future<Output = Result<Option<DropStatus>, StoreError>> + Send;
}

/// The free units of each shard of one SKU, as last surveyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeCounts {
    /// The time of the survey.
    pub as_of: Timestamp,
    /// The lease under which they were written.
    pub fencing: u64,
    /// Free units by shard index; each at most `domain::limits::MAX_SHARD_UNITS`.
    pub free: Vec<u8>,
}

/// Reads the free counts.
pub trait ReadCounts: Send + Sync {
    /// The given copy of the free counts of a SKU, counted from 0, eventually consistent; `None` before the first survey.
    fn counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        replica: u8,
    ) -> impl Future<Output = Result<Option<FreeCounts>, StoreError>> + Send;
}

/// Writes the results of a survey, in the number of copies that [`domain::crowd::status_copies`] gives for
/// the drop. A write under an older lease never replaces one under a newer lease.
pub trait WriteStatus: Send + Sync {
    /// Stores every copy of the free counts of a SKU. Refused: a newer lease has written.
    fn write_counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        counts: &FreeCounts,
        copies: u8,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;

    /// Stores every copy of the status document. Refused: a newer lease has written.
    fn write_status(
        &self,
        status: &DropStatus,
        copies: u8,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// The right to conduct a drop for a limited time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The holder.
    pub holder: String,
    /// Grows whenever the holder of the lease changes; part of every write under the lease.
    pub fencing: u64,
    /// The time at which it ends.
    pub until: Timestamp,
}

/// Takes and renews the lease.
pub trait HoldLease: Send + Sync {
    /// Takes the lease of `drop` for `holder` until `until`, if it is free at `now`, expired, or `holder`'s
    /// own. A renewal keeps the fencing number. Refused: the current lease of another holder.
    fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<Result<Lease, Lease>, StoreError>> + Send;
}
