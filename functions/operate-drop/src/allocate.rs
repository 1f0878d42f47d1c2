//! Creates the stock shards of a frozen plan, and reads them back to check that all exist.

use std::collections::BTreeMap;

use domain::ids::ShardKey;
use domain::time::Timestamp;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use ports::stock::{AllocateStock, Consistency, SurveyStock};

use crate::NotDone;

/// The number of shards that are read, created and read back between two checks of the clock.
const CHUNK: usize = 500;
/// The number of shards that are created concurrently.
const AT_ONCE: usize = 16;
/// The time that one request may spend on creating shards, in milliseconds. The function's time-out in the
/// template is 30 s, and API Gateway waits no longer.
pub const BUDGET_MS: i64 = 20_000;

/// Creates every missing shard of `plan` and reads all shards back, strongly consistent. Afterwards they
/// equal the plan, shard by shard. An existing shard stays unchanged, so a repeat continues where the former
/// request stopped.
///
/// # Errors
///
/// [`NotDone::Unfinished`] when it is not done before `until`, [`NotDone::NotAsPlanned`] when a shard has
/// another allocation or units unaccounted for, [`NotDone::Store`].
pub async fn allocate<S, R>(
    stock: &S,
    runtime: &R,
    plan: &[(ShardKey, u32)],
    until: Timestamp,
) -> Result<(), NotDone>
where
    S: SurveyStock + AllocateStock,
    R: Runtime,
{
    for chunk in plan.chunks(CHUNK) {
        if runtime.now() >= until {
            return Err(NotDone::Unfinished);
        }
        let missing = missing(stock, runtime, chunk).await?;
        if missing.is_empty() {
            continue;
        }
        stream::iter(missing)
            .map(|(key, units)| async move {
                // A refusal means that the shard exists by now.
                retry(runtime, IN_REQUEST, || stock.allocate(&key, units))
                    .await
                    .map(|_| ())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        if let Some((key, _)) = self::missing(stock, runtime, chunk).await?.into_iter().next() {
            return Err(NotDone::NotAsPlanned(key));
        }
    }
    Ok(())
}

/// The missing shards of `plan`. An error if an existing shard differs from the plan.
async fn missing<S: SurveyStock, R: Runtime>(
    stock: &S,
    runtime: &R,
    plan: &[(ShardKey, u32)],
) -> Result<Vec<(ShardKey, u32)>, NotDone> {
    let keys: Vec<ShardKey> = plan.iter().map(|(key, _)| key.clone()).collect();
    let found: BTreeMap<ShardKey, _> =
        retry(runtime, IN_REQUEST, || stock.survey(&keys, Consistency::Strong))
            .await?
            .into_iter()
            .collect();
    let mut missing = Vec::new();
    for (key, units) in plan {
        match found.get(key) {
            None => missing.push((key.clone(), *units)),
            Some(shard) if shard.allocated == *units && shard.adds_up() => {}
            Some(_) => return Err(NotDone::NotAsPlanned(key.clone())),
        }
    }
    Ok(missing)
}
