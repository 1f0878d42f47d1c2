//! Caches drops, as this process last read them.
//!
//! The copies are in a [`TimedCache`]. A copy is *fresh* for [`CACHE_MS`], and the process reads it again by
//! then, at a random time of its own. When the database does not answer, the process uses its copy for
//! [`STALE_MS`](domain::limits::STALE_MS). With a *stale* copy it may accept reservations until the end in
//! that copy, but must not make a statement that a newer document may contradict. While one request reads a
//! drop again, other requests use the copy. This read ends before the next read is due, so at most one read
//! of a drop is in progress. Only a process without a copy waits for repeated reads.
//!
//! A process reads one of the copies of a drop's document. It chooses the copy at random when it starts, so
//! that no key receives too many reads. A drop without copies (a draft or an unknown id) is read from the
//! document itself.

use std::sync::Arc;

use domain::drops::Drop;
use domain::ids::DropId;
use domain::limits::{CACHE_MS, DROP_COPIES, REFRESH_JITTER_MS};
use domain::time::Timestamp;

use crate::StoreError;
use crate::drops::ReadDrop;
use crate::runtime::Runtime;
use crate::timed_cache::{Found, TimedCache};

/// The largest number of drops that a process caches, and of ids that it caches as absent.
const MOST: usize = 256;

/// A drop as this process last read it, and whether the copy is still fresh.
#[derive(Debug, Clone)]
pub struct Known {
    /// The drop as this process last read it.
    pub drop: Arc<Drop>,
    /// Whether the copy is no longer fresh, since it could not be read again in time. Then the process must
    /// not make a statement that a newer document may contradict.
    pub is_stale: bool,
}

/// Reads drops through a cache, each at most once a second. The absence of a drop is cached too.
pub struct CachedDrops<D, R> {
    drops: D,
    runtime: R,
    /// The number of the copy that this process reads of each document.
    copy: u8,
    copies: TimedCache<DropId, Arc<Drop>>,
    absent: TimedCache<DropId, ()>,
}

impl<D: ReadDrop, R: Runtime> CachedDrops<D, R> {
    /// An empty cache in front of `drops`.
    pub fn new(drops: D, runtime: R) -> Self {
        let drawn = runtime.random() % u64::from(DROP_COPIES);
        Self {
            drops,
            runtime,
            copy: u8::try_from(drawn).unwrap_or(0),
            copies: TimedCache::new(MOST),
            absent: TimedCache::new(MOST),
        }
    }

    /// The drop: fresh, or stale while the database does not answer; `None` if the drop does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when there is no usable copy and the read failed.
    pub async fn get(&self, id: &DropId) -> Result<Option<Known>, StoreError> {
        let now = self.runtime.now();
        if self.absent.fresh(id, now).is_some() {
            return Ok(None);
        }
        let (copies, next) = (&self.copies, || self.due_at(now));
        match copies
            .find(&self.runtime, id, now, next, || self.read(id))
            .await?
        {
            Found::Kept(drop, is_fresh) => Ok(Some(Known {
                drop,
                is_stale: !is_fresh,
            })),
            Found::Read(drop) => Ok(self.note(id, drop, now)),
        }
    }

    async fn read(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        match self.drops.copy(id, self.copy).await? {
            None => self.drops.drop(id).await,
            found => Ok(found),
        }
    }

    /// The time at which a copy that is read now must be read again: when it is no longer fresh, or a random
    /// time before.
    fn due_at(&self, now: Timestamp) -> Timestamp {
        let early = self.runtime.random() % (REFRESH_JITTER_MS.unsigned_abs() + 1);
        now.plus_millis(CACHE_MS - i64::try_from(early).unwrap_or(0))
    }

    fn note(&self, id: &DropId, drop: Option<Drop>, read_at: Timestamp) -> Option<Known> {
        let Some(drop) = drop else {
            self.copies.forget(id);
            self.absent.note(id.clone(), (), read_at);
            return None;
        };
        let due_at = self.due_at(read_at);
        let drop = Arc::new(drop);
        // An eventually consistent read may return an older document than an earlier read.
        let is_newer = |copy: &Arc<Drop>| copy.version > drop.version;
        let newer = (self.copies).note_unless(id.clone(), Arc::clone(&drop), read_at, due_at, is_newer);
        let (drop, read_before_ms) = match newer {
            Some((newer, at)) => (newer, read_at.millis_since(at)),
            None => (drop, 0),
        };
        Some(Known {
            drop,
            is_stale: read_before_ms >= CACHE_MS,
        })
    }
}
