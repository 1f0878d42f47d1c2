//! Requests the end of a cancelled drop's open orders.

use std::collections::BTreeSet;

use domain::ids::OrderId;
use domain::order::EndReason;
use domain::survey::SeenClaim;
use futures_util::{StreamExt as _, stream};
use ports::StoreError;
use ports::orders::{AdvanceOrder, ReadOrder};
use ports::retry::{Attempt, IN_REQUEST, Policy, retry, retry_on_conflict};
use ports::runtime::Runtime;
use startup::spans::{correlate, of_order};
use tracing::Instrument as _;

use crate::bounds::{MOST_WRITES, WRITES_AT_ONCE};

/// How often one step reads an order again that has changed since the first read.
const ATTEMPTS: Policy = Policy::at_once(2);

/// The numbers of a cancelled drop's orders that one step asked to end, or could not ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CancelRequests {
    /// Orders that have ended or whose end is requested. An order without a payment ends immediately.
    pub asked: usize,
    /// Orders that were not read or keep changing. The next step tries again.
    pub failed: usize,
}

/// The id of the order that was made from an ordered claim.
#[must_use]
pub fn order_of(seen: &SeenClaim) -> OrderId {
    OrderId::of_reservation(&seen.claim.reservation_in(&seen.shard))
}

/// Requests the end of the open orders of `ordered`. `asked` contains the orders whose end this run has requested, so
/// that it requests each end once. Orders that no longer have a claim are removed from `asked`.
pub async fn end_orders<O, R>(
    orders: &O,
    runtime: &R,
    ordered: &[SeenClaim],
    asked: &mut BTreeSet<OrderId>,
) -> CancelRequests
where
    O: ReadOrder + AdvanceOrder,
    R: Runtime,
{
    let open: BTreeSet<OrderId> = ordered.iter().map(order_of).collect();
    asked.retain(|order| open.contains(order));
    let to_ask: Vec<OrderId> = open.difference(asked).take(MOST_WRITES).cloned().collect();
    let outcomes: Vec<_> = stream::iter(to_ask)
        .map(|order| async move {
            let span = of_order(&order);
            let outcome = end_order(orders, runtime, &order).instrument(span).await;
            (order, outcome)
        })
        .buffer_unordered(WRITES_AT_ONCE)
        .collect()
        .await;
    let mut result = CancelRequests::default();
    for (order, outcome) in outcomes {
        match outcome {
            Ok(true) => {
                result.asked += 1;
                asked.insert(order);
            }
            Ok(false) => result.failed += 1,
            Err(error) => {
                result.failed += 1;
                tracing::debug!(%order, %error, "the end of the order could not be requested; the next step tries again");
            }
        }
    }
    result
}

/// Requests the end of one order. Returns whether the order has ended or its end is requested.
async fn end_order<O: ReadOrder + AdvanceOrder, R: Runtime>(
    orders: &O,
    runtime: &R,
    id: &OrderId,
) -> Result<bool, StoreError> {
    let attempt = |_| async {
        let Some(order) = retry(runtime, IN_REQUEST, || orders.order(id)).await? else {
            // The order of the claim is not visible here, so the next step reads the order again.
            return Ok(Attempt::Done(false));
        };
        if !order.status.is_open() || order.cancel_requested.is_some() {
            return Ok(Attempt::Done(true));
        }
        let Ok(step) = order.request_cancel(EndReason::DropCancelled, runtime.now()) else {
            return Ok(Attempt::Done(true));
        };
        correlate(order.correlation.as_ref());
        let asked = retry(runtime, IN_REQUEST, || orders.advance(&step)).await?;
        if asked.is_done() {
            tracing::info!(
                status = step.order.status.as_str(),
                "the drop was cancelled: the end of the order was requested"
            );
        }
        Ok(Attempt::of(asked, true))
    };
    let asked = retry_on_conflict(runtime, ATTEMPTS, attempt).await?;
    Ok(asked.unwrap_or(false))
}
