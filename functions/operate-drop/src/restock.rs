//! Restocks a drop: adds units of a SKU in new shards.

use domain::drops::Drop;
use domain::ids::{ShardKey, SkuId, short_hash};
use ports::drops::{ReadDrop, StoreDrop};
use ports::runtime::Runtime;
use ports::stock::{AllocateStock, SurveyStock};

use crate::NotDone;
use crate::allocate::{BUDGET_MS, allocate};
use crate::change::{Asked, change};

/// The length of the plan's record of an idempotency key: 132 bits of the key's hash, so that the document stays small
/// and contains no text of a client.
const REQUEST_BYTES: usize = 22;

/// Adds `units` of `sku` once for each `idempotency_key`. First the document records the request, then the
/// shards are created. A repeat of the request, or the conductor, creates shards of the plan that are
/// missing.
///
/// # Errors
///
/// [`NotDone`].
pub async fn restock<D, S, R>(
    drops: &D,
    stock: &S,
    runtime: &R,
    of: &Asked,
    sku: &SkuId,
    units: u32,
    idempotency_key: &str,
) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    S: SurveyStock + AllocateStock,
    R: Runtime,
{
    let until = runtime.now().plus_millis(BUDGET_MS);
    let request = short_hash(idempotency_key.as_bytes(), REQUEST_BYTES);
    let drop = change(drops, runtime, of, |drop, now| {
        drop.restock(sku, units, &request, now)
    })
    .await?;
    let segment = drop.sku(sku).and_then(|sku| sku.plan.added_by(&request));
    let added = segment.map_or(0..0, |segment| segment.first..segment.first + segment.shards());
    let is_added = |key: &ShardKey| key.sku == *sku && added.contains(&key.index);
    let plan: Vec<_> = drop.allocations().filter(|(key, _)| is_added(key)).collect();
    allocate(stock, runtime, &plan, until).await?;
    Ok(drop)
}
