//! What this process learnt about stock in the last second, so that it need not ask again.
//!
//! Negative knowledge ("nothing of this SKU is free") turns most of a crowd away without a database call. It lives no
//! longer than `domain::limits::CACHE_MS`, so nobody is turned away for longer than that after units return.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::ids::{DropId, ShardKey, SkuId};
use domain::limits::CACHE_MS;
use domain::status::Availability;
use domain::time::Timestamp;
use ports::drops::FreeCounts;

/// How many entries of each kind a process keeps.
const MOST: usize = 4096;

/// That fewer than `units` were to be had of a SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scarcity {
    /// How many were asked for in vain.
    pub units: u32,
    /// How many one shard could have given.
    pub available: u32,
    /// What to tell.
    pub availability: Availability,
}

/// What was learnt about some things, and when.
type Recent<K, V> = Mutex<HashMap<K, (Timestamp, V)>>;

/// Short-lived knowledge, shared by the requests of a process.
#[derive(Default)]
pub struct Knowledge {
    scarce: Recent<(DropId, SkuId), Scarcity>,
    filled: Recent<ShardKey, u32>,
    counts: Recent<(DropId, SkuId), Arc<FreeCounts>>,
}

fn recent<K: std::hash::Hash + Eq, V: Clone>(map: &Recent<K, V>, key: &K, now: Timestamp) -> Option<V> {
    let map = map.lock().unwrap_or_else(PoisonError::into_inner);
    let (at, value) = map.get(key)?;
    (0..CACHE_MS)
        .contains(&now.millis_since(*at))
        .then(|| value.clone())
}

fn note<K: std::hash::Hash + Eq, V>(map: &Recent<K, V>, key: K, now: Timestamp, value: V) {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= MOST {
        map.retain(|_, (at, _)| (0..CACHE_MS).contains(&now.millis_since(*at)));
    }
    if map.len() < MOST {
        map.insert(key, (now, value));
    }
}

impl Knowledge {
    /// Whether `units` of the SKU were searched for in vain a moment ago.
    pub fn scarcity(&self, drop: &DropId, sku: &SkuId, units: u32, now: Timestamp) -> Option<Scarcity> {
        recent(&self.scarce, &(drop.clone(), sku.clone()), now).filter(|scarcity| scarcity.units <= units)
    }

    /// Notes that a search was in vain.
    pub fn note_scarcity(&self, drop: &DropId, sku: &SkuId, scarcity: Scarcity, now: Timestamp) {
        note(&self.scarce, (drop.clone(), sku.clone()), now, scarcity);
    }

    /// How many units were free in a shard a moment ago, less what this process took since.
    pub fn free_in(&self, shard: &ShardKey, now: Timestamp) -> Option<u32> {
        recent(&self.filled, shard, now)
    }

    /// Notes how many units are free in a shard.
    pub fn note_free(&self, shard: &ShardKey, free: u32, now: Timestamp) {
        note(&self.filled, shard.clone(), now, free);
    }

    /// The conductor's counts, if read a moment ago.
    pub fn counts(&self, drop: &DropId, sku: &SkuId, now: Timestamp) -> Option<Arc<FreeCounts>> {
        recent(&self.counts, &(drop.clone(), sku.clone()), now)
    }

    /// Keeps the conductor's counts for a moment.
    pub fn note_counts(&self, drop: &DropId, sku: &SkuId, counts: Arc<FreeCounts>, now: Timestamp) {
        note(&self.counts, (drop.clone(), sku.clone()), now, counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scarcity_speaks_for_as_many_or_more_and_for_a_second() {
        let knowledge = Knowledge::default();
        let (drop, sku, now) = (
            "d".parse().unwrap(),
            "A".parse().unwrap(),
            Timestamp::from_millis(1_000_000),
        );
        let scarcity = Scarcity {
            units: 2,
            available: 1,
            availability: Availability::Available,
        };
        knowledge.note_scarcity(&drop, &sku, scarcity, now);
        assert_eq!(knowledge.scarcity(&drop, &sku, 2, now), Some(scarcity));
        assert_eq!(
            knowledge.scarcity(&drop, &sku, 1, now),
            None,
            "one unit may still be there"
        );
        assert_eq!(
            knowledge.scarcity(&drop, &sku, 2, now.plus_millis(CACHE_MS)),
            None
        );
        assert_eq!(
            knowledge.scarcity(&drop, &sku, 2, now.plus_millis(-1)),
            None,
            "a clock that jumped back"
        );
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let knowledge = Knowledge::default();
        let now = Timestamp::from_millis(1_000_000);
        for n in 0..2 * MOST {
            let key = ShardKey {
                drop: format!("d{n}").parse().unwrap(),
                sku: "A".parse().unwrap(),
                index: 0,
            };
            knowledge.note_free(&key, 1, now);
        }
        assert_eq!(knowledge.filled.lock().unwrap().len(), MOST);
    }
}
