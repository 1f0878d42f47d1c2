//! Cancels an order for its shopper.

use domain::order::{EndReason, Order, OrderStatus};
use domain::time::Timestamp;

use ports::change::Change;

/// Cancels the order, or stores the request to cancel it. A repeat changes nothing.
///
/// # Errors
///
/// The status of an order that can no longer be cancelled, since it has ended in another way.
pub fn cancel(order: Order, now: Timestamp) -> Result<Change, OrderStatus> {
    let is_wished = order.status.is_open() && order.cancel_requested.is_some();
    if order.status == OrderStatus::Cancelled || is_wished {
        return Ok(Change::Already(order));
    }
    let step = order.request_cancel(EndReason::ByShopper, now);
    step.map(Change::Step).map_err(|not_possible| not_possible.0)
}
