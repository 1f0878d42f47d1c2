//! Caches stock data from the last second, so that most requests need no read.
//!
//! Negative entries ("no unit of this SKU is free") refuse most requests of a sold-out drop without a database call.
//! They live no longer than `domain::limits::CACHE_MS`, so no shopper is refused for longer than that after units
//! return.

use std::sync::Arc;

use domain::ids::{DropId, ShardKey, SkuId};
use domain::search::Scarcity;
use ports::drops::FreeCounts;
use ports::timed_cache::TimedCache;

/// The number of cached entries of each kind. Only SKUs and shards of existing drops are cached.
const MOST: usize = 4096;

/// The cache, shared by the requests of a process.
pub struct ShardCache {
    /// SKUs for which a search found too few units.
    pub scarce: TimedCache<(DropId, SkuId), Scarcity>,
    /// The free units of a shard, less the units that this process took since.
    pub free: TimedCache<ShardKey, u32>,
    pub counts: TimedCache<(DropId, SkuId), Arc<FreeCounts>>,
}

impl Default for ShardCache {
    fn default() -> Self {
        Self {
            scarce: TimedCache::new(MOST),
            free: TimedCache::new(MOST),
            counts: TimedCache::new(MOST),
        }
    }
}
