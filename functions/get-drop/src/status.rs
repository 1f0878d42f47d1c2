//! Reads a drop's status document from one of its copies, and caches it.

use std::sync::Arc;

use api::drops::StatusView;
use domain::crowd;
use domain::ids::DropId;
use domain::limits::STATUS_REPLICAS;
use domain::status::DropStatus;
use ports::cached::Known;
use ports::drops::{ListDrops, ReadDrop, ReadStatus};
use ports::runtime::Runtime;
use ports::timed_cache::TimedCache;

use crate::browse::{Browse, NotShown};

/// How many drops' statuses a process caches.
const MOST_STATUSES: usize = 256;

/// Reads statuses through a cache.
pub struct Statuses<T, R> {
    statuses: T,
    runtime: R,
    replica: u8,
    known: TimedCache<DropId, Option<Arc<DropStatus>>>,
}

impl<T: ReadStatus, R: Runtime> Statuses<T, R> {
    /// Reads one copy of each document of `statuses`. The copy's number is drawn here, at random.
    pub fn new(statuses: T, runtime: R) -> Self {
        let drawn = runtime.random() % u64::from(STATUS_REPLICAS);
        Self {
            statuses,
            runtime,
            replica: u8::try_from(drawn).unwrap_or(0),
            known: TimedCache::new(MOST_STATUSES),
        }
    }

    /// The drop's current status.
    ///
    /// # Errors
    /// [`NotShown`].
    pub async fn show<D: ReadDrop, L: ListDrops>(
        &self,
        drops: &Browse<D, L, R>,
        id: &DropId,
    ) -> Result<StatusView, NotShown> {
        let (Known { drop, is_stale }, now) = drops.published(id).await?;
        // Every copy is `None` until the conductor has counted the drop for the first time.
        let copy = self.replica % crowd::status_copies(drop.expected_shoppers);
        let read = || async { Ok(self.statuses.status(id, copy).await?.map(Arc::new)) };
        let status = self.known.read(&self.runtime, id, read).await?;
        StatusView::of(&drop, is_stale, status.as_deref(), now).ok_or(NotShown::Unknown)
    }
}
