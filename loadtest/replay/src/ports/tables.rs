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
use crate::ports::store::Store;
use crate::ports::tell::Tell as _;
use crate::sabotage::{self, Sabotage};

impl ReadDrop for Store {
    async fn drop(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        let mut read = self
            .read("drop", false, String::new, |memory| async move {
                memory.drop(id).await
            })
            .await;
        let conducts = self.process.function == Function::ConductDrop;
        if conducts
            && self.world().is_sabotaged(Sabotage::ReturnAllowedHolds)
            && let Ok(Some(drop)) = &mut read
        {
            drop.per_shopper_limit = 1;
        }
        read
    }

    async fn copy(&self, id: &DropId, copy: u8) -> Result<Option<Drop>, StoreError> {
        let read = self.read("drop", true, String::new, |memory| async move {
            memory.copy(id, copy).await
        });
        self.process.stale_drop(read).await
    }
}

impl ListDrops for Store {
    async fn published(&self, listing: Listing, most: u16) -> Result<Vec<ListedDrop>, StoreError> {
        self.read("calendar", true, String::new, |memory| async move {
            memory.published(listing, most).await
        })
        .await
    }
}

impl StoreDrop for Store {
    async fn store(&self, drop: &Drop) -> Result<Conditional<()>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let of = drop.tell();
        let (drop, world) = (drop.clone(), self.world().clone());
        let act = move |memory: MemoryStore| async move {
            let outcome = memory.store(&drop).await;
            if outcome == Ok(Conditional::Done) {
                if drop.state == DropState::Cancelled {
                    world.note("a cancellation came to its end");
                }
                watch.drop_stored(&drop);
            }
            outcome
        };
        self.write("store drop", false, of, act).await
    }
}

impl ReadStatus for Store {
    async fn status(&self, drop: &DropId, replica: u8) -> Result<Option<DropStatus>, StoreError> {
        self.read("status", true, String::new, |memory| async move {
            memory.status(drop, replica).await
        })
        .await
    }
}

impl ReadCounts for Store {
    async fn counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        replica: u8,
    ) -> Result<Option<FreeCounts>, StoreError> {
        self.read(
            "counts",
            true,
            || sku.to_string(),
            |memory| async move { memory.counts(drop, sku, replica).await },
        )
        .await
    }
}

impl WriteStatus for Store {
    async fn write_counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        counts: &FreeCounts,
        copies: u8,
    ) -> Result<Conditional<()>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let of = format!("{sku} {}", counts.tell());
        let (drop, sku, counts, world) = (drop.clone(), sku.clone(), counts.clone(), self.world().clone());
        let act = move |memory: MemoryStore| async move {
            let outcome = if world.is_sabotaged(Sabotage::ConductorWithoutFencing) {
                memory.put_counts(&drop, &sku, &counts);
                Ok(Conditional::Done)
            } else {
                memory.write_counts(&drop, &sku, &counts, copies).await
            };
            match &outcome {
                Ok(Conditional::Done) => watch.counts_written(&sku, &counts),
                Ok(Conditional::Refused(())) => world.note("an older conductor was fenced off"),
                Err(_) => {}
            }
            outcome
        };
        self.write("write counts", false, of, act).await
    }

    async fn write_status(&self, status: &DropStatus, copies: u8) -> Result<Conditional<()>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let mut status = status.clone();
        let world = self.world().clone();
        if world.is_sabotaged(Sabotage::CallHeldGone) {
            sabotage::count_held_as_sold(&mut status);
        }
        let told = status.tell();
        let act = move |memory: MemoryStore| async move {
            let outcome = if world.is_sabotaged(Sabotage::ConductorWithoutFencing) {
                memory.put_status(&status);
                Ok(Conditional::Done)
            } else {
                memory.write_status(&status, copies).await
            };
            match &outcome {
                Ok(Conditional::Done) => watch.status_written(&memory, &status),
                Ok(Conditional::Refused(())) => world.note("an older conductor was fenced off"),
                Err(_) => {}
            }
            outcome
        };
        self.write("write status", false, told, act).await
    }
}

impl HoldLease for Store {
    async fn acquire(
        &self,
        drop: &DropId,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Lease, Lease>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let of = format!("for {holder}");
        let (drop, holder, world) = (drop.clone(), holder.to_owned(), self.world().clone());
        let act = move |memory: MemoryStore| async move {
            let outcome = memory.acquire(&drop, &holder, now, until).await;
            match &outcome {
                Ok(Ok(lease)) => watch.lease_held(lease.fencing),
                Ok(Err(_)) => world.note("a conductor stood by"),
                Err(_) => {}
            }
            outcome
        };
        self.write("lease", false, of, act).await
    }
}
