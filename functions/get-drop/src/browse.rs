//! Reads the drops that shoppers may see: one drop, or a page of the list.

use std::sync::Arc;

use api::drops::{DropList, DropSummary, DropView};
use domain::drops::{ListedDrop, Phase};
use domain::ids::DropId;
use domain::limits::{LIST_CACHE_MS, MAX_LISTED};
use domain::time::Timestamp;
use ports::cached::{CachedDrops, Known};
use ports::drops::{ListDrops, Listing, ReadDrop};
use ports::runtime::Runtime;
use ports::timed_cache::TimedCache;
use ports::{StoreError, page};
use web::{Page, encode_cursor};

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
    /// The whole list, from which pages are cut. Clients choose the cursors, so a read for each page would let them
    /// load the list's one key without limit. The time is that of the read.
    list: TimedCache<(), (Arc<[ListedDrop]>, Timestamp)>,
}

impl<D: ReadDrop, L: ListDrops, R: Runtime> Browse<D, L, R> {
    pub fn new(drops: D, calendar: L, runtime: R) -> Self {
        Self {
            drops: CachedDrops::new(drops, runtime.clone()),
            calendar,
            runtime,
            list: TimedCache::fresh_for(LIST_CACHE_MS, 1),
        }
    }

    /// The published drop `id`. While the database does not answer, a stale copy is returned, unless a newer document
    /// could contradict the answer that follows from the copy. The answer must hold for the returned moment: a later
    /// moment may be one for which the copy does not suffice.
    ///
    /// # Errors
    /// [`NotShown`].
    pub async fn published(&self, id: &DropId) -> Result<(Known, Timestamp), NotShown> {
        let known = self.drops.get(id).await?.ok_or(NotShown::Unknown)?;
        let now = self.runtime.now();
        if known.is_stale && known.drop.needs_the_newest(now) {
            return Err(StoreError::Busy.into());
        }
        match known.drop.phase(now) {
            Some(_) => Ok((known, now)),
            None => Err(NotShown::Unknown),
        }
    }

    /// One drop in its current phase.
    ///
    /// # Errors
    /// [`NotShown`].
    pub async fn show(&self, id: &DropId) -> Result<DropView, NotShown> {
        let (known, now) = self.published(id).await?;
        DropView::of(&known.drop, now).ok_or(NotShown::Unknown)
    }

    /// A page of the list, latest start first.
    ///
    /// # Errors
    /// [`NotShown::Store`].
    pub async fn list(&self, page: &Page<DropId>) -> Result<DropList, NotShown> {
        let read = || async {
            let read_at = self.runtime.now();
            let list = self.calendar.published(Listing::Listed, MAX_LISTED).await;
            list.map(|list| (Arc::from(list), read_at))
        };
        let (list, read_at) = self.list.read(&self.runtime, &(), read).await?;
        let now = self.runtime.now();
        let is_after = |drop: &&ListedDrop| {
            let after = page.after.as_ref();
            after.is_none_or(|(starts_at, id)| drop.position() < (*starts_at, id))
        };
        let more_than_a_page = usize::from(page.limit) + 1;
        let mut found: Vec<&ListedDrop> = list.iter().filter(is_after).take(more_than_a_page).collect();
        let next = page::cut(&mut found, page.limit, |drop| drop.position());
        Ok(DropList {
            drops: found
                .into_iter()
                .filter_map(|drop| summary(drop, read_at, now))
                .collect(),
            next_cursor: next.map(|(at, id)| encode_cursor(at, id)),
        })
    }
}

/// The summary of a drop in a list that was read at `read_at`. A drop that has ended since then may have been extended,
/// so it keeps the phase of that time until the next read.
fn summary(drop: &ListedDrop, read_at: Timestamp, now: Timestamp) -> Option<DropSummary> {
    let phase = match drop.phase(now)? {
        Phase::Closed => drop.phase(read_at)?,
        phase => phase,
    };
    Some(DropSummary {
        drop_id: drop.id.clone(),
        title: drop.title.clone(),
        phase,
        starts_at: drop.starts_at.into(),
        ends_at: drop.ends_at.into(),
    })
}
