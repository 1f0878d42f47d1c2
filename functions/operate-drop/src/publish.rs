//! Publishes a drop: freezes the plan, creates the shards, reads them back, and puts the drop on the
//! calendar.

use domain::drops::{Drop, DropState};
use domain::ids::ShardKey;
use ports::drops::{ReadDrop, StoreDrop};
use ports::runtime::Runtime;
use ports::stock::{AllocateStock, SurveyStock};

use crate::NotDone;
use crate::allocate::{BUDGET_MS, allocate};
use crate::change::{Asked, change};

/// Publishes a drop. Each step detects the work of earlier calls, so a repeat completes a call that died at
/// any point.
///
/// # Errors
///
/// [`NotDone`].
pub async fn publish<D, S, R>(drops: &D, stock: &S, runtime: &R, of: &Asked) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    S: SurveyStock + AllocateStock,
    R: Runtime,
{
    let until = runtime.now().plus_millis(BUDGET_MS);
    let frozen = change(drops, runtime, of, |drop, now| drop.start_publishing(now)).await?;
    if frozen.state == DropState::Scheduled {
        return Ok(frozen);
    }
    let plan: Vec<(ShardKey, u32)> = frozen.allocations().collect();
    allocate(stock, runtime, &plan, until).await?;
    change(drops, runtime, of, |drop, _| drop.finish_publishing()).await
}
