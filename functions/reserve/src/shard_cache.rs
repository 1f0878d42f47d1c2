//! A cache of stock data from the last second, which avoids repeated reads.
//!
//! Negative entries ("no unit of this SKU is free") refuse most requests of a sold-out drop without a database call.
//! They live no longer than `domain::limits::CACHE_MS`, so no shopper is refused for longer than that after units
//! return.

use std::sync::Arc;

use domain::ids::{DropId, ShardKey, SkuId};
use domain::search::Scarcity;
use ports::drops::FreeCounts;
use ports::recent::Recent;

/// The number of cached entries of each kind. Only SKUs and shards of existing drops are cached.
const MOST: usize = 4096;

/// The cache, shared by the requests of a process.
pub struct ShardCache {
    /// SKUs for which a search found too few units.
    pub scarce: Recent<(DropId, SkuId), Scarcity>,
    /// The free units of a shard, less the units that this process took since.
    pub free: Recent<ShardKey, u32>,
    pub counts: Recent<(DropId, SkuId), Arc<FreeCounts>>,
}

impl Default for ShardCache {
    fn default() -> Self {
        Self {
            scarce: Recent::new(MOST),
            free: Recent::new(MOST),
            counts: Recent::new(MOST),
        }
    }
}
