//! Accepts another card for an order whose card was declined.

use domain::order::{Fingerprint, Order, OrderStatus};
use domain::time::Timestamp;

use ports::change::Change;

/// Why a card was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The same key was used with another card.
    #[error("the key was used for another request")]
    OtherRequest,
    /// The order does not accept a card in its current status.
    #[error("it is {}", .0.as_str())]
    NotAwaited(OrderStatus),
    /// The time limit for another card has passed, or the order is about to end.
    #[error("too late")]
    TooLate,
}

/// Makes the card `method` the order's next try. A repeat of `request` changes nothing, in any status of the
/// order.
///
/// # Errors
///
/// [`NotAccepted`].
pub fn pay(order: Order, method: &str, request: &Fingerprint, now: Timestamp) -> Result<Change, NotAccepted> {
    let mut earlier = order.tries.iter().filter_map(|one| one.request.as_ref());
    if let Some(earlier) = earlier.find(|one| one.has_key_of(request)) {
        return if earlier.has_contents_of(request) {
            Ok(Change::Already(order))
        } else {
            Err(NotAccepted::OtherRequest)
        };
    }
    let step = order.another_card(method.to_owned(), request.clone(), now);
    step.map(Change::Step)
        .map_err(|not_possible| match not_possible.0 {
            OrderStatus::PaymentFailed => NotAccepted::TooLate,
            status => NotAccepted::NotAwaited(status),
        })
}
