//! Waits until the stack has no work left: streams read, queues empty, no open order, no claim in any shard.

use std::time::Duration;

use stack_api::{Idle, StackFile};
use tokio::time::Instant;

use crate::collect::Stores;
use crate::control;
use crate::facts::DropFacts;

/// The time limit of the drain beyond the time that holds and payments may take.
const MARGIN: Duration = Duration::from_secs(20);

/// Waits for the end of all work on `drop`, for at most the hold + twice the payment time + 20 s + `allowed`. Returns
/// the work that was left at the time limit.
///
/// # Errors
/// When the stack does not answer.
pub async fn drain(
    stack: &StackFile,
    stores: &Stores,
    drop: &DropFacts,
    allowed: Duration,
) -> anyhow::Result<Vec<String>> {
    let seconds = u64::from(drop.hold_seconds) + 2 * u64::from(drop.payment_seconds);
    let limit = Duration::from_secs(seconds) + MARGIN + allowed;
    let started = Instant::now();
    let mut interval = tokio::time::interval(Duration::from_millis(500));
    let mut quiet = 0;
    loop {
        interval.tick().await;
        let left = left(stack, stores, drop).await?;
        // The drain ends after two checks in a row that find no work: a single check can miss work that moves
        // between two stores.
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        if quiet >= 2 || started.elapsed() > limit {
            return Ok(left);
        }
    }
}

async fn left(stack: &StackFile, stores: &Stores, drop: &DropFacts) -> anyhow::Result<Vec<String>> {
    let state: Idle = control::get(stack, "/idle").await?;
    if !state.idle {
        return Ok(vec![format!(
            "the stack is busy: {} stream records, {} messages",
            state.stream_records_pending, state.queue_messages
        )]);
    }
    let mut left = Vec::new();
    let orders = stores.orders(&drop.drop_id).await?.found;
    let open = orders.iter().filter(|o| o.order.status.is_open()).count();
    if open > 0 {
        left.push(format!("{open} open orders"));
    }
    let shards = stores.shards(&drop.drop_id).await?.found;
    let claims: usize = shards.iter().map(|s| s.shard.claims.len()).sum();
    if claims > 0 {
        left.push(format!("{claims} claims"));
    }
    Ok(left)
}
