//! Changes an order at the request of its shopper or an operator.

use crate::StoreError;
use crate::edge::Edge;
use crate::orders::{AdvanceOrder, ReadOrder};
use crate::retry::{IN_REQUEST, Look, Policy, look_again, retry};
use domain::ids::OrderId;
use domain::order::{Order, OrderStep};

/// The number of further reads when the order changed since it was read.
const LOOKS: Policy = Policy::at_once(3);

/// Why an order was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotChanged<R> {
    /// The order does not exist, or the requester may not see it.
    #[error("no such order")]
    Unknown,
    /// The order does not permit the change.
    #[error("{0}")]
    Refused(R),
    /// The order changed during every attempt.
    #[error("changed again and again")]
    Contended,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of a request.
pub enum Change {
    /// The request was fulfilled before.
    Already(Order),
    /// The step that fulfils the request.
    Step(OrderStep),
}

/// Stores the result of `decide` for the order, if `may_see` allows the requester to see it. When the order
/// changed since it was read, `decide` is called again.
///
/// # Errors
///
/// [`NotChanged`].
pub async fn change<O: ReadOrder + AdvanceOrder, E: Edge, R>(
    orders: &O,
    edge: &E,
    id: &OrderId,
    may_see: impl Fn(&Order) -> bool,
    decide: impl Fn(Order) -> Result<Change, R>,
) -> Result<Order, NotChanged<R>> {
    let look = |_| async {
        let found = retry(edge, IN_REQUEST, || orders.order(id)).await?;
        let order = found.filter(&may_see).ok_or(NotChanged::Unknown)?;
        let step = match decide(order).map_err(NotChanged::Refused)? {
            Change::Already(order) => return Ok(Look::Done(order)),
            Change::Step(step) => step,
        };
        // A repeat of a step that was stored is refused; the next read then finds the step.
        let stored = retry(edge, IN_REQUEST, || orders.advance(&step)).await?;
        Ok(Look::of(stored, step.order))
    };
    let done: Result<_, NotChanged<R>> = look_again(edge, LOOKS, look).await;
    done?.ok_or(NotChanged::Contended)
}
