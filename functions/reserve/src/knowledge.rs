//! What this process learnt about stock in the last second, so that it need not ask again.
//!
//! Negative knowledge ("nothing of this SKU is free") turns most of a crowd away without a database call. It lives no
//! longer than `domain::limits::CACHE_MS`, so nobody is turned away for longer than that after units return.

use std::sync::Arc;

use domain::ids::{DropId, ShardKey, SkuId};
use domain::search::Scarcity;
use ports::drops::FreeCounts;
use ports::recent::Recent;

/// How many entries of each kind a process keeps. Only SKUs and shards of drops that exist get here.
const MOST: usize = 4096;

/// Short-lived knowledge, shared by the requests of a process.
pub struct Knowledge {
    /// SKUs of which units were searched for in vain.
    pub scarce: Recent<(DropId, SkuId), Scarcity>,
    /// How many units were free in a shard, less what this process took since.
    pub free: Recent<ShardKey, u32>,
    /// The conductor's free counts.
    pub counts: Recent<(DropId, SkuId), Arc<FreeCounts>>,
}

impl Default for Knowledge {
    fn default() -> Self {
        Self {
            scarce: Recent::new(MOST),
            free: Recent::new(MOST),
            counts: Recent::new(MOST),
        }
    }
}
