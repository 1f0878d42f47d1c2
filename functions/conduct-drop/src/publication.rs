//! Writes a drop's counts and status when their contents have changed, and again before they become stale.

use std::collections::BTreeMap;

use domain::crowd;
use domain::drops::Drop;
use domain::ids::SkuId;
use domain::limits::CONDUCTOR_PERIOD_MS;
use domain::status::DropStatus;
use domain::time::Timestamp;
use ports::StoreError;
use ports::drops::{FreeCounts, WriteStatus};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;

use crate::bounds::REFRESH_MS;
use crate::survey::Survey;

/// The status and the free counts that this run last wrote for a drop under one lease. Unchanged contents are written
/// again only before they become stale.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    status: Option<DropStatus>,
    counts: BTreeMap<SkuId, FreeCounts>,
}

/// The result of [`Publication::publish`]: whether it wrote a document, and whether this run may still write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    Written,
    /// Nothing was written: the contents have not changed, and the last document stays fresh for another period.
    Unchanged,
    /// A run with a newer lease has written: this run no longer conducts the drop.
    Fenced,
}

/// Whether a document written at `before` stays fresh for another period after `now`.
fn is_fresh(before: Timestamp, now: Timestamp) -> bool {
    (0..REFRESH_MS - CONDUCTOR_PERIOD_MS).contains(&now.millis_since(before))
}

impl Publication {
    /// The status that this run wrote last; `None` before its first write.
    #[must_use]
    pub const fn status(&self) -> Option<&DropStatus> {
        self.status.as_ref()
    }

    /// Writes the survey under `fencing`: the counts of each SKU, then the status. With `always`, the status is written
    /// also when nothing has changed.
    ///
    /// # Errors
    /// [`StoreError`]; the next step writes again.
    pub async fn publish<T: WriteStatus, R: Runtime>(
        &mut self,
        statuses: &T,
        runtime: &R,
        drop: &Drop,
        survey: &Survey,
        fencing: u64,
        always: bool,
    ) -> Result<Published, StoreError> {
        let copies = crowd::status_copies(drop.expected_shoppers);
        for sku in &drop.skus {
            let counts = FreeCounts {
                as_of: survey.as_of,
                fencing,
                free: survey.free(drop, sku),
            };
            let is_current = self.counts.get(&sku.sku).is_some_and(|written| {
                (&written.free, written.fencing) == (&counts.free, fencing)
                    && is_fresh(written.as_of, counts.as_of)
            });
            if is_current {
                continue;
            }
            let write = || statuses.write_counts(&drop.id, &sku.sku, &counts, copies);
            if !retry(runtime, IN_REQUEST, write).await?.is_done() {
                return Ok(Published::Fenced);
            }
            self.counts.insert(sku.sku.clone(), counts);
        }
        let status = DropStatus {
            drop: drop.id.clone(),
            as_of: survey.as_of,
            fencing,
            skus: survey.counts(drop),
        };
        let is_current = self.status.as_ref().is_some_and(|written| {
            (&written.skus, written.fencing) == (&status.skus, fencing)
                && is_fresh(written.as_of, status.as_of)
        });
        if is_current && !always {
            return Ok(Published::Unchanged);
        }
        let write = || statuses.write_status(&status, copies);
        if !retry(runtime, IN_REQUEST, write).await?.is_done() {
            return Ok(Published::Fenced);
        }
        self.status = Some(status);
        Ok(Published::Written)
    }
}
