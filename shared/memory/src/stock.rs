//! Implements the stock ports in memory, by the rules of `domain`.

use std::collections::BTreeSet;

use domain::claim::{Claim, SeenHold};
use domain::ids::{DropId, ShardKey, ShopperId};
use domain::lapse::Lapses;
use domain::shard::Shard;
use domain::survey::SeenClaim;
use ports::stock::{
    AllocateStock, ClaimStock, Consistency, CountLapse, GiveBackStock, Peek, PeekStock, ReadClaim,
    SurveyStock, keys_to_peek,
};
use ports::{Conditional, StoreError};

use crate::conditions::write_if;
use crate::faults::Op;
use crate::store::MemoryStore;

impl PeekStock for MemoryStore {
    async fn peek(&self, drop: &DropId, shopper: &ShopperId, keys: &[ShardKey]) -> Result<Peek, StoreError> {
        self.call(Op::Peek, |state| {
            let shards = keys_to_peek(drop, keys)?
                .into_iter()
                .filter_map(|key| Some((key.clone(), state.shards.get(key)?.clone())))
                .collect();
            let whose = (drop.clone(), shopper.clone());
            let remembered = keys.first().map(|key| (whose.clone(), key.sku.clone()));
            Ok(Peek {
                shards,
                purchased: state.purchases.get(&whose).copied().unwrap_or(0),
                lapses: state.lapses.get(&whose).copied(),
                remembered: remembered.and_then(|of| state.remembered.get(&of).copied()),
            })
        })
        .await
    }
}

/// The outcome of a conditional write on a shard; a refusal contains the shard.
fn on_shard<E>(
    shard: Option<&mut Shard>,
    write: impl FnOnce(&mut Shard) -> Result<(), E>,
) -> Conditional<Option<Shard>> {
    match shard {
        None => Conditional::Refused(None),
        Some(shard) => match write(shard) {
            Ok(()) => Conditional::Done,
            Err(_) => Conditional::Refused(Some(shard.clone())),
        },
    }
}

impl ClaimStock for MemoryStore {
    async fn claim(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        self.call(Op::Claim, |state| {
            Ok(on_shard(state.shards.get_mut(key), |shard| {
                shard.claim(shopper, claim.clone())
            }))
        })
        .await
    }

    async fn take_over(
        &self,
        key: &ShardKey,
        shopper: &ShopperId,
        claim: &Claim,
        victim: &ShopperId,
        seen: &Claim,
    ) -> Result<Conditional<Option<Shard>>, StoreError> {
        self.call(Op::TakeOver, |state| {
            let seen = SeenHold::of(seen).map_err(StoreError::broken)?.claim();
            Ok(on_shard(state.shards.get_mut(key), |shard| {
                shard.take_over(shopper, claim.clone(), victim, seen)
            }))
        })
        .await
    }

    async fn remember(&self, key: &ShardKey, shopper: &ShopperId) -> Result<(), StoreError> {
        self.call(Op::Remember, |state| {
            let whose = (key.drop.clone(), shopper.clone());
            state.remembered.insert((whose, key.sku.clone()), key.index);
            Ok(())
        })
        .await
    }
}

impl GiveBackStock for MemoryStore {
    async fn give_back(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        self.call(Op::GiveBack, |state| {
            let Ok(hold) = SeenHold::of(&seen.claim) else {
                return Ok(Conditional::Refused(()));
            };
            let outcome = on_shard(state.shards.get_mut(&seen.shard), |shard| {
                shard.give_back(&seen.shopper, hold.claim())
            });
            Ok(outcome.map(|_| ()))
        })
        .await
    }
}

impl CountLapse for MemoryStore {
    async fn count_lapse(&self, seen: &SeenClaim) -> Result<Conditional<()>, StoreError> {
        self.call(Op::CountLapse, |state| {
            let whose = (seen.shard.drop.clone(), seen.shopper.clone());
            let before = state.lapses.get(&whose).copied();
            let Some(lapses) = Lapses::counting(before, seen.claim.deadline) else {
                return Ok(Conditional::Refused(()));
            };
            state.lapses.insert(whose, lapses);
            Ok(Conditional::Done)
        })
        .await
    }
}

impl ReadClaim for MemoryStore {
    async fn read_claim(&self, key: &ShardKey, shopper: &ShopperId) -> Result<Option<Claim>, StoreError> {
        self.call(Op::ReadClaim, |state| {
            let shard = state.shards.get(key);
            Ok(shard.and_then(|shard| shard.claims.get(shopper)).cloned())
        })
        .await
    }
}

impl SurveyStock for MemoryStore {
    async fn survey(
        &self,
        keys: &[ShardKey],
        _consistency: Consistency,
    ) -> Result<Vec<(ShardKey, Shard)>, StoreError> {
        self.call(Op::Survey, |state| {
            let keys: BTreeSet<&ShardKey> = keys.iter().collect();
            Ok(keys
                .into_iter()
                .filter_map(|key| Some((key.clone(), state.shards.get(key)?.clone())))
                .collect())
        })
        .await
    }
}

impl AllocateStock for MemoryStore {
    async fn allocate(&self, key: &ShardKey, units: u32) -> Result<Conditional<()>, StoreError> {
        self.call(Op::Allocate, |state| {
            Ok(write_if(!state.shards.contains_key(key), || {
                state.shards.insert(key.clone(), Shard::allocated(units));
            }))
        })
        .await
    }
}
