//! Places the order for a shopper's hold.

use domain::claim::ClaimState;
use domain::drops::Phase;
use domain::ids::{CorrelationId, OrderId, ReservationId, ShopperId};
use domain::money::Money;
use domain::order::{Fingerprint, Order, Placement};
use domain::saga::Terms;
use domain::shard::Shard;
use ports::cached::{CachedDrops, Known};
use ports::drops::ReadDrop;
use ports::orders::{NotPlaced, PlaceOrder, Placing, ReadOrder};
use ports::retry::{Attempt, IN_REQUEST, Policy, retry, retry_on_conflict};
use ports::runtime::Runtime;
use ports::stock::{Consistency, SurveyStock};
use ports::{Conditional, StoreError};
use tokens::Scope;

/// How often a checkout reads again when the hold has changed since the first read.
const ATTEMPTS: Policy = Policy::at_once(2);

#[derive(Debug, Clone)]
pub struct Request {
    pub shopper: ShopperId,
    /// The drops that the shopper's token is valid for.
    pub scope: Scope,
    pub reservation: ReservationId,
    /// The amount that the shopper agrees to pay.
    pub amount: Money,
    /// The gateway's token for the payment method.
    pub payment_method: String,
    /// The shipping address, as JSON text.
    pub address: String,
    /// The hash of the request's key and contents. It distinguishes a repeat from another request with the same key.
    pub fingerprint: Fingerprint,
    /// The id that links the order's log lines and events.
    pub correlation: Option<CorrelationId>,
}

/// Why no order was placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOrdered {
    /// The reservation does not exist, or belongs to another shopper.
    #[error("no such reservation")]
    UnknownReservation,
    /// The reservation has expired, or was released or replaced.
    #[error("the reservation has expired")]
    Expired,
    /// The shopper's token is not valid for the reservation's drop.
    #[error("the token is for unlisted drops only")]
    OutOfScope,
    /// The amount differs from the reservation's amount.
    #[error("the amount is {0}")]
    WrongAmount(Money),
    #[error("the drop was cancelled")]
    DropCancelled,
    /// The order would exceed the shopper's limit.
    #[error("limit reached")]
    LimitReached,
    /// The same key was used with other contents.
    #[error("the key was used for another request")]
    OtherRequest,
    /// Another request has turned the reservation into an order.
    #[error("ordered already")]
    AlreadyOrdered(OrderId),
    /// The reservation keeps changing.
    #[error("changed again and again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub struct Checkout<D, S, O, R> {
    /// The drops, for prices and limits.
    pub drops: CachedDrops<D, R>,
    /// The stock, to read the hold.
    pub stock: S,
    pub orders: O,
    /// The clock, and the source of random numbers.
    pub runtime: R,
}

impl<D: ReadDrop, S: SurveyStock, O: PlaceOrder + ReadOrder, R: Runtime> Checkout<D, S, O, R> {
    /// Places the reservation's order, or finds the order that an earlier attempt of the same request placed.
    ///
    /// # Errors
    /// [`NotOrdered`].
    pub async fn place(&self, request: &Request) -> Result<Order, NotOrdered> {
        let key = &request.reservation.shard;
        let known = self.drops.get(&key.drop).await?;
        let Known { drop, is_stale } = known.ok_or(NotOrdered::UnknownReservation)?;
        if !request.scope.covers(drop.listed) {
            return Err(NotOrdered::OutOfScope);
        }
        let phase = drop.phase(self.runtime.now());
        if is_stale && matches!(phase, None | Some(Phase::Cancelled)) {
            return Err(StoreError::Busy.into());
        }
        let phase = phase.ok_or(NotOrdered::UnknownReservation)?;
        let sku = drop.sku(&key.sku).ok_or(NotOrdered::UnknownReservation)?;
        let attempt = |_| async {
            let keys = std::slice::from_ref(key);
            let survey = || self.stock.survey(keys, Consistency::Strong);
            let found = retry(&self.runtime, IN_REQUEST, survey).await?;
            let (_, shard) = found.into_iter().next().ok_or(NotOrdered::UnknownReservation)?;
            let mine = shard
                .claims
                .get(&request.shopper)
                .filter(|claim| claim.nonce == request.reservation.nonce);
            let Some(hold) = mine.filter(|claim| claim.state == ClaimState::Held) else {
                return self.without_hold(request, &shard).await.map(Attempt::Done);
            };
            let amount = drop.price(sku).times(hold.units);
            let amount = amount.ok_or(NotOrdered::UnknownReservation)?;
            if amount != request.amount {
                return Err(NotOrdered::WrongAmount(amount));
            }
            if phase == Phase::Cancelled {
                return Err(NotOrdered::DropCancelled);
            }
            let now = self.runtime.now();
            // An ordered claim is never returned by its deadline: the order's end returns it.
            let claim = hold
                .ordered(now, now.plus_seconds(drop.payment_seconds))
                .map_err(|_| NotOrdered::Expired)?;
            let placing_with = |terms| {
                let placement = Placement {
                    reservation: request.reservation.clone(),
                    shopper: request.shopper.clone(),
                    claim: claim.clone(),
                    amount,
                    payment_method: request.payment_method.clone(),
                    fingerprint: request.fingerprint.clone(),
                    terms,
                };
                Placing {
                    order: Order {
                        correlation: request.correlation.clone(),
                        ..Order::place(placement, now)
                    },
                    hold: hold.clone(),
                    per_shopper_limit: drop.per_shopper_limit,
                    address: request.address.clone(),
                }
            };
            // Most orders are the shopper's first in the drop, so the counter is assumed to be absent. The
            // transaction checks this. A later order needs a second transaction.
            let mut terms = drop.terms();
            let mut placing = placing_with(terms);
            let mut placed = retry(&self.runtime, IN_REQUEST, || self.orders.place(&placing)).await?;
            if let Conditional::Refused(NotPlaced::NotFirst { declined }) = placed {
                terms.cards = Terms::cards_of(false, declined);
                placing = placing_with(terms);
                placed = retry(&self.runtime, IN_REQUEST, || self.orders.place(&placing)).await?;
            }
            match placed {
                Conditional::Done => Ok(Attempt::Done(placing.order)),
                Conditional::Refused(NotPlaced::Exists(order)) => repeat(request, *order).map(Attempt::Done),
                Conditional::Refused(NotPlaced::LimitReached) => Err(NotOrdered::LimitReached),
                Conditional::Refused(NotPlaced::HoldChanged | NotPlaced::NotFirst { .. }) => {
                    Ok(Attempt::Again)
                }
            }
        };
        let done: Result<_, NotOrdered> = retry_on_conflict(&self.runtime, ATTEMPTS, attempt).await;
        done?.ok_or(NotOrdered::Contended)
    }

    /// Handles a reservation without a hold: it has become an order, open or ended, or no longer exists.
    async fn without_hold(&self, request: &Request, shard: &Shard) -> Result<Order, NotOrdered> {
        let id = OrderId::of_reservation(&request.reservation);
        if let Some(order) = retry(&self.runtime, IN_REQUEST, || self.orders.order(&id)).await? {
            return repeat(request, order);
        }
        let somebody_elses = shard
            .claims
            .values()
            .any(|claim| claim.nonce == request.reservation.nonce);
        Err(if somebody_elses {
            NotOrdered::UnknownReservation
        } else {
            NotOrdered::Expired
        })
    }
}

/// The existing order, if this request is a repeat of the request that placed it; otherwise why it is refused.
fn repeat(request: &Request, order: Order) -> Result<Order, NotOrdered> {
    if order.shopper != request.shopper {
        return Err(NotOrdered::UnknownReservation);
    }
    if order.fingerprint.has_contents_of(&request.fingerprint) {
        Ok(order)
    } else if order.fingerprint.has_key_of(&request.fingerprint) {
        Err(NotOrdered::OtherRequest)
    } else {
        Err(NotOrdered::AlreadyOrdered(order.id))
    }
}
