//! Lists the orders that wait for the payment gateway, and carries out the operator's decision about one.
//!
//! Only an operator ends such an order. To *keep* an order moves the time from which an alarm asks for a decision. To
//! *end* an order stores the request; then `process-order` requests that the gateway cancels the payment, and the order
//! ends when the gateway confirms the cancellation. If the money was taken, the order is paid. An order without a
//! payment ends immediately. In addition, the operator may state that the gateway does not have the payment. Then a
//! look-up that finds nothing ends the order too.

use domain::ids::OrderId;
use domain::limits::OPEN_BUCKETS;
use domain::order::{EndReason, Fingerprint, Order, bucket_of};
use domain::saga::Turn;
use domain::time::Timestamp;
use futures_util::future::try_join_all;
use ports::change::{Change, NotChanged, change};
use ports::drops::ReadDrop;
use ports::orders::{AdvanceOrder, ListOpenOrders, OrderPage, ReadOrder};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use tokens::Scope;

use crate::NotDone;
use crate::change::{Asked, read};
use crate::error::NotThisOrder;

/// The largest number of buckets that are read at the same time.
const MOST_AHEAD: u8 = 32;

/// A page ends after this many orders were read, including orders that the filter leaves out.
const MOST_LOOKS: usize = 500;

/// Up to `limit` open orders after `after`, bucket by bucket. With a `turn`, only the orders that wait for this side.
///
/// # Errors
///
/// [`NotDone::OutOfScope`] for a token that is not valid for listed drops, [`NotDone::Store`].
pub async fn list<O: ListOpenOrders, R: Runtime>(
    orders: &O,
    runtime: &R,
    scope: &Scope,
    turn: Option<Turn>,
    limit: u16,
    after: Option<(Timestamp, OrderId)>,
) -> Result<OrderPage, NotDone> {
    if !scope.covers(true) {
        return Err(NotDone::OutOfScope);
    }
    let wanted = |order: &Order| turn.is_none_or(|turn| (turn == Turn::Gateway) == order.waits_for_gateway());
    let (mut found, mut looked) = (Vec::new(), 0);
    let mut bucket = after.as_ref().map_or(0, |(_, id)| bucket_of(id));
    let (mut after, mut ahead, mut next) = (after, 1, None);
    while bucket < OPEN_BUCKETS {
        let room = limit.saturating_sub(u16::try_from(found.len()).unwrap_or(limit));
        // Most buckets are empty, so several are read at the same time. The first bucket with orders ends the round, since
        // its orders leave less room for those of the next bucket.
        let round = bucket..bucket + ahead.min(OPEN_BUCKETS - bucket);
        let pages = try_join_all(round.clone().map(|of| {
            let after = after.as_ref().filter(|_| of == bucket);
            retry(runtime, IN_REQUEST, move || orders.open_orders(of, after, room))
        }));
        let mut pages = round.clone().zip(pages.await?);
        let Some((of, page)) = pages.find(|(_, page)| !page.orders.is_empty() || page.next.is_some()) else {
            (bucket, after) = (round.end, None);
            ahead = MOST_AHEAD.min(2 * ahead);
            continue;
        };
        looked += page.orders.len();
        let last = page.orders.last().map(|order| (order.due_at, order.id.clone()));
        found.extend(page.orders.into_iter().filter(wanted));
        let full = found.len() >= usize::from(limit) || looked >= MOST_LOOKS;
        after = page.next;
        bucket = of + u8::from(after.is_none());
        if full && bucket < OPEN_BUCKETS {
            // After the last order of a bucket, the next page continues with the next bucket.
            next = after.or(last);
            break;
        }
    }
    let orders = found;
    Ok(OrderPage { orders, next })
}

/// Lets the order wait for the gateway for `seconds` more. A repeat with the same `key` changes nothing.
///
/// # Errors
///
/// [`NotDone`].
pub async fn keep<D, O, R>(
    drops: &D,
    orders: &O,
    runtime: &R,
    (id, scope): (&OrderId, &Scope),
    seconds: u32,
    key: &str,
) -> Result<Order, NotDone>
where
    D: ReadDrop,
    O: ReadOrder + AdvanceOrder,
    R: Runtime,
{
    let request = Fingerprint::of_request(key.as_bytes(), seconds.to_string().as_bytes());
    let decide = |order: Order| {
        if let Some(earlier) = order.kept.as_ref().filter(|kept| kept.has_key_of(&request)) {
            return if earlier.has_contents_of(&request) {
                Ok(Change::Already(order))
            } else {
                Err(NotThisOrder::OtherRequest)
            };
        }
        let step = order.keep(seconds, request.clone(), runtime.now());
        step.map(Change::Step)
            .map_err(|not_possible| NotThisOrder::WrongState(not_possible.0))
    };
    in_scope(drops, orders, runtime, id, scope).await?;
    Ok(change(orders, runtime, id, |_| true, decide).await?)
}

/// Ends the order as [`EndReason::GatewayUnavailable`], or stores the request to end it. A repeat changes
/// nothing. With `not_at_gateway` it also stores the statement that the gateway does not have the payment.
///
/// # Errors
///
/// [`NotDone`].
pub async fn end<D, O, R>(
    drops: &D,
    orders: &O,
    runtime: &R,
    (id, scope): (&OrderId, &Scope),
    not_at_gateway: bool,
) -> Result<Order, NotDone>
where
    D: ReadDrop,
    O: ReadOrder + AdvanceOrder,
    R: Runtime,
{
    in_scope(drops, orders, runtime, id, scope).await?;
    let wish = |order: Order| {
        if order.reason == Some(EndReason::GatewayUnavailable) {
            return Ok(Change::Already(order));
        }
        if !order.waits_for_gateway() {
            return Err(NotThisOrder::WrongState(order.status));
        }
        let step = order.request_cancel(EndReason::GatewayUnavailable, runtime.now());
        // If the order is to end already, the reason of the first request stays.
        Ok(step.map_or(Change::Already(order), Change::Step))
    };
    let order = change(orders, runtime, id, |_| true, wish).await?;
    if !not_at_gateway {
        return Ok(order);
    }
    let statement = |order: Order| {
        if order.is_not_at_gateway() {
            return Ok(Change::Already(order));
        }
        let step = order.not_at_gateway(runtime.now());
        // An order that has ended in the meantime needs no statement.
        Ok::<_, NotThisOrder>(step.map_or(Change::Already(order), Change::Step))
    };
    Ok(change(orders, runtime, id, |_| true, statement).await?)
}

/// Refuses an order of a drop that the token is not valid for.
async fn in_scope<D: ReadDrop, O: ReadOrder, R: Runtime>(
    drops: &D,
    orders: &O,
    runtime: &R,
    id: &OrderId,
    scope: &Scope,
) -> Result<(), NotDone> {
    let found = retry(runtime, IN_REQUEST, || orders.order(id)).await?;
    let order = found.ok_or(NotDone::NoOrder)?;
    let of = Asked {
        id: order.reservation.shard.drop,
        scope: *scope,
    };
    read(drops, runtime, &of).await.map(drop)
}

impl From<NotChanged<NotThisOrder>> for NotDone {
    fn from(error: NotChanged<NotThisOrder>) -> Self {
        match error {
            NotChanged::Unknown => Self::NoOrder,
            NotChanged::Refused(why) => Self::NotThisOrder(why),
            NotChanged::Contended => Self::Conflict,
            NotChanged::Store(error) => Self::Store(error),
        }
    }
}
