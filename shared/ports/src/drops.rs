//! Defines the ports of drops, their status documents, the free counts of their shards, and the conductor's
//! lease.

use std::future::Future;

use domain::drops::{Drop, ListedDrop};
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

/// The two parts of the list of published drops. They are stored separately, so that drops of one part never take the
/// place of drops of the other part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The drops that lists show to shoppers.
    Listed,
    /// The drops that lists do not show to shoppers.
    Unlisted,
}

/// Lists the published drops.
pub trait ListDrops: Send + Sync {
    /// The entries of at most `most` published drops of `listing`, the latest start first, and of two drops with the
    /// same start the one with the higher id; eventually consistent.
    fn published(
        &self,
        listing: Listing,
        most: u16,
    ) -> impl Future<Output = Result<Vec<ListedDrop>, StoreError>> + Send;
}

/// Stores drops and their copies.
pub trait StoreDrop: Send + Sync {
    /// Stores `drop` if the stored version is the one before, or as a new drop at version 1. Refused: another
    /// change came first, and nothing was written. The copies of a published drop change in the same
    /// transaction, so all copies always have the same version. Once the drop is scheduled, it is in the
    /// list, in the part that its `listed` selects.
    fn store(&self, drop: &Drop) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Reads the status document of a drop.
pub trait ReadStatus: Send + Sync {
    /// The given copy of the status document, counted from 0, eventually consistent; `None` before the
    /// first survey.
    fn status(
        &self,
        drop: &DropId,
        replica: u8,
    ) -> impl Future<Output = Result<Option<DropStatus>, StoreError>> + Send;
}

/// The free units of each shard of one SKU, as the last survey counted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeCounts {
    /// The time of the survey that counted the units.
    pub as_of: Timestamp,
    /// The fencing number of the lease under which the counts were written.
    pub fencing: u64,
    /// The free units by shard index. Each is at most `domain::limits::MAX_SHARD_UNITS`.
    pub free: Vec<u8>,
}

/// Reads the free counts of a SKU.
pub trait ReadCounts: Send + Sync {
    /// The given copy of the free counts of a SKU, counted from 0, eventually consistent; `None` before the
    /// first survey.
    fn counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        replica: u8,
    ) -> impl Future<Output = Result<Option<FreeCounts>, StoreError>> + Send;
}

/// Writes the results of a survey, in the number of copies that [`domain::crowd::status_copies`] gives for
/// the drop. A write under an older lease never replaces a write under a newer lease.
pub trait WriteStatus: Send + Sync {
    /// Stores every copy of the free counts of a SKU. Refused: a conductor with a newer lease has written.
    fn write_counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        counts: &FreeCounts,
        copies: u8,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;

    /// Stores every copy of the status document. Refused: a conductor with a newer lease has written.
    fn write_status(
        &self,
        status: &DropStatus,
        copies: u8,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// The right to do some work for a limited time: to conduct a drop, or to run pre-scaling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The run that holds the lease, by a name that no other run has.
    pub holder: String,
    /// The fencing number. It grows whenever the holder changes, and is part of every write under the lease.
    pub fencing: u64,
    /// The time at which the lease ends.
    pub until: Timestamp,
}

/// Takes and renews the conductor's lease of a drop.
pub trait HoldLease: Send + Sync {
    /// Takes the lease of `drop` for `holder` until `until`, if the lease is free at `now`, has expired, or
    /// is `holder`'s own. A renewal keeps the fencing number. Refused: contains the current lease of
    /// another holder.
    fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = Result<Result<Lease, Lease>, StoreError>> + Send;
}
