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

use crate::ports::store::Store;
use crate::ports::tell::Tell as _;
use crate::sabotage::{self, Sabotage};

impl PeekStock for Store {
    async fn peek(&self, drop: &DropId, shopper: &ShopperId, keys: &[ShardKey]) -> Result<Peek, StoreError> {
        self.read(
            "peek",
            true,
            || format!("{} shards for {shopper}", keys.len()),
            |memory| async move { memory.peek(drop, shopper, keys).await },
        )
        .await
    }
}

impl ClaimStock for Store {
    async fn claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let mut claim = claim.clone();
        if self.world().is_sabotaged(Sabotage::NewNonceOnRetry)
            && self.process.watch.is_repeat(key, shopper, &claim)
        {
            claim = sabotage::with_new_nonce(&claim, key, shopper);
        }
        let told = claim.clone();
        let act = {
            let (key, shopper, world) = (key.clone(), shopper.clone(), self.world().clone());
            move |memory: MemoryStore| async move {
                let outcome = if world.is_sabotaged(Sabotage::SkipCondition) {
                    sabotage::claim_without_condition(&memory, &key, &shopper, &claim)
                } else {
                    memory.claim(&key, &shopper, &claim).await
                };
                if matches!(outcome, Ok(Conditional::Done)) {
                    world.note("claimed");
                    watch.claimed(&memory, &key, &shopper, &claim);
                }
                outcome
            }
        };
        let of = format!("{} for {shopper}, {}", place(key), told.tell());
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
        let watch = Arc::clone(&self.process.watch);
        let act = {
            let (world, victim, seen) = (self.world().clone(), victim.clone(), seen.clone());
            let (key, shopper, claim) = (key.clone(), shopper.clone(), claim.clone());
            move |memory: MemoryStore| async move {
                let outcome = memory.take_over(&key, &shopper, &claim, &victim, &seen).await;
                match &outcome {
                    Ok(Conditional::Done) => {
                        world.note("taken over");
                        watch.returned(&memory, &key, &victim, &seen, false);
                        watch.claimed(&memory, &key, &shopper, &claim);
                    }
                    Ok(Conditional::Refused(_)) => world.note("not taken over: others were faster"),
                    Err(_) => {}
                }
                outcome
            }
        };
        let of = format!("{} for {shopper} from {victim}, {}", place(key), claim.tell());
        self.write("take over", false, of, act).await
    }
}

impl GiveBackStock for Store {
    async fn give_back(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let by_shopper = self.process.function == crate::function::Function::Reserve;
        let of = format!(
            "{} of {}, {}",
            place(&seen.shard),
            seen.shopper,
            seen.claim.tell()
        );
        let (world, seen) = (self.world().clone(), seen.clone());
        let act = move |memory: MemoryStore| async move {
            let outcome = memory.give_back(&seen).await;
            if outcome == Ok(Conditional::Refused(())) && world.is_sabotaged(Sabotage::ReleaseTwice) {
                sabotage::give_back_again(&memory, &seen);
                watch.adds_up(&memory, &seen.shard);
                return Ok(Conditional::Done);
            }
            if outcome == Ok(Conditional::Done) {
                world.note(match by_shopper {
                    true => "released",
                    false => "given back by the conductor",
                });
                let (key, shopper, claim) = (&seen.shard, &seen.shopper, &seen.claim);
                watch.returned(&memory, key, shopper, claim, by_shopper);
                watch.adds_up(&memory, key);
            }
            outcome
        };
        self.write("give back", false, of, act).await
    }
}

impl CountLapse for Store {
    async fn count_lapse(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        let of = format!(
            "{} of {}, {}",
            place(&seen.shard),
            seen.shopper,
            seen.claim.tell()
        );
        let seen = seen.clone();
        let act = move |memory: MemoryStore| async move { memory.count_lapse(&seen).await };
        self.write("count lapse", false, of, act).await
    }
}

impl ReadClaim for Store {
    async fn read_claim(&self, key: &ShardKey, shopper: &ShopperId) -> Result<Option<Claim>, StoreError> {
        let of = || format!("{} of {shopper}", place(key));
        self.read("read claim", false, of, |memory| async move {
            memory.read_claim(key, shopper).await
        })
        .await
    }
}

impl SurveyStock for Store {
    async fn survey(
        &self,
        keys: &[ShardKey],
        consistency: Consistency,
    ) -> Result<Vec<(ShardKey, Shard)>, StoreError> {
        self.read(
            "survey",
            consistency == Consistency::Eventual,
            || format!("{} shards", keys.len()),
            |memory| async move { memory.survey(keys, consistency).await },
        )
        .await
    }
}

impl AllocateStock for Store {
    async fn allocate(&self, key: &ShardKey, units: u32) -> Result<Conditional<()>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let of = format!("{units} units to {}", place(key));
        let key = key.clone();
        let act = move |memory: MemoryStore| async move {
            let outcome = memory.allocate(&key, units).await;
            watch.adds_up(&memory, &key);
            outcome
        };
        self.write("allocate", false, of, act).await
    }
}

/// Names a shard in the history.
fn place(key: &ShardKey) -> String {
    format!("{}#{}", key.sku, key.index)
}
