//! Restocks a drop: adds units of a SKU in new shards.

use data_encoding::BASE64URL_NOPAD;
use domain::drops::Drop;
use domain::ids::{ShardKey, SkuId};
use ports::drops::{ReadDrop, StoreDrop};
use ports::runtime::Runtime;
use ports::stock::{AllocateStock, SurveyStock};
use sha2::{Digest as _, Sha256};

use crate::NotDone;
use crate::allocate::{BUDGET_MS, allocate};
use crate::change::{Asked, change};

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
    let request = request_of(idempotency_key);
    let drop = change(drops, runtime, of, |drop, now| {
        drop.restock(sku, units, &request, now)
    })
    .await?;
    let segment = drop.sku(sku).and_then(|sku| sku.plan.added_by(&request));
    let plan: Vec<(ShardKey, u32)> = segment
        .map(|segment| {
            let shard = |(index, units)| {
                let key = ShardKey {
                    drop: of.id.clone(),
                    sku: sku.clone(),
                    index,
                };
                (key, units)
            };
            segment.allocations().map(shard).collect()
        })
        .unwrap_or_default();
    allocate(stock, runtime, &plan, until).await?;
    Ok(drop)
}

/// The plan's record of a key: 132 bits of its hash, so that the document stays small and contains no text of
/// a client.
fn request_of(idempotency_key: &str) -> String {
    let mut text = BASE64URL_NOPAD.encode(&Sha256::digest(idempotency_key.as_bytes()));
    text.truncate(22);
    text
}
