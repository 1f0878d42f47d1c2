//! Changes an order at the request of its shopper or an operator.

use crate::StoreError;
use crate::orders::{AdvanceOrder, ReadOrder};
use crate::retry::{Attempt, IN_REQUEST, Policy, retry, retry_on_conflict};
use crate::runtime::Runtime;
use domain::ids::OrderId;
use domain::order::{Order, OrderStep};

/// The number of further reads when the order changed since it was read.
const ATTEMPTS: Policy = Policy::at_once(3);

/// Why an order was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotChanged<X> {
    /// The order does not exist, or the requester may not see it.
    #[error("no such order")]
    Unknown,
    /// The order does not permit the change.
    #[error("{0}")]
    Refused(X),
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
pub async fn change<O: ReadOrder + AdvanceOrder, R: Runtime, X>(
    orders: &O,
    runtime: &R,
    id: &OrderId,
    may_see: impl Fn(&Order) -> bool,
    decide: impl Fn(Order) -> Result<Change, X>,
) -> Result<Order, NotChanged<X>> {
    let attempt = |_| async {
        let found = retry(runtime, IN_REQUEST, || orders.order(id)).await?;
        let order = found.filter(&may_see).ok_or(NotChanged::Unknown)?;
        let step = match decide(order).map_err(NotChanged::Refused)? {
            Change::Already(order) => return Ok(Attempt::Done(order)),
            Change::Step(step) => step,
        };
        // A repeat of a step that was stored is refused; the next read then finds the step.
        let stored = retry(runtime, IN_REQUEST, || orders.advance(&step)).await?;
        Ok(Attempt::of(stored, step.order))
    };
    let done: Result<_, NotChanged<X>> = retry_on_conflict(runtime, ATTEMPTS, attempt).await;
    done?.ok_or(NotChanged::Contended)
}
