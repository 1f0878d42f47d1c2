//! Placing an order.

use domain::claim::ClaimState;
use domain::drops::Phase;
use domain::ids::{CorrelationId, OrderId, ReservationId, ShopperId};
use domain::money::Money;
use domain::order::{Fingerprint, Order, Placement};
use domain::saga::Terms;
use domain::shard::Shard;
use ports::cached::CachedDrops;
use ports::drops::ReadDrop;
use ports::edge::Edge;
use ports::orders::{NotPlaced, PlaceOrder, Placing, ReadOrder};
use ports::retry::{IN_REQUEST, Look, Policy, look_again, retry};
use ports::stock::{Consistency, SurveyStock};
use ports::{Conditional, StoreError};
use tokens::Scope;

/// Further looks of a checkout when the hold changed since it was read.
const LOOKS: Policy = Policy::at_once(2);

/// A checkout.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who.
    pub shopper: ShopperId,
    /// Which drops the shopper's token is good for.
    pub scope: Scope,
    /// What.
    pub reservation: ReservationId,
    /// What the shopper consents to pay.
    pub amount: Money,
    /// The gateway's token for the means of payment.
    pub payment_method: String,
    /// The address, as JSON text.
    pub address: String,
    /// What tells a repeat from a contradiction.
    pub fingerprint: Fingerprint,
    /// What all that follows from the order has in common in logs and events.
    pub correlation: Option<CorrelationId>,
}

/// Why there is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOrdered {
    /// No such reservation, or somebody else's.
    #[error("no such reservation")]
    UnknownReservation,
    /// It has expired, or was released or replaced.
    #[error("the reservation has expired")]
    Expired,
    /// The shopper's token is not good for the reservation's drop.
    #[error("the token is for unlisted drops only")]
    OutOfScope,
    /// The amount is not the reservation's.
    #[error("the amount is {0}")]
    WrongAmount(Money),
    /// The drop was cancelled.
    #[error("the drop was cancelled")]
    DropCancelled,
    /// The shopper's limit would be passed.
    #[error("limit reached")]
    LimitReached,
    /// The same key was used with other contents.
    #[error("the key was used for another request")]
    OtherRequest,
    /// The reservation has become an order by another request.
    #[error("ordered already")]
    AlreadyOrdered(OrderId),
    /// The reservation keeps changing.
    #[error("changed again and again")]
    Contended,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use case, with its ports.
pub struct Checkout<D, S, O, E> {
    /// The drops, for prices and limits.
    pub drops: CachedDrops<D, E>,
    /// The stock, to see the hold.
    pub stock: S,
    /// The orders.
    pub orders: O,
    /// Clock and chance.
    pub edge: E,
}

impl<D: ReadDrop, S: SurveyStock, O: PlaceOrder + ReadOrder, E: Edge> Checkout<D, S, O, E> {
    /// The order of the reservation: a new one, or the one an earlier try of the same request made.
    ///
    /// # Errors
    /// [`NotOrdered`].
    pub async fn place(&self, request: &Request) -> Result<Order, NotOrdered> {
        let key = &request.reservation.shard;
        let drop = self
            .drops
            .get(&key.drop)
            .await?
            .ok_or(NotOrdered::UnknownReservation)?;
        if !request.scope.covers(drop.listed) {
            return Err(NotOrdered::OutOfScope);
        }
        let phase = drop
            .phase(self.edge.now())
            .ok_or(NotOrdered::UnknownReservation)?;
        let sku = drop.sku(&key.sku).ok_or(NotOrdered::UnknownReservation)?;
        let look = |_| async {
            let keys = std::slice::from_ref(key);
            let found = retry(&self.edge, IN_REQUEST, || {
                self.stock.survey(keys, Consistency::Strong)
            })
            .await?;
            let shard = found
                .into_iter()
                .next()
                .map(|(_, shard)| shard)
                .ok_or(NotOrdered::UnknownReservation)?;
            let mine = shard
                .claims
                .get(&request.shopper)
                .filter(|claim| claim.nonce == request.reservation.nonce);
            let Some(hold) = mine.filter(|claim| claim.state == ClaimState::Held) else {
                return self.without_hold(request, &shard).await.map(Look::Done);
            };
            let amount = drop
                .price(sku)
                .times(hold.units)
                .ok_or(NotOrdered::UnknownReservation)?;
            if amount != request.amount {
                return Err(NotOrdered::WrongAmount(amount));
            }
            if phase == Phase::Cancelled {
                return Err(NotOrdered::DropCancelled);
            }
            let now = self.edge.now();
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
            // Most orders are a shopper's first. The transaction makes sure of that, and only of another one costs a second transaction.
            let mut placing = placing_with(drop.terms());
            let mut placed = retry(&self.edge, IN_REQUEST, || self.orders.place(&placing)).await?;
            if let Conditional::Refused(NotPlaced::NotFirst { declined }) = placed {
                let cards = Terms::cards_of(false, declined);
                placing = placing_with(Terms {
                    cards,
                    ..drop.terms()
                });
                placed = retry(&self.edge, IN_REQUEST, || self.orders.place(&placing)).await?;
            }
            match placed {
                Conditional::Done => Ok(Look::Done(placing.order)),
                Conditional::Refused(NotPlaced::Exists(order)) => repeat(request, *order).map(Look::Done),
                Conditional::Refused(NotPlaced::LimitReached) => Err(NotOrdered::LimitReached),
                Conditional::Refused(NotPlaced::HoldChanged | NotPlaced::NotFirst { .. }) => Ok(Look::Again),
            }
        };
        let done: Result<_, NotOrdered> = look_again(&self.edge, LOOKS, look).await;
        done?.ok_or(NotOrdered::Contended)
    }

    /// There is no hold of that reservation: it has become an order, open or ended, or is gone.
    async fn without_hold(&self, request: &Request, shard: &Shard) -> Result<Order, NotOrdered> {
        let id = OrderId::of_reservation(&request.reservation);
        if let Some(order) = retry(&self.edge, IN_REQUEST, || self.orders.order(&id)).await? {
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

/// What an existing order means for this request.
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
