//! Cancelling an order.

use domain::ids::{OrderId, ShopperId};
use domain::order::{EndReason, Order, OrderStatus};
use ports::StoreError;
use ports::edge::Edge;
use ports::orders::{AdvanceOrder, ReadOrder};
use ports::retry::{IN_REQUEST, Look, Policy, look_again, retry};

/// Further looks of a cancellation when the order changed since it was read.
const LOOKS: Policy = Policy::at_once(3);

/// Why an order was not cancelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCancelled {
    /// No such order, or somebody else's.
    #[error("no such order")]
    Unknown,
    /// It has ended otherwise.
    #[error("it is {}", .0.as_str())]
    Ended(OrderStatus),
    /// It keeps changing.
    #[error("changed again and again")]
    Contended,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Cancels `shopper`'s order, or notes the wish. Again once it is cancelled or the wish is noted: changes nothing.
///
/// # Errors
/// [`NotCancelled`].
pub async fn cancel<O: ReadOrder + AdvanceOrder, E: Edge>(
    orders: &O,
    edge: &E,
    id: &OrderId,
    shopper: &ShopperId,
) -> Result<Order, NotCancelled> {
    let look = |_| async {
        let found = retry(edge, IN_REQUEST, || orders.order(id)).await?;
        let order = found
            .filter(|order| order.shopper == *shopper)
            .ok_or(NotCancelled::Unknown)?;
        if order.status == OrderStatus::Cancelled
            || (order.status.is_open() && order.cancel_requested.is_some())
        {
            return Ok(Look::Done(order));
        }
        let step = order
            .request_cancel(EndReason::ByShopper, edge.now())
            .map_err(|not_possible| NotCancelled::Ended(not_possible.0))?;
        // A repeat of a step that was stored is refused; the next look then finds it done.
        let stored = retry(edge, IN_REQUEST, || orders.advance(&step)).await?;
        Ok(Look::of(stored, step.order))
    };
    let done: Result<_, NotCancelled> = look_again(edge, LOOKS, look).await;
    done?.ok_or(NotCancelled::Contended)
}
