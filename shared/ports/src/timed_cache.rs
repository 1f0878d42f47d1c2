//! Caches values that a process read recently.
//!
//! A value is *fresh* for [`CACHE_MS`] after its read, or for the time that the cache was made with. While the database does not answer, the value is the
//! *last good* value for [`STALE_MS`]. The caller supplies the time. A value whose read is in the future,
//! because the clock was set back, is neither fresh nor good.
//!
//! **A full cache** removes the least recently used value, so values in use stay. Keys that clients choose
//! freely must have a separate cache, so that they remove only each other.
//! [`CachedDrops`](crate::cached::CachedDrops) has such a cache for the ids of absent drops.

use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::limits::{CACHE_MS, REFRESH_WAIT_MS, STALE_MS};
use domain::time::Timestamp;
use hashlink::LruCache;

use crate::StoreError;
use crate::retry::{IN_REQUEST, retry};
use crate::runtime::Runtime;
use crate::time_limit::within;

/// A cache with a limited number of values, each with the time of its read.
#[derive(Debug)]
pub struct TimedCache<K, V> {
    entries: Mutex<LruCache<K, Entry<V>>>,
    /// How long a value is fresh, in milliseconds.
    fresh_ms: i64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    read_at: Timestamp,
    /// The time from which on the value may be read again.
    due_at: Timestamp,
}

/// The result of [`TimedCache::find`].
pub(crate) enum Found<V, T> {
    /// A cached value, and whether it is fresh.
    Kept(V, bool),
    /// The result of a new read.
    Read(T),
}

impl<K: Hash + Eq, V: Clone> TimedCache<K, V> {
    /// An empty cache for at most `most` values, each of which is fresh for [`CACHE_MS`].
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self::fresh_for(CACHE_MS, most)
    }

    /// An empty cache for at most `most` values, each of which is fresh for `fresh_ms` milliseconds, which are fewer
    /// than [`STALE_MS`].
    #[must_use]
    pub fn fresh_for(fresh_ms: i64, most: usize) -> Self {
        Self {
            entries: Mutex::new(LruCache::new(most)),
            fresh_ms,
        }
    }

    /// The cached value, if it is fresh at `now`.
    pub fn fresh(&self, key: &K, now: Timestamp) -> Option<V> {
        self.good(key, now)
            .and_then(|(value, is_fresh)| is_fresh.then_some(value))
    }

    /// The cached value, if it was read less than [`STALE_MS`] before `now`.
    pub fn last_good(&self, key: &K, now: Timestamp) -> Option<V> {
        self.good(key, now).map(|(value, _)| value)
    }

    /// Stores `value`, which was read at `now`.
    pub fn note(&self, key: K, value: V, now: Timestamp) {
        self.note_unless(key, value, now, now.plus_millis(self.fresh_ms), |_| false);
    }

    /// The fresh value, otherwise the result of `read`, or the last good value while the database does not
    /// answer. If there is a last good value, `read` is called at most once in the time for
    /// which a value is fresh, and may take [`REFRESH_WAIT_MS`]. If there is none, `read` is repeated within a request's budget.
    ///
    /// # Errors
    ///
    /// The last error of `read`, if there is no last good value.
    pub async fn read<R: Runtime, F>(
        &self,
        runtime: &R,
        key: &K,
        read: impl FnMut() -> F,
    ) -> Result<V, StoreError>
    where
        K: Clone,
        F: Future<Output = Result<V, StoreError>>,
    {
        let now = runtime.now();
        let next = || now.plus_millis(self.fresh_ms);
        match self.find(runtime, key, now, next, read).await? {
            Found::Kept(value, _) => Ok(value),
            Found::Read(value) => {
                self.note(key.clone(), value.clone(), now);
                Ok(value)
            }
        }
    }

    /// The last good value unless a read is due, otherwise the result of `read`, or the last good value while
    /// the database does not answer. If a cached value is read again, `next` gives the time from which on the
    /// value may be read once more.
    pub(crate) async fn find<R: Runtime, T, F>(
        &self,
        runtime: &R,
        key: &K,
        now: Timestamp,
        next: impl FnOnce() -> Timestamp,
        mut read: impl FnMut() -> F,
    ) -> Result<Found<V, T>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let Some((value, is_fresh)) = self.good(key, now) else {
            return retry(runtime, IN_REQUEST, read).await.map(Found::Read);
        };
        if !self.take_turn(key, now, next()) {
            return Ok(Found::Kept(value, is_fresh));
        }
        match within(runtime, REFRESH_WAIT_MS, read()).await {
            Ok(found) => Ok(Found::Read(found)),
            Err(error) => {
                let good = self.good(key, runtime.now());
                good.map(|(value, is_fresh)| Found::Kept(value, is_fresh))
                    .ok_or(error)
            }
        }
    }

    /// Stores `value`, which was read at `now` and may be read again from `due_at` on. If `keep` holds for
    /// the cached value, the cached value stays, and is returned with the time of its read.
    pub(crate) fn note_unless(
        &self,
        key: K,
        value: V,
        now: Timestamp,
        due_at: Timestamp,
        keep: impl FnOnce(&V) -> bool,
    ) -> Option<(V, Timestamp)> {
        let mut known = self.lock();
        if let Some(kept) = known.get(&key).filter(|entry| keep(&entry.value)) {
            return Some((kept.value.clone(), kept.read_at));
        }
        let entry = Entry {
            value,
            read_at: now,
            due_at,
        };
        known.insert(key, entry);
        None
    }

    pub(crate) fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    /// Returns whether a read of the value is due. If it is, the due time moves to `next` before the read, so that
    /// failed reads do not increase the load on the table.
    fn take_turn(&self, key: &K, now: Timestamp, next: Timestamp) -> bool {
        let mut known = self.lock();
        let Some(entry) = known.get_mut(key).filter(|entry| entry.due_at <= now) else {
            return false;
        };
        entry.due_at = next;
        true
    }

    /// The cached value, if it was read less than [`STALE_MS`] before `now`, and whether it is fresh.
    fn good(&self, key: &K, now: Timestamp) -> Option<(V, bool)> {
        let mut known = self.lock();
        let entry = known.get(key)?;
        let age_ms = now.millis_since(entry.read_at);
        let is_good = (0..STALE_MS).contains(&age_ms);
        is_good.then(|| (entry.value.clone(), age_ms < self.fresh_ms))
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<K, Entry<V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn a_value_is_fresh_then_good_then_forgotten() {
        let cache = TimedCache::new(2);
        cache.note("a", 1, at(0));
        assert_eq!(cache.fresh(&"a", at(CACHE_MS - 1)), Some(1));
        assert_eq!(cache.fresh(&"a", at(CACHE_MS)), None);
        assert_eq!(cache.last_good(&"a", at(STALE_MS - 1)), Some(1));
        assert_eq!(cache.last_good(&"a", at(STALE_MS)), None);
        assert_eq!(cache.fresh(&"a", at(-1)), None, "the clock jumped back");
        assert_eq!(cache.last_good(&"a", at(-1)), None);
        cache.note("a", 2, at(5));
        assert_eq!(cache.fresh(&"a", at(6)), Some(2));
    }

    #[test]
    fn a_full_cache_keeps_what_is_in_use() {
        let cache = TimedCache::new(2);
        cache.note("used", 0, at(0));
        for (n, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
            cache.note(key, n, at(1));
            assert_eq!(cache.fresh(&key, at(1)), Some(n), "the newest has room");
            assert_eq!(cache.fresh(&"used", at(1)), Some(0));
        }
        assert_eq!(cache.fresh(&"c", at(1)), None);
        cache.note("d", 7, at(2));
        assert_eq!(
            cache.fresh(&"used", at(2)),
            Some(0),
            "renewing a value needs no room"
        );
        assert_eq!(cache.fresh(&"d", at(2)), Some(7));
    }

    proptest! {
        /// The model is a list of the last uses of distinct keys, with at most `most` entries, that is
        /// searched from its end.
        #[test]
        fn it_holds_the_most_recently_used_values(most in 1usize..6, uses in proptest::collection::vec((0u8..9, any::<bool>(), 0i64..400), 0..60)) {
            let cache = TimedCache::new(most);
            let mut model: Vec<(u8, i64)> = Vec::new();
            let mut now = 0;
            for (key, noted, wait) in uses {
                now += wait;
                let found = model.iter().position(|(k, _)| *k == key).map(|n| model.remove(n));
                if noted {
                    cache.note(key, now, at(now));
                    model.push((key, now));
                } else {
                    let fresh = found.filter(|(_, read_at)| now - read_at < CACHE_MS).map(|(_, read_at)| read_at);
                    prop_assert_eq!(cache.fresh(&key, at(now)), fresh);
                    model.extend(found);
                }
                model.drain(..model.len().saturating_sub(most));
                prop_assert!(cache.lock().len() <= most);
            }
            for (key, read_at) in model {
                prop_assert_eq!(cache.last_good(&key, at(read_at)), Some(read_at));
            }
        }
    }
}
