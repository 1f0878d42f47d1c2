//! Reads all shards of a drop in one pass, and answers questions about their content.

use std::collections::BTreeMap;

use domain::claim::ClaimState;
use domain::drops::{Drop, Sku};
use domain::ids::{ShardKey, SkuId};
use domain::limits::MAX_SHARD_UNITS;
use domain::shard::Shard;
use domain::status::{Availability, SkuCounts};
use domain::survey::{SeenClaim, Tally};
use domain::time::Timestamp;
use futures_util::{StreamExt as _, stream};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use ports::stock::{AllocateStock, Consistency, SurveyStock};
use ports::{Conditional, StoreError};

use crate::bounds::{MOST_WRITES, SHARDS_AT_ONCE, WRITES_AT_ONCE};

#[derive(Debug, Clone)]
pub struct Survey {
    /// When the pass began. The content is not older, except with an eventually consistent read.
    pub as_of: Timestamp,
    /// The consistency of the read.
    pub consistency: Consistency,
    shards: BTreeMap<ShardKey, Shard>,
    missing: Vec<(ShardKey, u32)>,
}

impl Survey {
    /// Reads every shard of `drop`'s plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take<S: SurveyStock, R: Runtime>(
        stock: &S,
        runtime: &R,
        drop: &Drop,
        consistency: Consistency,
    ) -> Result<Self, StoreError> {
        let mut survey = Self {
            as_of: runtime.now(),
            consistency,
            shards: BTreeMap::new(),
            // Until the shards have been read, all shards of the plan count as missing.
            missing: drop.allocations().collect(),
        };
        let keys: Vec<ShardKey> = survey.missing.iter().map(|(key, _)| key.clone()).collect();
        survey.read(stock, runtime, &keys, consistency).await?;
        let shards = &survey.shards;
        survey.missing.retain(|(key, _)| !shards.contains_key(key));
        Ok(survey)
    }

    /// Reads these shards, for the first time or again.
    ///
    /// # Errors
    /// [`StoreError`], after which only some of the shards may have been read.
    pub async fn read<S: SurveyStock, R: Runtime>(
        &mut self,
        stock: &S,
        runtime: &R,
        keys: &[ShardKey],
        consistency: Consistency,
    ) -> Result<(), StoreError> {
        for keys in keys.chunks(SHARDS_AT_ONCE) {
            let found = retry(runtime, IN_REQUEST, || stock.survey(keys, consistency)).await?;
            self.shards.extend(found);
        }
        Ok(())
    }

    /// Creates the shards that a restock planned and did not create. The next survey counts them. Returns their number.
    ///
    /// # Errors
    /// The first [`StoreError`], after all were tried.
    pub async fn repair<S: AllocateStock, R: Runtime>(
        &self,
        stock: &S,
        runtime: &R,
    ) -> Result<usize, StoreError> {
        let missing = self.missing.iter().take(MOST_WRITES).cloned();
        let made: Vec<Result<_, StoreError>> =
            stream::iter(missing)
                .map(|(key, units)| async move {
                    retry(runtime, IN_REQUEST, || stock.allocate(&key, units)).await
                })
                .buffer_unordered(WRITES_AT_ONCE)
                .collect()
                .await;
        let number = |made: Conditional<()>| usize::from(made.is_done());
        made.into_iter().map(|made| made.map(number)).sum()
    }

    /// Whether every shard of the plan was found.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// The number of found shards.
    #[must_use]
    pub fn found(&self) -> usize {
        self.shards.len()
    }

    #[must_use]
    pub fn claims(&self) -> Vec<SeenClaim> {
        let mut seen = Vec::new();
        for (shard, content) in &self.shards {
            seen.extend(content.claims.iter().map(|(shopper, claim)| SeenClaim {
                shard: shard.clone(),
                shopper: shopper.clone(),
                claim: claim.clone(),
            }));
        }
        seen
    }

    #[must_use]
    pub fn ordered(&self) -> Vec<SeenClaim> {
        let mut claims = self.claims();
        claims.retain(|seen| seen.claim.state == ClaimState::Ordered);
        claims
    }

    /// Whether no unit is held or in an open order.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.shards.values().all(|shard| shard.claims.is_empty())
    }

    /// Whether no claim will remain once every hold that may be returned at `now` is returned.
    #[must_use]
    pub fn drains(&self, cancelled: bool, now: Timestamp) -> bool {
        self.shards
            .values()
            .flat_map(|shard| shard.claims.values())
            .all(|claim| claim.state == ClaimState::Held && (cancelled || claim.is_returnable(now)))
    }

    /// Records that a claim was returned.
    pub fn note_returned(&mut self, seen: &SeenClaim) {
        if let Some(shard) = self.shards.get_mut(&seen.shard) {
            // A shard that was read again in the meantime may already show the return. Then nothing changes.
            shard.give_back(&seen.shopper, &seen.claim).ok();
        }
    }

    /// The units of each SKU by state (free, held, ordered, sold), in the drop's order of SKUs.
    #[must_use]
    pub fn counts(&self, drop: &Drop) -> Vec<SkuCounts> {
        let mut tallies: BTreeMap<&SkuId, Tally> = BTreeMap::new();
        for (key, shard) in &self.shards {
            tallies.entry(&key.sku).or_default().add(shard);
        }
        let counts = |sku: &Sku| {
            let tally = tallies.get(&sku.sku).copied().unwrap_or_default();
            SkuCounts {
                sku: sku.sku.clone(),
                allocated: tally.allocated,
                free: tally.free,
                held: tally.held,
                ordered: tally.ordered,
                sold: tally.sold,
            }
        };
        drop.skus.iter().map(counts).collect()
    }

    /// The free units of each shard of a SKU, by index; 0 for a missing shard.
    #[must_use]
    pub fn free(&self, drop: &Drop, sku: &Sku) -> Vec<u8> {
        let free = |index| {
            let key = ShardKey::of(&drop.id, &sku.sku, index);
            let free = self.shards.get(&key).map_or(0, |shard| shard.free);
            u8::try_from(free.min(MAX_SHARD_UNITS)).unwrap_or(0)
        };
        (0..sku.plan.shards()).map(free).collect()
    }
}

/// Whether every planned unit of a SKU is paid for, according to its counts.
#[must_use]
pub fn is_gone(counts: &SkuCounts, sku: &Sku) -> bool {
    counts.allocated == sku.plan.units() && Availability::of(&counts.tally()) == Availability::Gone
}
