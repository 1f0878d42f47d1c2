//! Implements the drop, status, lease and readiness ports.

use std::cmp::Reverse;

use capacity::readiness::Readiness;
use domain::drops::{Drop, DropState, ListedDrop};
use domain::ids::{DropId, SkuId};
use domain::limits::{DROP_COPIES, STATUS_REPLICAS};
use domain::status::DropStatus;
use domain::time::Timestamp;
use ports::drops::{
    FreeCounts, HoldLease, Lease, ListDrops, Listing, ReadCounts, ReadDrop, ReadStatus, StoreDrop,
    WriteStatus,
};
use ports::prescale::ReadReadiness;
use ports::{Conditional, StoreError};

use crate::faults::Op;
use crate::store::{MemoryStore, StoredDrop};

impl ReadDrop for MemoryStore {
    async fn drop(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        self.call(Op::Drop, |state| {
            Ok(state.drops.get(id).map(|stored| stored.drop.clone()))
        })
        .await
    }

    async fn copy(&self, id: &DropId, copy: u8) -> Result<Option<Drop>, StoreError> {
        self.call(Op::Drop, |state| {
            let found = state.drops.get(id).map(|stored| &stored.drop);
            Ok(found
                .filter(|drop| copy < DROP_COPIES && drop.is_published())
                .cloned())
        })
        .await
    }
}

impl ListDrops for MemoryStore {
    async fn published(&self, listing: Listing, most: u16) -> Result<Vec<ListedDrop>, StoreError> {
        self.call(Op::Published, |state| {
            let mut drops: Vec<ListedDrop> = state
                .drops
                .values()
                .filter(|stored| stored.on_calendar)
                .filter(|stored| stored.drop.listed == (listing == Listing::Listed))
                .map(|stored| stored.drop.entry())
                .collect();
            drops.sort_by_key(|drop| Reverse(drop.position()));
            drops.truncate(usize::from(most));
            Ok(drops)
        })
        .await
    }
}

impl StoreDrop for MemoryStore {
    async fn store(&self, drop: &Drop) -> Result<Conditional<()>, StoreError> {
        self.call(Op::Store, |state| {
            let stored = state.drops.get(&drop.id);
            let version = stored.map_or(0, |stored| stored.drop.version);
            if version.checked_add(1) != Some(drop.version) {
                return Ok(Conditional::Refused(()));
            }
            let on_calendar =
                drop.state == DropState::Scheduled || stored.is_some_and(|stored| stored.on_calendar);
            let drop = drop.clone();
            state
                .drops
                .insert(drop.id.clone(), StoredDrop { drop, on_calendar });
            Ok(Conditional::Done)
        })
        .await
    }
}

impl ReadStatus for MemoryStore {
    async fn status(&self, drop: &DropId, replica: u8) -> Result<Option<DropStatus>, StoreError> {
        self.call(Op::Status, |state| {
            if replica >= state.copies.get(drop).copied().unwrap_or(STATUS_REPLICAS) {
                return Ok(None);
            }
            Ok(state.statuses.get(drop).cloned())
        })
        .await
    }
}

impl ReadCounts for MemoryStore {
    async fn counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        replica: u8,
    ) -> Result<Option<FreeCounts>, StoreError> {
        self.call(Op::Counts, |state| {
            if replica >= state.copies.get(drop).copied().unwrap_or(STATUS_REPLICAS) {
                return Ok(None);
            }
            Ok(state.counts.get(&(drop.clone(), sku.clone())).cloned())
        })
        .await
    }
}

/// Whether a write under `fencing` at `as_of` may replace a write with the values `stored`. A write under a newer lease
/// always may; a write under the same lease may unless its survey is older.
fn may_replace(stored: Option<(u64, Timestamp)>, fencing: u64, as_of: Timestamp) -> bool {
    stored.is_none_or(|stored| stored <= (fencing, as_of))
}

impl WriteStatus for MemoryStore {
    async fn write_counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        counts: &FreeCounts,
        copies: u8,
    ) -> Result<Conditional<()>, StoreError> {
        self.call(Op::WriteCounts, |state| {
            let key = (drop.clone(), sku.clone());
            let stored = state.counts.get(&key).map(|c| (c.fencing, c.as_of));
            if !may_replace(stored, counts.fencing, counts.as_of) {
                return Ok(Conditional::Refused(()));
            }
            state.copies.insert(drop.clone(), copies);
            state.counts.insert(key, counts.clone());
            Ok(Conditional::Done)
        })
        .await
    }

    async fn write_status(&self, status: &DropStatus, copies: u8) -> Result<Conditional<()>, StoreError> {
        self.call(Op::WriteStatus, |state| {
            let stored = state.statuses.get(&status.drop).map(|s| (s.fencing, s.as_of));
            if !may_replace(stored, status.fencing, status.as_of) {
                return Ok(Conditional::Refused(()));
            }
            state.copies.insert(status.drop.clone(), copies);
            state.statuses.insert(status.drop.clone(), status.clone());
            Ok(Conditional::Done)
        })
        .await
    }
}

impl HoldLease for MemoryStore {
    async fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Lease, Lease>, StoreError> {
        self.call(Op::Acquire, |state| {
            let lease = |fencing| Lease {
                holder: holder.to_owned(),
                fencing,
                until,
            };
            let granted = match state.leases.get(drop) {
                None => lease(1),
                Some(mine) if mine.holder == holder => lease(mine.fencing),
                Some(lapsed) if lapsed.until <= now => lease(lapsed.fencing + 1),
                Some(theirs) => return Ok(Err(theirs.clone())),
            };
            state.leases.insert(drop.clone(), granted.clone());
            Ok(Ok(granted))
        })
        .await
    }
}

impl ReadReadiness for MemoryStore {
    async fn readiness(&self, drop: &DropId) -> Result<Option<Readiness>, StoreError> {
        self.call(Op::Readiness, |state| Ok(state.readiness.get(drop).cloned()))
            .await
    }
}
