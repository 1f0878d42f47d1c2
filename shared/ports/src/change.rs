//! Changes an order at the request of its shopper or an operator.

use crate::StoreError;
use crate::orders::{AdvanceOrder, ReadOrder};
use crate::retry::{Attempt, IN_REQUEST, Policy, retry, retry_on_conflict};
use crate::runtime::Runtime;
use domain::ids::OrderId;
use domain::order::{Order, OrderStep};

/// The number of further attempts after the order changed between its read and the write.
const ATTEMPTS: Policy = Policy::at_once(3);

/// Why a request did not change an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotChanged<X> {
    /// The order does not exist, or the requester may not see it.
    #[error("no such order")]
    Unknown,
    /// The order does not permit the change, for the contained reason.
    #[error("{0}")]
    Refused(X),
    /// The order changed during every attempt. Nothing was written.
    #[error("changed again and again")]
    Contended,
    /// A call of the database failed. The error says whether the change may have been stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of deciding about a request: it is already fulfilled, or a step fulfils it.
pub enum Change {
    /// The request has already been fulfilled, so nothing is to be written.
    Already(Order),
    /// The step that fulfils the request.
    Step(OrderStep),
}

/// Stores the step that `decide` returns for the order, if `may_see` allows the requester to see the order.
/// If the order changed since it was read, the order is read again and `decide` is called again. Returns the
/// order after the change.
///
/// # Errors
///
/// [`NotChanged`], with the reason.
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
        // If the answer to a stored step was lost, its repeat is refused. The next read then finds the step,
        // and `decide` must recognise it.
        let stored = retry(runtime, IN_REQUEST, || orders.advance(&step)).await?;
        Ok(Attempt::of(stored, step.order))
    };
    let done: Result<_, NotChanged<X>> = retry_on_conflict(runtime, ATTEMPTS, attempt).await;
    done?.ok_or(NotChanged::Contended)
}
