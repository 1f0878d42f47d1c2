//! What this process read a moment ago: fresh for a second, and a stand-in for some more when the database is silent.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use domain::limits::{CACHE_MS, STALE_STATUS_MS};
use domain::time::Timestamp;

/// A bounded memory of what was read when.
#[derive(Debug)]
pub struct Recent<K, V> {
    most: usize,
    known: Mutex<HashMap<K, (Timestamp, V)>>,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    /// Remembers at most `most` values; what does not fit is simply read again.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            known: Mutex::new(HashMap::new()),
        }
    }

    /// The value if it was read less than [`CACHE_MS`] ago.
    pub fn fresh(&self, key: &K, now: Timestamp) -> Option<V> {
        self.younger_than(key, CACHE_MS, now)
    }

    /// The value if it was read less than [`STALE_STATUS_MS`] ago.
    pub fn last_good(&self, key: &K, now: Timestamp) -> Option<V> {
        self.younger_than(key, STALE_STATUS_MS, now)
    }

    /// Remembers that `value` was read at `now`.
    pub fn note(&self, key: K, value: V, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.most && !known.contains_key(&key) {
            known.retain(|_, (read_at, _)| (0..STALE_STATUS_MS).contains(&now.millis_since(*read_at)));
        }
        if known.len() < self.most || known.contains_key(&key) {
            known.insert(key, (now, value));
        }
    }

    /// A clock that jumped back makes nothing young.
    fn younger_than(&self, key: &K, ms: i64, now: Timestamp) -> Option<V> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = known.get(key)?;
        (0..ms)
            .contains(&now.millis_since(*read_at))
            .then(|| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn a_value_is_fresh_then_good_then_forgotten() {
        let recent = Recent::new(2);
        recent.note("a", 1, at(0));
        assert_eq!(recent.fresh(&"a", at(CACHE_MS - 1)), Some(1));
        assert_eq!(recent.fresh(&"a", at(CACHE_MS)), None);
        assert_eq!(recent.last_good(&"a", at(STALE_STATUS_MS - 1)), Some(1));
        assert_eq!(recent.last_good(&"a", at(STALE_STATUS_MS)), None);
        assert_eq!(recent.last_good(&"a", at(-1)), None);
        recent.note("a", 2, at(5));
        assert_eq!(recent.fresh(&"a", at(6)), Some(2));
    }

    #[test]
    fn it_never_grows_beyond_its_bound() {
        let recent = Recent::new(2);
        for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
            recent.note(key, n, at(0));
        }
        assert_eq!(
            (recent.fresh(&"b", at(0)), recent.fresh(&"c", at(0))),
            (Some(1), None)
        );
        recent.note("b", 7, at(1));
        assert_eq!(recent.fresh(&"b", at(1)), Some(7), "what is known is renewed");
        recent.note("c", 2, at(STALE_STATUS_MS + 1));
        assert_eq!(
            recent.fresh(&"c", at(STALE_STATUS_MS + 1)),
            Some(2),
            "old values make place"
        );
        assert_eq!(recent.known.lock().unwrap().len(), 1);
    }
}
