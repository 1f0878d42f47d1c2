//! Waits until the stack has no work left: streams read, queues empty, no open order, no claim in any shard.

use std::time::Duration;

use stack_api::{Idle, StackFile};
use tokio::time::Instant;

use crate::collect::Stores;
use crate::control;
use crate::facts::DropFacts;

/// The time limit of the drain beyond the time that holds and payments may take.
const MARGIN: Duration = Duration::from_secs(20);

/// The duration of a drain, and the work that it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    pub took: Duration,
    /// The work that was left at the time limit; empty if no work was left.
    pub left: Vec<String>,
}

/// Waits for the end of all work on `drop`, for at most the hold + twice the payment time + 20 s + `allowed`.
///
/// # Errors
/// When the stack does not answer.
pub async fn drain(
    stack: &StackFile,
    stores: &Stores,
    drop: &DropFacts,
    allowed: Duration,
) -> anyhow::Result<Drained> {
    let limit = Duration::from_secs(u64::from(drop.hold_seconds) + 2 * u64::from(drop.payment_seconds))
        + MARGIN
        + allowed;
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
            return Ok(Drained {
                took: started.elapsed(),
                left,
            });
        }
    }
}

async fn left(stack: &StackFile, stores: &Stores, drop: &DropFacts) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    let state: Idle = control::get(stack, "/idle").await?;
    if !state.idle {
        left.push(format!(
            "the stack is busy: {} stream records, {} messages",
            state.stream_records_pending, state.queue_messages
        ));
        return Ok(left);
    }
    let open = stores
        .orders(&drop.drop_id)
        .await?
        .found
        .iter()
        .filter(|o| o.order.status.is_open())
        .count();
    if open > 0 {
        left.push(format!("{open} open orders"));
    }
    let claims: usize = stores
        .shards(&drop.drop_id)
        .await?
        .found
        .iter()
        .map(|s| s.shard.claims.len())
        .sum();
    if claims > 0 {
        left.push(format!("{claims} claims"));
    }
    Ok(left)
}
