//! Reads every shard repeatedly during the run: the units of a shard must add up at all times and not only at the
//! end, and the report plots the units over time.

use std::sync::Arc;
use std::time::Duration;

use domain::ids::ShardKey;
use domain::shard::Shard;
use tokio::sync::watch;

use crate::audit::{count_units, describe, expired, overdue};
use crate::collect::Stores;
use crate::facts::{Entry, Sampled};
use crate::world::World;

/// The interval of the samples.
pub const PERIOD: Duration = Duration::from_millis(500);

/// Takes samples until `stop` is true; returns the number of failed samples.
pub async fn run(world: Arc<World>, stores: Stores, mut stop: watch::Receiver<bool>) -> u64 {
    let mut interval = tokio::time::interval(PERIOD);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed = 0;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return failed,
        }
        // The read shows a state of this time or later, so `began_ms` never makes a hold look more overdue than it
        // is.
        let began_ms = world.opening.now_ms();
        match stores.shards(&world.facts.drop_id).await {
            Ok(read) => {
                let shards = read.found.iter();
                let broken = shards.clone().filter(|fact| !fact.shard.adds_up()).map(describe);
                let keyed = shards.filter_map(|fact| Some((fact.key.parse().ok()?, &fact.shard)));
                let keyed: Vec<(ShardKey, &Shard)> = keyed.collect();
                let keyed = || keyed.iter().map(|(key, shard)| (key, *shard));
                let skus = world.facts.skus.iter();
                let sampled = Sampled {
                    overdue: overdue(keyed(), began_ms),
                    at_ms: world.opening.now_ms(),
                    expired: expired(keyed(), began_ms),
                    skus: skus.map(|sku| count_units(&read.found, &sku.sku)).collect(),
                    broken: broken.chain(read.unreadable).collect(),
                };
                world.note(Entry::Sampled(sampled));
            }
            Err(error) => {
                failed += 1;
                tracing::warn!("a sample of the shards failed; the next follows after 500 ms: {error:#}");
            }
        }
        world.journal.flush();
    }
}
