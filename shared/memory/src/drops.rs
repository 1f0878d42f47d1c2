//! Implements the drop, status, lease and readiness ports.

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

use crate::conditions::{granted, may_replace, write_if};
use crate::faults::Op;
use crate::store::{MemoryStore, State, StoredDrop};

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
            drops.sort_by(|one, other| other.position().cmp(&one.position()));
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
            let was_on_calendar = stored.is_some_and(|stored| stored.on_calendar);
            Ok(write_if(version.checked_add(1) == Some(drop.version), || {
                let on_calendar = was_on_calendar || drop.state == DropState::Scheduled;
                let drop = drop.clone();
                let stored = StoredDrop { drop, on_calendar };
                state.drops.insert(stored.drop.id.clone(), stored);
            }))
        })
        .await
    }
}

impl State {
    /// The number of copies of a drop's status and counts.
    fn copies_of(&self, drop: &DropId) -> u8 {
        self.copies.get(drop).copied().unwrap_or(STATUS_REPLICAS)
    }
}

impl ReadStatus for MemoryStore {
    async fn status(&self, drop: &DropId, replica: u8) -> Result<Option<DropStatus>, StoreError> {
        self.call(Op::Status, |state| {
            let status = state.statuses.get(drop);
            Ok(status.filter(|_| replica < state.copies_of(drop)).cloned())
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
            let counts = state.counts.get(&(drop.clone(), sku.clone()));
            Ok(counts.filter(|_| replica < state.copies_of(drop)).cloned())
        })
        .await
    }
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
            Ok(write_if(
                may_replace(stored, counts.fencing, counts.as_of),
                || {
                    state.copies.insert(drop.clone(), copies);
                    state.counts.insert(key, counts.clone());
                },
            ))
        })
        .await
    }

    async fn write_status(&self, status: &DropStatus, copies: u8) -> Result<Conditional<()>, StoreError> {
        self.call(Op::WriteStatus, |state| {
            let stored = state.statuses.get(&status.drop).map(|s| (s.fencing, s.as_of));
            Ok(write_if(
                may_replace(stored, status.fencing, status.as_of),
                || {
                    state.copies.insert(status.drop.clone(), copies);
                    state.statuses.insert(status.drop.clone(), status.clone());
                },
            ))
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
            let granted = granted(state.leases.get(drop), holder, now, until);
            Ok(granted.inspect(|lease| {
                state.leases.insert(drop.clone(), lease.clone());
            }))
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
