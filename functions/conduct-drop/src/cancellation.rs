//! Requests the end of a cancelled drop's open orders.

use std::collections::BTreeSet;
use std::convert::Infallible;

use domain::ids::OrderId;
use domain::order::{EndReason, Order};
use domain::survey::SeenClaim;
use futures_util::{StreamExt as _, stream};
use ports::change::{Change, NotChanged, change};
use ports::orders::{AdvanceOrder, ReadOrder};
use ports::runtime::Runtime;
use startup::spans::{correlate, of_order};
use tracing::Instrument as _;

use crate::bounds::{MOST_WRITES, WRITES_AT_ONCE};

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
            Ok(()) => {
                result.asked += 1;
                asked.insert(order);
            }
            Err(error) => {
                result.failed += 1;
                tracing::debug!(%order, %error, "the end of the order could not be requested; the next step tries again");
            }
        }
    }
    result
}

/// Requests the end of one order, unless the order has ended or its end is already requested. If the order of the claim
/// is not visible here, this is an error, and the next step reads the order again.
async fn end_order<O: ReadOrder + AdvanceOrder, R: Runtime>(
    orders: &O,
    runtime: &R,
    id: &OrderId,
) -> Result<(), NotChanged<Infallible>> {
    let decide = |order: Order| {
        if !order.status.is_open() || order.cancel_requested.is_some() {
            return Ok(Change::Already(order));
        }
        let Ok(step) = order.request_cancel(EndReason::DropCancelled, runtime.now()) else {
            return Ok(Change::Already(order));
        };
        correlate(order.correlation.as_ref());
        tracing::info!(
            status = step.order.status.as_str(),
            "the drop was cancelled: the end of the order is requested"
        );
        Ok(Change::Step(step))
    };
    change(orders, runtime, id, |_| true, decide).await.map(drop)
}
