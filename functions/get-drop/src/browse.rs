//! Reads the drops that shoppers may see: one drop, or a page of the list.

use std::sync::Arc;

use api::drops::{DropList, DropSummary, DropView};
use domain::drops::Drop;
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::StoreError;
use ports::cached::{CachedDrops, Known};
use ports::drops::{DropPage, ListDrops, Listing, ReadDrop};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use ports::timed_cache::TimedCache;
use web::{Page, encode_cursor};

/// How many first pages a process caches, one for each requested `limit`. Further pages are not cached: clients choose
/// the cursors and could fill the memory.
const MOST_PAGES: usize = 8;

/// Why a drop or a page of drops is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// The drop does not exist, or is not published.
    #[error("there is no such drop")]
    Unknown,
    /// The database did not answer, and no usable copy is cached.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads drops through a cache.
pub struct Browse<D, L, R> {
    drops: CachedDrops<D, R>,
    calendar: L,
    runtime: R,
    first_pages: TimedCache<u16, Arc<DropPage>>,
}

impl<D: ReadDrop, L: ListDrops, R: Runtime> Browse<D, L, R> {
    pub fn new(drops: D, calendar: L, runtime: R) -> Self {
        Self {
            drops: CachedDrops::new(drops, runtime.clone()),
            calendar,
            runtime,
            first_pages: TimedCache::new(MOST_PAGES),
        }
    }

    /// The published drop `id`. While the database does not answer, a stale copy is returned, unless a newer document
    /// could contradict the answer that follows from the copy.
    ///
    /// # Errors
    /// [`NotShown`].
    pub async fn published(&self, id: &DropId) -> Result<Known, NotShown> {
        let known = self.drops.get(id).await?.ok_or(NotShown::Unknown)?;
        let now = self.runtime.now();
        if known.is_stale && known.drop.needs_the_newest(now) {
            return Err(StoreError::Busy.into());
        }
        match known.drop.phase(now) {
            Some(_) => Ok(known),
            None => Err(NotShown::Unknown),
        }
    }

    /// One drop in its current phase.
    ///
    /// # Errors
    /// [`NotShown`].
    pub async fn show(&self, id: &DropId) -> Result<DropView, NotShown> {
        let known = self.published(id).await?;
        DropView::of(&known.drop, self.runtime.now()).ok_or(NotShown::Unknown)
    }

    /// A page of the list, latest start first.
    ///
    /// # Errors
    /// [`NotShown::Store`].
    pub async fn list(&self, page: &Page<DropId>) -> Result<DropList, NotShown> {
        let found = self.page(page).await?;
        let now = self.runtime.now();
        Ok(DropList {
            drops: found.drops.iter().filter_map(|drop| summary(drop, now)).collect(),
            next_cursor: found.next.as_ref().map(|(at, id)| encode_cursor(*at, id)),
        })
    }

    async fn page(&self, page: &Page<DropId>) -> Result<Arc<DropPage>, StoreError> {
        let (after, limit) = (page.after.as_ref(), page.limit);
        let read = || async {
            let page = self.calendar.published(Listing::Listed, after, limit).await;
            page.map(Arc::new)
        };
        match after {
            None => self.first_pages.read(&self.runtime, &limit, read).await,
            Some(_) => retry(&self.runtime, IN_REQUEST, read).await,
        }
    }
}

fn summary(drop: &Drop, now: Timestamp) -> Option<DropSummary> {
    Some(DropSummary {
        drop_id: drop.id.clone(),
        title: drop.title.clone(),
        phase: drop.phase(now)?,
        starts_at: drop.starts_at.into(),
        ends_at: drop.ends_at.into(),
    })
}
