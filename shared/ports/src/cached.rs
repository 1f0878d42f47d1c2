//! Drops as this process last read them.
//!
//! A copy is *fresh* for [`CACHE_MS`], and read again by then, at a random time of this process. When the
//! database does not answer, the process uses its copy for [`STALE_MS`]. With a *stale* copy it may accept
//! reservations until the end in that copy, but must not make a statement that a newer document may refute.
//! While one request reads a drop again, the other requests use the copy, so that one read of a drop is in
//! progress at a time. Only a process without a copy waits for repeated reads.
//!
//! A process reads one of the copies of a drop's document, which it draws at its start, so that no key is
//! hot. A drop without copies (a draft or an unknown id) is read from the document itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::drops::Drop;
use domain::ids::DropId;
use domain::limits::{CACHE_MS, DROP_COPIES, REFRESH_JITTER_MS, REFRESH_WAIT_MS, STALE_MS};
use domain::time::Timestamp;
use hashlink::LruCache;

use crate::StoreError;
use crate::drops::ReadDrop;
use crate::retry::{IN_REQUEST, retry};
use crate::runtime::Runtime;
use crate::time_limit::within;
use crate::timed_cache::TimedCache;

/// The number of drops that a process caches, and the number of ids that it caches as absent.
const MOST: usize = 256;

/// A drop from the cache.
#[derive(Debug, Clone)]
pub struct Known {
    /// The drop.
    pub drop: Arc<Drop>,
    /// Whether the drop could not be read again in time. Then no statement is allowed that a newer document
    /// may refute.
    pub is_stale: bool,
}

/// The cached state of a drop.
struct Remembered {
    drop: Arc<Drop>,
    read_at: Timestamp,
    /// When it is read again.
    due_at: Timestamp,
    /// Whether a request is reading the drop again.
    reading: bool,
}

impl Remembered {
    fn known(&self, now: Timestamp) -> Known {
        Known {
            drop: Arc::clone(&self.drop),
            is_stale: now.millis_since(self.read_at) >= CACHE_MS,
        }
    }
}

/// Reads drops, each at most once a second. The absence of a drop is cached too.
pub struct CachedDrops<D, R> {
    drops: D,
    runtime: R,
    /// The copy of each document that this process reads.
    copy: u8,
    copies: Mutex<LruCache<DropId, Remembered>>,
    absent: TimedCache<DropId, ()>,
}

impl<D: ReadDrop, R: Runtime> CachedDrops<D, R> {
    /// A cache in front of `drops`.
    pub fn new(drops: D, runtime: R) -> Self {
        let drawn = runtime.random() % u64::from(DROP_COPIES);
        Self {
            drops,
            runtime,
            copy: u8::try_from(drawn).unwrap_or(0),
            copies: Mutex::new(LruCache::new(MOST)),
            absent: TimedCache::new(MOST),
        }
    }

    /// The drop: fresh, or stale while the database does not answer.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the drop had to be read and could not be.
    pub async fn get(&self, id: &DropId) -> Result<Option<Known>, StoreError> {
        let now = self.runtime.now();
        if self.absent.fresh(id, now).is_some() {
            return Ok(None);
        }
        let Some(copy) = self.known(id, now) else {
            let drop = retry(&self.runtime, IN_REQUEST, || self.read(id)).await?;
            return Ok(self.note(id, drop, now));
        };
        let Some(turn) = self.turn(id, now) else {
            return Ok(Some(copy));
        };
        let read = within(&self.runtime, REFRESH_WAIT_MS, self.read(id)).await;
        std::mem::drop(turn);
        match read {
            Ok(drop) => Ok(self.note(id, drop, now)),
            Err(error) => self.known(id, self.runtime.now()).map(Some).ok_or(error),
        }
    }

    async fn read(&self, id: &DropId) -> Result<Option<Drop>, StoreError> {
        match self.drops.copy(id, self.copy).await? {
            None => self.drops.drop(id).await,
            found => Ok(found),
        }
    }

    /// The copy, unless it is too old, or newer than now because a clock jumped back.
    fn known(&self, id: &DropId, now: Timestamp) -> Option<Known> {
        let mut copies = self.lock();
        let copy = copies.get(id)?;
        let age_ms = now.millis_since(copy.read_at);
        (0..STALE_MS).contains(&age_ms).then(|| copy.known(now))
    }

    /// The right to read the drop again, if a read is due and no other request has the right.
    fn turn(&self, id: &DropId, now: Timestamp) -> Option<Turn<'_, D, R>> {
        let due_at = self.due_at(now);
        let mut copies = self.lock();
        let copy = copies.get_mut(id)?;
        if copy.reading || now < copy.due_at {
            return None;
        }
        // After success or failure, the next read is a second later, so that a table that refuses reads gets
        // no additional load.
        (copy.reading, copy.due_at) = (true, due_at);
        Some(Turn {
            of: self,
            id: id.clone(),
        })
    }

    fn due_at(&self, now: Timestamp) -> Timestamp {
        let early = self.runtime.random() % (REFRESH_JITTER_MS.unsigned_abs() + 1);
        now.plus_millis(CACHE_MS - i64::try_from(early).unwrap_or(0))
    }

    fn note(&self, id: &DropId, drop: Option<Drop>, read_at: Timestamp) -> Option<Known> {
        let Some(drop) = drop else {
            self.lock().remove(id);
            self.absent.note(id.clone(), (), read_at);
            return None;
        };
        let due_at = self.due_at(read_at);
        let mut copies = self.lock();
        // An eventually consistent read may return an older document than an earlier read.
        if let Some(newer) = copies.get(id).filter(|copy| copy.drop.version > drop.version) {
            return Some(newer.known(read_at));
        }
        let copy = Remembered {
            drop: Arc::new(drop),
            read_at,
            due_at,
            reading: false,
        };
        let known = copy.known(read_at);
        copies.insert(id.clone(), copy);
        Some(known)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<DropId, Remembered>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to read a drop again. It ends with the request, whether or not the read was answered.
struct Turn<'a, D: ReadDrop, R: Runtime> {
    of: &'a CachedDrops<D, R>,
    id: DropId,
}

impl<D: ReadDrop, R: Runtime> std::ops::Drop for Turn<'_, D, R> {
    fn drop(&mut self) {
        if let Some(copy) = self.of.lock().get_mut(&self.id) {
            copy.reading = false;
        }
    }
}
