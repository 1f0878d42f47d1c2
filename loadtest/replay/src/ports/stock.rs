//! Implements the ports of stock, over the store in memory.

use std::sync::Arc;

use domain::claim::Claim;
use domain::ids::{DropId, ShardKey, ShopperId};
use domain::shard::Shard;
use domain::survey::SeenClaim;
use memory::MemoryStore;
use ports::stock::{
    AllocateStock, ClaimStock, Consistency, CountLapse, GiveBackStock, Peek, PeekStock, ReadClaim,
    SurveyStock,
};
use ports::{Conditional, StoreError};

use crate::function::Function;
use crate::ports::tell::Tell as _;
use crate::ports::{Ports, Services};
use crate::sabotage::{self, Sabotage};

impl PeekStock for Ports {
    async fn peek(&self, drop: &DropId, shopper: &ShopperId, keys: &[ShardKey]) -> Result<Peek, StoreError> {
        let of = || format!("{} shards for {shopper}", keys.len());
        let act = |memory: MemoryStore| async move { memory.peek(drop, shopper, keys).await };
        self.read("peek", true, of, act).await
    }
}

impl ClaimStock for Ports {
    async fn claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        let mut claim = claim.clone();
        if self.world().is_sabotaged(Sabotage::NewNonceOnRetry)
            && self.services.watch.is_repeat(key, shopper, &claim)
        {
            claim = sabotage::with_new_nonce(&claim, key, shopper);
        }
        let of = format!("{} for {shopper}, {}", place(key), claim.tell());
        let (key, shopper) = (key.clone(), shopper.clone());
        let act = move |on: Arc<Services>| async move {
            let outcome = if on.world.is_sabotaged(Sabotage::SkipCondition) {
                sabotage::claim_without_condition(&on.memory, &key, &shopper, &claim)
            } else {
                on.memory.claim(&key, &shopper, &claim).await
            };
            if matches!(outcome, Ok(Conditional::Done)) {
                on.world.note("claimed");
                on.watch.claimed(&key, &shopper, &claim);
            }
            outcome
        };
        self.write("claim", false, of, act).await
    }

    async fn take_over(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
        victim: &ShopperId,
        seen: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        let of = format!("{} for {shopper} from {victim}, {}", place(key), claim.tell());
        let (key, shopper, claim) = (key.clone(), shopper.clone(), claim.clone());
        let (victim, seen) = (victim.clone(), seen.clone());
        let act = move |on: Arc<Services>| async move {
            let outcome = on.memory.take_over(&key, &shopper, &claim, &victim, &seen).await;
            match &outcome {
                Ok(Conditional::Done) => {
                    on.world.note("taken over");
                    on.watch.returned(&key, &victim, &seen, false);
                    on.watch.claimed(&key, &shopper, &claim);
                }
                Ok(Conditional::Refused(_)) => on.world.note("not taken over: others were faster"),
                Err(_) => {}
            }
            outcome
        };
        self.write("take over", false, of, act).await
    }

    async fn remember(&self, key: &ShardKey, shopper: &ShopperId) -> Result<(), StoreError> {
        let of = format!("{} for {shopper}", place(key));
        let (key, shopper) = (key.clone(), shopper.clone());
        let act = move |on: Arc<Services>| async move {
            on.world.note("a further shard is remembered");
            on.memory.remember(&key, &shopper).await
        };
        self.write("remember", false, of, act).await
    }
}

impl GiveBackStock for Ports {
    async fn give_back(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        let by_shopper = self.process.function == Function::Reserve;
        let (of, seen) = (told(seen), seen.clone());
        let act = move |on: Arc<Services>| async move {
            let outcome = on.memory.give_back(&seen).await;
            if outcome == Ok(Conditional::Refused(())) && on.world.is_sabotaged(Sabotage::ReleaseTwice) {
                sabotage::give_back_again(&on.memory, &seen);
                on.watch.adds_up(&seen.shard);
                return Ok(Conditional::Done);
            }
            if outcome == Ok(Conditional::Done) {
                on.world.note(match by_shopper {
                    true => "released",
                    false => "given back by the conductor",
                });
                on.watch
                    .returned(&seen.shard, &seen.shopper, &seen.claim, by_shopper);
                on.watch.adds_up(&seen.shard);
            }
            outcome
        };
        self.write("give back", false, of, act).await
    }
}

impl CountLapse for Ports {
    async fn count_lapse(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        let (of, seen) = (told(seen), seen.clone());
        let act = move |on: Arc<Services>| async move { on.memory.count_lapse(&seen).await };
        self.write("count lapse", false, of, act).await
    }
}

impl ReadClaim for Ports {
    async fn read_claim(&self, key: &ShardKey, shopper: &ShopperId) -> Result<Option<Claim>, StoreError> {
        let of = || format!("{} of {shopper}", place(key));
        let act = |memory: MemoryStore| async move { memory.read_claim(key, shopper).await };
        self.read("read claim", false, of, act).await
    }
}

impl SurveyStock for Ports {
    async fn survey(
        &self,
        keys: &[ShardKey],
        consistency: Consistency,
    ) -> Result<Vec<(ShardKey, Shard)>, StoreError> {
        let may_lag = consistency == Consistency::Eventual;
        let of = || format!("{} shards", keys.len());
        let act = |memory: MemoryStore| async move { memory.survey(keys, consistency).await };
        self.read("survey", may_lag, of, act).await
    }
}

impl AllocateStock for Ports {
    async fn allocate(&self, key: &ShardKey, units: u32) -> Result<Conditional<()>, StoreError> {
        let of = format!("{units} units to {}", place(key));
        let key = key.clone();
        let act = move |on: Arc<Services>| async move {
            let outcome = on.memory.allocate(&key, units).await;
            on.watch.adds_up(&key);
            outcome
        };
        self.write("allocate", false, of, act).await
    }
}

/// Describes a claim that was seen in a shard.
fn told(seen: &SeenClaim) -> String {
    let (shopper, claim) = (&seen.shopper, seen.claim.tell());
    format!("{} of {shopper}, {claim}", place(&seen.shard))
}

/// Names a shard in the history.
fn place(key: &ShardKey) -> String {
    format!("{}#{}", key.sku, key.index)
}
