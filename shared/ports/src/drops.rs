//! Drops, their status documents, the free counts by shard, and the conductor's lease.

use std::future::Future;

use domain::drops::Drop;
use domain::ids::{DropId, SkuId};
use domain::status::DropStatus;
use domain::time::Timestamp;

use crate::{Conditional, StoreError};

/// Reads one drop.
pub trait ReadDrop: Send + Sync {
    /// The drop, strongly consistent; `None` if there is none.
    fn drop(&self, id: &DropId) -> impl Future<Output = Result<Option<Drop>, StoreError>> + Send;

    /// The given copy (0 to `domain::limits::DROP_COPIES` - 1) of a published drop, eventually consistent; `None` if there is none, or
    /// it is not published.
    fn copy(&self, id: &DropId, copy: u8) -> impl Future<Output = Result<Option<Drop>, StoreError>> + Send;
}

/// One page of the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropPage {
    /// Latest start first.
    pub drops: Vec<Drop>,
    /// Where the next page begins, if there is one: start and id of the last drop on this one.
    pub next: Option<(Timestamp, DropId)>,
}

/// The calendar is kept in two parts, so that a page of one is never short for what is in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The drops that lists show.
    Listed,
    /// Those that they do not show.
    Unlisted,
}

/// Lists published drops.
pub trait ListDrops: Send + Sync {
    /// Up to `limit` published drops of `listing`, latest start first, after `after`. May lag a moment behind.
    fn published(
        &self,
        listing: Listing,
        after: Option<&(Timestamp, DropId)>,
        limit: u16,
    ) -> impl Future<Output = Result<DropPage, StoreError>> + Send;
}

/// Stores drops.
pub trait StoreDrop: Send + Sync {
    /// Stores `drop` over the version before its own, or as a new one at version 1. Refused: another change came first.
    /// The copies of a published drop change with it: there is no moment at which one of them is another version.
    /// A drop is on the calendar, in the part that its `listed` says, from the moment it is scheduled.
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
    /// When they were surveyed.
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

/// Writes what a survey found, in as many copies as [`domain::crowd::status_copies`] says for the drop. A write under an older lease never replaces one under a newer.
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

/// The right to conduct a drop, for a short while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub holder: String,
    /// Grows whenever the lease changes hands; goes with every write made under it.
    pub fencing: u64,
    /// Until when it is held.
    pub until: Timestamp,
}

/// Takes and keeps the lease.
pub trait HoldLease: Send + Sync {
    /// Takes the lease of `drop` for `holder` until `until`, if it is free at `now`, expired, or `holder`'s own.
    /// Keeping one's own keeps its fencing number. Refused: the lease of whoever has it.
    fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<Result<Lease, Lease>, StoreError>> + Send;
}
