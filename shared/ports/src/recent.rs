//! Values that a process read recently.
//!
//! A value is *fresh* for [`CACHE_MS`] after it was read. While the database does not answer, it is the *last
//! good* value for [`STALE_MS`]. The caller supplies the time. A value from the future, after a clock jumped
//! back, is neither.
//!
//! **A full cache** removes the least recently used value, so values in use stay. Keys that clients choose
//! freely must have a separate cache, as the absence of a drop has in
//! [`CachedDrops`](crate::cached::CachedDrops), so that they only remove each other.

use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::limits::{CACHE_MS, REFRESH_WAIT_MS, STALE_MS};
use domain::time::Timestamp;
use hashlink::LruCache;

use crate::StoreError;
use crate::cached::within;
use crate::edge::Edge;
use crate::retry::{IN_REQUEST, retry};

/// A bounded cache of values and the time of their reading.
#[derive(Debug)]
pub struct Recent<K, V>(Mutex<LruCache<K, Entry<V>>>);

#[derive(Debug)]
struct Entry<V> {
    value: V,
    read_at: Timestamp,
    /// The time from which a value that is no longer fresh may be read again.
    due_at: Timestamp,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    /// A cache of at most `most` values.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Mutex::new(LruCache::new(most)))
    }

    /// The value if it was read less than [`CACHE_MS`] ago.
    pub fn fresh(&self, key: &K, now: Timestamp) -> Option<V> {
        self.younger_than(CACHE_MS, key, now)
    }

    /// The value if it was read less than [`STALE_MS`] ago.
    pub fn last_good(&self, key: &K, now: Timestamp) -> Option<V> {
        self.younger_than(STALE_MS, key, now)
    }

    /// Stores that `value` was read at `now`.
    pub fn note(&self, key: K, value: V, now: Timestamp) {
        let entry = Entry {
            value,
            read_at: now,
            due_at: now.plus_millis(CACHE_MS),
        };
        self.lock().insert(key, entry);
    }

    /// The fresh value, otherwise the result of `read`, or the last good value while the database does not
    /// answer. With a last good value, `read` is called at most once a second and may take
    /// [`REFRESH_WAIT_MS`]. Without one, `read` is retried within a request's budget.
    ///
    /// # Errors
    ///
    /// The last error of `read`, if there is no good value.
    pub async fn read<E: Edge, F>(
        &self,
        edge: &E,
        key: &K,
        mut read: impl FnMut() -> F,
    ) -> Result<V, StoreError>
    where
        K: Clone,
        F: Future<Output = Result<V, StoreError>>,
    {
        let now = edge.now();
        if let Some(value) = self.fresh(key, now) {
            return Ok(value);
        }
        let found = match self.last_good(key, now) {
            None => retry(edge, IN_REQUEST, read).await?,
            Some(good) if !self.is_due(key, now) => return Ok(good),
            Some(_) => match within(edge, REFRESH_WAIT_MS, read()).await {
                Ok(found) => found,
                Err(error) => return self.last_good(key, edge.now()).ok_or(error),
            },
        };
        self.note(key.clone(), found.clone(), now);
        Ok(found)
    }

    /// Whether the value may be read again; the next read is then due a second later, whether this one succeeds or not.
    fn is_due(&self, key: &K, now: Timestamp) -> bool {
        let mut known = self.lock();
        let Some(entry) = known.get_mut(key).filter(|entry| entry.due_at <= now) else {
            return false;
        };
        entry.due_at = now.plus_millis(CACHE_MS);
        true
    }

    fn younger_than(&self, ms: i64, key: &K, now: Timestamp) -> Option<V> {
        let mut known = self.lock();
        let entry = known.get(key)?;
        let age_ms = now.millis_since(entry.read_at);
        (0..ms).contains(&age_ms).then(|| entry.value.clone())
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<K, Entry<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let recent = Recent::new(2);
        recent.note("a", 1, at(0));
        assert_eq!(recent.fresh(&"a", at(CACHE_MS - 1)), Some(1));
        assert_eq!(recent.fresh(&"a", at(CACHE_MS)), None);
        assert_eq!(recent.last_good(&"a", at(STALE_MS - 1)), Some(1));
        assert_eq!(recent.last_good(&"a", at(STALE_MS)), None);
        assert_eq!(recent.fresh(&"a", at(-1)), None, "the clock jumped back");
        assert_eq!(recent.last_good(&"a", at(-1)), None);
        recent.note("a", 2, at(5));
        assert_eq!(recent.fresh(&"a", at(6)), Some(2));
    }

    #[test]
    fn a_full_cache_keeps_what_is_in_use() {
        let recent = Recent::new(2);
        recent.note("used", 0, at(0));
        for (n, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
            recent.note(key, n, at(1));
            assert_eq!(recent.fresh(&key, at(1)), Some(n), "the newest has room");
            assert_eq!(recent.fresh(&"used", at(1)), Some(0));
        }
        assert_eq!(recent.fresh(&"c", at(1)), None);
        recent.note("d", 7, at(2));
        assert_eq!(
            recent.fresh(&"used", at(2)),
            Some(0),
            "renewing a value needs no room"
        );
        assert_eq!(recent.fresh(&"d", at(2)), Some(7));
    }

    proptest! {
        /// Compares the cache with a list that is searched from its end: the last uses of distinct keys, at most
        /// `most` of them.
        #[test]
        fn it_holds_the_most_recently_used_values(most in 1usize..6, uses in proptest::collection::vec((0u8..9, any::<bool>(), 0i64..400), 0..60)) {
            let recent = Recent::new(most);
            let mut model: Vec<(u8, i64)> = Vec::new();
            let mut now = 0;
            for (key, noted, wait) in uses {
                now += wait;
                let found = model.iter().position(|(k, _)| *k == key).map(|n| model.remove(n));
                if noted {
                    recent.note(key, now, at(now));
                    model.push((key, now));
                } else {
                    let fresh = found.filter(|(_, read_at)| now - read_at < CACHE_MS).map(|(_, read_at)| read_at);
                    prop_assert_eq!(recent.fresh(&key, at(now)), fresh);
                    model.extend(found);
                }
                model.drain(..model.len().saturating_sub(most));
                prop_assert!(recent.lock().len() <= most);
            }
            for (key, read_at) in model {
                prop_assert_eq!(recent.last_good(&key, at(read_at)), Some(read_at));
            }
        }
    }
}
