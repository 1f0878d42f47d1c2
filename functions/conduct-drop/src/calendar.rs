//! Finds the drops that are on: those for which the conductor must make steps.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use domain::drops::{Drop, DropState, ListedDrop};
use domain::ids::DropId;
use domain::limits::{LATE_MS, MAX_LISTED};
use domain::status::DropStatus;
use domain::time::Timestamp;
use ports::StoreError;
use ports::drops::{ListDrops, Listing, ReadDrop, ReadStatus};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;

use crate::bounds::LEAD_MS;
use crate::survey::is_gone;

/// Reads the published drops, and remembers which of them are over.
#[derive(Debug, Default)]
pub struct Calendar {
    /// The drops that are over, each with the version for which this was found. A later version (a restock) makes the
    /// drop active again.
    over: Mutex<BTreeMap<DropId, u64>>,
}

impl Calendar {
    /// The drops that are on now, of the latest [`MAX_LISTED`] of each part of the calendar.
    ///
    /// # Errors
    /// [`StoreError`] when the calendar could not be read completely.
    pub async fn on<D, T, R>(&self, drops: &D, statuses: &T, runtime: &R) -> Result<Vec<DropId>, StoreError>
    where
        D: ListDrops + ReadDrop,
        T: ReadStatus,
        R: Runtime,
    {
        let now = runtime.now();
        let mut on = Vec::new();
        for listing in [Listing::Listed, Listing::Unlisted] {
            let listed = retry(runtime, IN_REQUEST, || drops.published(listing, MAX_LISTED)).await?;
            if listed.len() >= usize::from(MAX_LISTED) {
                tracing::warn!(
                    ?listing,
                    listed = listed.len(),
                    "too many published drops: the conductor does not conduct those that start before the drops read"
                );
            }
            for drop in &listed {
                if self.is_on(drops, statuses, runtime, drop, now).await {
                    on.push(drop.id.clone());
                }
            }
        }
        Ok(on)
    }

    /// Remembers that `drop` in this version will not change any more.
    pub fn note_over(&self, drop: &Drop) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if over.len() >= 4 * usize::from(MAX_LISTED) {
            // To forget the drops is harmless: each of them is only checked once more.
            over.clear();
        }
        over.insert(drop.id.clone(), drop.version);
    }

    fn is_known_over(&self, drop: &ListedDrop) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        over.get(&drop.id).is_some_and(|version| *version >= drop.version)
    }

    async fn is_on<D: ReadDrop, T: ReadStatus, R: Runtime>(
        &self,
        drops: &D,
        statuses: &T,
        runtime: &R,
        drop: &ListedDrop,
        now: Timestamp,
    ) -> bool {
        match drop.state {
            DropState::Draft | DropState::Publishing | DropState::Cancelled => return false,
            DropState::Cancelling => return !self.is_known_over(drop),
            DropState::Scheduled => {}
        }
        if now < drop.starts_at.plus_millis(-LEAD_MS) || self.is_known_over(drop) {
            return false;
        }
        if now < drop.starts_at {
            return true;
        }
        // This process does not know whether the drop is over, so the last status of an earlier run decides. If the
        // status or the drop cannot be read, the drop is on, since it is harmless to conduct a finished drop once more.
        let Ok(Some(status)) = retry(runtime, IN_REQUEST, || statuses.status(&drop.id, 0)).await else {
            return true;
        };
        match retry(runtime, IN_REQUEST, || drops.drop(&drop.id)).await {
            Ok(Some(drop)) if is_final(&status, &drop) => {
                self.note_over(&drop);
                false
            }
            _ => true,
        }
    }
}

/// Whether the drop cannot change any more: all planned units were counted, none is held or ordered, and either all are
/// sold or the last request that could claim a unit has ended.
#[must_use]
pub fn is_final(status: &DropStatus, drop: &Drop) -> bool {
    let late = status.as_of >= drop.ends_at.plus_millis(LATE_MS);
    drop.skus.iter().all(|sku| {
        status.of(&sku.sku).is_some_and(|counts| {
            counts.allocated == sku.plan.units()
                && counts.tally().is_drained()
                && (late || is_gone(counts, sku))
        })
    })
}
