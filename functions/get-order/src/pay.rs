//! Bringing another card.

use domain::ids::{OrderId, ShopperId};
use domain::order::{Fingerprint, Order, OrderStatus};
use ports::StoreError;
use ports::edge::Edge;
use ports::orders::{AdvanceOrder, ReadOrder};
use ports::retry::{IN_REQUEST, Look, Policy, look_again, retry};

/// Further looks when the order changed since it was read.
const LOOKS: Policy = Policy::at_once(3);

/// Why a card was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// No such order, or somebody else's.
    #[error("no such order")]
    Unknown,
    /// The same key was used with another card.
    #[error("the key was used for another request")]
    OtherRequest,
    /// The order does not wait for a card.
    #[error("it is {}", .0.as_str())]
    NotAwaited(OrderStatus),
    /// The time for another card is over, or the order is about to end.
    #[error("too late")]
    TooLate,
    /// It keeps changing.
    #[error("changed again and again")]
    Contended,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores the next try of `shopper`'s order with the card `method`. A repeat of `request` changes nothing, whatever the order has become.
///
/// # Errors
/// [`NotAccepted`].
pub async fn pay<O: ReadOrder + AdvanceOrder, E: Edge>(
    orders: &O,
    edge: &E,
    id: &OrderId,
    shopper: &ShopperId,
    method: &str,
    request: &Fingerprint,
) -> Result<Order, NotAccepted> {
    let look = |_| async {
        let found = retry(edge, IN_REQUEST, || orders.order(id)).await?;
        let order = found
            .filter(|order| order.shopper == *shopper)
            .ok_or(NotAccepted::Unknown)?;
        let mut earlier = order.tries.iter().filter_map(|one| one.request.as_ref());
        if let Some(earlier) = earlier.find(|one| one.has_key_of(request)) {
            return if earlier.has_contents_of(request) {
                Ok(Look::Done(order))
            } else {
                Err(NotAccepted::OtherRequest)
            };
        }
        let step = order
            .another_card(method.to_owned(), request.clone(), edge.now())
            .map_err(|not_possible| match not_possible.0 {
                OrderStatus::PaymentFailed => NotAccepted::TooLate,
                status => NotAccepted::NotAwaited(status),
            })?;
        // A repeat of a step that was stored is refused; the next look then finds it done.
        let stored = retry(edge, IN_REQUEST, || orders.advance(&step)).await?;
        Ok(Look::of(stored, step.order))
    };
    let done: Result<_, NotAccepted> = look_again(edge, LOOKS, look).await;
    done?.ok_or(NotAccepted::Contended)
}
