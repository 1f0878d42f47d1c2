//! Creates a drop with stock, and finds shoppers with a known first shard, for blocks of calls.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use domain::choice::Choice;
use domain::drops::{Drop, DropDraft, DropState, Sku};
use domain::ids::ShopperId;
use domain::limits::MAX_SHARD_UNITS;
use domain::plan::ShardPlan;
use domain::time::Timestamp;
use dynamodb::{DropStore, StockStore};
use ports::Conditional;
use ports::drops::StoreDrop as _;
use ports::stock::AllocateStock as _;

use tokens::ISSUER;

use crate::host::Host;

pub const SKU: &str = "TEE-M";

/// An open drop in the tables.
#[derive(Debug)]
pub struct Scene {
    pub drop: Drop,
    shards: u16,
}

impl Scene {
    /// Writes an open drop with `shards` full shards to the tables. `number` distinguishes scenes.
    ///
    /// # Errors
    /// When a table refuses the write.
    pub async fn lay(host: &Host, number: u32, shards: u16, now: Timestamp) -> anyhow::Result<Self> {
        let drop = drop(number, shards, now)?;
        let stored = DropStore::new(&host.client, &host.tables).store(&drop).await?;
        ensure!(stored == Conditional::Done, "the scene {number} is there already");
        let stock = StockStore::new(&host.client, &host.tables);
        for (key, units) in drop.allocations() {
            let allocated = stock.allocate(&key, units).await?;
            ensure!(allocated == Conditional::Done, "the shard {key} is there already");
        }
        Ok(Self { drop, shards })
    }

    /// Shoppers, `each` for every shard, one shard after the other: the first shopper's first shard is 0,
    /// the next shopper's is 1, and so on.
    ///
    /// # Errors
    /// Never: every shard is the first shard of some shopper.
    pub fn by_shard(&self, each: usize) -> anyhow::Result<Vec<String>> {
        let mut found: Vec<Vec<String>> = vec![Vec::with_capacity(each); usize::from(self.shards)];
        let mut missing = found.len() * each;
        let mut all = self.all();
        while missing > 0 {
            let (shopper, (first, _)) = all.next().context("no shopper left")??;
            if let Some(of_shard) = found.get_mut(usize::from(first))
                && of_shard.len() < each
            {
                of_shard.push(shopper);
                missing -= 1;
            }
        }
        let in_turns = |turn: usize| {
            found
                .iter()
                .filter_map(move |of_shard| of_shard.get(turn).cloned())
        };
        Ok((0..each).flat_map(in_turns).collect())
    }

    /// Shoppers whose first shard is not one of the two shards of an earlier shopper.
    ///
    /// # Errors
    /// Never, with at least twice as many shards as shoppers.
    pub fn strangers(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::with_capacity(count);
        let mut all = self.all();
        while found.len() < count {
            let (shopper, (first, second)) = all.next().context("no shopper left")??;
            if !seen.contains(&first) {
                seen.extend([first, second]);
                found.push(shopper);
            }
        }
        Ok(found)
    }

    /// All possible shoppers, by the subject of their tokens, with their two shards.
    fn all(&self) -> impl Iterator<Item = anyhow::Result<(String, (u16, u16))>> + '_ {
        (0u64..10_000_000).map(|n| {
            let subject = format!("s{n}");
            let pair = pair(&self.drop, &subject, self.shards)?;
            Ok((subject, pair))
        })
    }
}

/// The first two shards that a shopper tries. The shopper is `subject` at the project's own issuer.
fn pair(drop: &Drop, subject: &str, shards: u16) -> anyhow::Result<(u16, u16)> {
    let shopper = ShopperId::of(ISSUER, subject);
    Ok(Choice::of(&drop.id, &SKU.parse()?, &shopper, shards).pair())
}

fn drop(number: u32, shards: u16, now: Timestamp) -> anyhow::Result<Drop> {
    let draft = DropDraft {
        title: "Bench edition".to_owned(),
        currency: "EUR".parse()?,
        starts_at: now.plus_millis(-60_000),
        ends_at: now.plus_seconds(3_600),
        hold_seconds: 3_600,
        payment_seconds: 3_600,
        retry_seconds: 60,
        gateway_wait_seconds: 7_200,
        per_shopper_limit: 1,
        expected_shoppers: 1_000,
        listed: true,
        skus: vec![Sku {
            sku: SKU.parse()?,
            title: "Bench tee, size M".to_owned(),
            price_minor: 4_900,
            units: u32::from(shards) * MAX_SHARD_UNITS,
            plan: ShardPlan::default(),
        }],
    };
    let published = Drop::draft(format!("bench-{number}").parse()?, draft).start_publishing(now)?;
    // The drop is stored directly in its last state, since no conductor runs here that would change its
    // state.
    Ok(Drop {
        state: DropState::Scheduled,
        version: 1,
        ..published
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(shards: u16) -> Scene {
        let drop = drop(7, shards, Timestamp::from_millis(1_800_000_000_000)).unwrap();
        assert_eq!(drop.allocations().count(), usize::from(shards));
        Scene { drop, shards }
    }

    #[test]
    fn every_shard_has_its_shoppers_in_turns() {
        let scene = scene(5);
        let shoppers = scene.by_shard(3).unwrap();
        assert_eq!(shoppers.iter().collect::<BTreeSet<_>>().len(), 15);
        for (n, shopper) in shoppers.iter().enumerate() {
            assert_eq!(usize::from(pair(&scene.drop, shopper, 5).unwrap().0), n % 5);
        }
    }

    #[test]
    fn strangers_look_where_nobody_has_looked() {
        let scene = scene(64);
        let mut seen = BTreeSet::new();
        for shopper in scene.strangers(30).unwrap() {
            let (first, second) = pair(&scene.drop, &shopper, 64).unwrap();
            assert!(!seen.contains(&first));
            seen.extend([first, second]);
        }
    }
}
