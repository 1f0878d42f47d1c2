//! What all the shards of a drop hold, as one walk over them found it.

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
use ports::StoreError;
use ports::edge::Edge;
use ports::retry::{IN_REQUEST, retry};
use ports::stock::{AllocateStock, Consistency, SurveyStock};

use crate::bounds::{MOST_WRITES, SHARDS_AT_ONCE, WRITES_AT_ONCE};

/// The shards of one drop.
#[derive(Debug, Clone)]
pub struct Survey {
    /// When the walk began; nothing in it is older, unless by an eventually consistent read.
    pub as_of: Timestamp,
    /// How it was read.
    pub consistency: Consistency,
    shards: BTreeMap<ShardKey, Shard>,
    missing: Vec<(ShardKey, u32)>,
}

impl Survey {
    /// Reads every shard of `drop`'s plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take<S: SurveyStock, E: Edge>(
        stock: &S,
        edge: &E,
        drop: &Drop,
        consistency: Consistency,
    ) -> Result<Self, StoreError> {
        let as_of = edge.now();
        let plan: Vec<(ShardKey, u32)> = drop.allocations().collect();
        let keys: Vec<ShardKey> = plan.iter().map(|(key, _)| key.clone()).collect();
        let mut shards = BTreeMap::new();
        for keys in keys.chunks(SHARDS_AT_ONCE) {
            shards.extend(retry(edge, IN_REQUEST, || stock.survey(keys, consistency)).await?);
        }
        let missing = plan
            .into_iter()
            .filter(|(key, _)| !shards.contains_key(key))
            .collect();
        Ok(Self {
            as_of,
            consistency,
            shards,
            missing,
        })
    }

    /// Reads some of its shards again, as they certainly are.
    ///
    /// # Errors
    /// [`StoreError`]; the survey stays as it was.
    pub async fn refresh<S: SurveyStock, E: Edge>(
        &mut self,
        stock: &S,
        edge: &E,
        keys: &[ShardKey],
    ) -> Result<(), StoreError> {
        for keys in keys.chunks(SHARDS_AT_ONCE) {
            let found = retry(edge, IN_REQUEST, || stock.survey(keys, Consistency::Strong)).await?;
            self.shards.extend(found);
        }
        Ok(())
    }

    /// Makes the shards that a restock planned and did not make; the next survey counts them. Answers how many.
    ///
    /// # Errors
    /// The first [`StoreError`], after all were tried.
    pub async fn heal<S: AllocateStock, E: Edge>(&self, stock: &S, edge: &E) -> Result<usize, StoreError> {
        let missing = self.missing.iter().take(MOST_WRITES).cloned();
        let made: Vec<Result<bool, StoreError>> = stream::iter(missing)
            .map(|(key, units)| async move {
                let made = retry(edge, IN_REQUEST, || stock.allocate(&key, units)).await?;
                Ok(made.is_done())
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .collect()
            .await;
        let made: Vec<bool> = made.into_iter().collect::<Result<_, _>>()?;
        Ok(made.into_iter().filter(|made| *made).count())
    }

    /// Whether every shard of the plan was found.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// How many shards were found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// Every claim.
    #[must_use]
    pub fn claims(&self) -> Vec<SeenClaim> {
        let of_shard = |(shard, content): (&ShardKey, &Shard)| {
            let seen: Vec<SeenClaim> = content
                .claims
                .iter()
                .map(|(shopper, claim)| SeenClaim {
                    shard: shard.clone(),
                    shopper: shopper.clone(),
                    claim: claim.clone(),
                })
                .collect();
            seen
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    /// Every ordered claim.
    #[must_use]
    pub fn ordered(&self) -> Vec<SeenClaim> {
        let mut claims = self.claims();
        claims.retain(|seen| seen.claim.state == ClaimState::Ordered);
        claims
    }

    /// Whether nothing is held and nothing is in an open order.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.shards.values().all(|shard| shard.claims.is_empty())
    }

    /// Whether nothing will be left once every hold that may go back at `now` has gone.
    #[must_use]
    pub fn drains(&self, cancelled: bool, now: Timestamp) -> bool {
        self.shards
            .values()
            .flat_map(|shard| shard.claims.values())
            .all(|claim| claim.state == ClaimState::Held && (cancelled || claim.is_returnable(now)))
    }

    /// Notes that a claim was given back.
    pub fn note_returned(&mut self, seen: &SeenClaim) {
        if let Some(shard) = self.shards.get_mut(&seen.shard) {
            // A shard that was read again since may show it already.
            shard.give_back(&seen.shopper, &seen.claim).ok();
        }
    }

    /// The counts of each SKU, in the drop's order.
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

    /// The free units of each shard of a SKU, by index; none where a shard is missing.
    #[must_use]
    pub fn free(&self, drop: &Drop, sku: &Sku) -> Vec<u8> {
        let free = |index| {
            let key = ShardKey {
                drop: drop.id.clone(),
                sku: sku.sku.clone(),
                index,
            };
            let free = self.shards.get(&key).map_or(0, |shard| shard.free);
            u8::try_from(free.min(MAX_SHARD_UNITS)).unwrap_or(0)
        };
        (0..sku.plan.shards()).map(free).collect()
    }
}

/// Whether the counts of a SKU say that every planned unit is paid for.
#[must_use]
pub fn is_gone(counts: &SkuCounts, sku: &Sku) -> bool {
    counts.allocated == sku.plan.units() && Availability::of(&counts.tally()) == Availability::Gone
}
