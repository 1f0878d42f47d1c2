//! Implements the ports of drops, statuses and leases, over the store in memory.

use std::sync::Arc;

use domain::drops::{Drop, DropState, ListedDrop};
use domain::ids::{DropId, SkuId};
use domain::status::DropStatus;
use domain::time::Timestamp;
use memory::MemoryStore;
use ports::drops::{
    FreeCounts, HoldLease, Lease, ListDrops, Listing, ReadCounts, ReadDrop, ReadStatus, StoreDrop,
    WriteStatus,
};
use ports::{Conditional, StoreError};

use crate::function::Function;
use crate::ports::tell::Tell as _;
use crate::ports::{Ports, Services};
use crate::sabotage::{self, Sabotage};

impl ReadDrop for Ports {
    async fn drop(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        let act = |memory: MemoryStore| async move { memory.drop(id).await };
        let mut read = self.read("drop", false, String::new, act).await;
        if self.process.function == Function::ConductDrop
            && self.world().is_sabotaged(Sabotage::ReturnAllowedHolds)
            && let Ok(Some(drop)) = &mut read
        {
            drop.per_shopper_limit = 1;
        }
        read
    }

    async fn copy(&self, id: &DropId, copy: u8) -> Result<Option<Drop>, StoreError> {
        let act = |memory: MemoryStore| async move { memory.copy(id, copy).await };
        let read = self.read("drop", true, String::new, act);
        self.process.stale_drop(read).await
    }
}

impl ListDrops for Ports {
    async fn published(&self, listing: Listing, most: u16) -> Result<Vec<ListedDrop>, StoreError> {
        let act = |memory: MemoryStore| async move { memory.published(listing, most).await };
        self.read("calendar", true, String::new, act).await
    }
}

impl StoreDrop for Ports {
    async fn store(&self, drop: &Drop) -> Result<Conditional<()>, StoreError> {
        let of = drop.tell();
        let drop = drop.clone();
        let act = move |on: Arc<Services>| async move {
            let outcome = on.memory.store(&drop).await;
            if outcome == Ok(Conditional::Done) {
                if drop.state == DropState::Cancelled {
                    on.world.note("a cancellation came to its end");
                }
                on.watch.drop_stored(&drop);
            }
            outcome
        };
        self.write("store drop", false, of, act).await
    }
}

impl ReadStatus for Ports {
    async fn status(&self, drop: &DropId, replica: u8) -> Result<Option<DropStatus>, StoreError> {
        let act = |memory: MemoryStore| async move { memory.status(drop, replica).await };
        self.read("status", true, String::new, act).await
    }
}

impl ReadCounts for Ports {
    async fn counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        replica: u8,
    ) -> Result<Option<FreeCounts>, StoreError> {
        let act = |memory: MemoryStore| async move { memory.counts(drop, sku, replica).await };
        self.read("counts", true, || sku.to_string(), act).await
    }
}

impl WriteStatus for Ports {
    async fn write_counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        counts: &FreeCounts,
        copies: u8,
    ) -> Result<Conditional<()>, StoreError> {
        let of = format!("{sku} {}", counts.tell());
        let (drop, sku, counts) = (drop.clone(), sku.clone(), counts.clone());
        let act = move |on: Arc<Services>| async move {
            let outcome = if on.world.is_sabotaged(Sabotage::ConductorWithoutFencing) {
                on.memory.put_counts(&drop, &sku, &counts);
                Ok(Conditional::Done)
            } else {
                on.memory.write_counts(&drop, &sku, &counts, copies).await
            };
            match &outcome {
                Ok(Conditional::Done) => on.watch.counts_written(&sku, &counts),
                Ok(Conditional::Refused(())) => on.world.note("an older conductor was fenced off"),
                Err(_) => {}
            }
            outcome
        };
        self.write("write counts", false, of, act).await
    }

    async fn write_status(&self, status: &DropStatus, copies: u8) -> Result<Conditional<()>, StoreError> {
        let mut status = status.clone();
        if self.world().is_sabotaged(Sabotage::CallHeldGone) {
            sabotage::count_held_as_sold(&mut status);
        }
        let told = status.tell();
        let act = move |on: Arc<Services>| async move {
            let outcome = if on.world.is_sabotaged(Sabotage::ConductorWithoutFencing) {
                on.memory.put_status(&status);
                Ok(Conditional::Done)
            } else {
                on.memory.write_status(&status, copies).await
            };
            match &outcome {
                Ok(Conditional::Done) => on.watch.status_written(&status),
                Ok(Conditional::Refused(())) => on.world.note("an older conductor was fenced off"),
                Err(_) => {}
            }
            outcome
        };
        self.write("write status", false, told, act).await
    }
}

impl HoldLease for Ports {
    async fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Lease, Lease>, StoreError> {
        let of = format!("for {holder}");
        let (drop, holder) = (drop.clone(), holder.to_owned());
        let act = move |on: Arc<Services>| async move {
            let outcome = on.memory.acquire(&drop, &holder, now, until).await;
            match &outcome {
                Ok(Ok(lease)) => on.watch.lease_held(lease.fencing),
                Ok(Err(_)) => on.world.note("a conductor stood by"),
                Err(_) => {}
            }
            outcome
        };
        self.write("lease", false, of, act).await
    }
}
