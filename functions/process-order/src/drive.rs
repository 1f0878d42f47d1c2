//! One order, one look, the next step.

use std::sync::atomic::{AtomicU32, Ordering};

use domain::ids::OrderId;
use domain::limits::PROCESS_ORDER_TIMEOUT_SECONDS;
use domain::order::{EndReason, NotPossible, Order, OrderStatus, OrderStep};
use ports::edge::Edge;
use ports::orders::{AdvanceOrder, ReadOrder};
use ports::payment::{
    GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId, PaymentMethod, PaymentState,
};
use ports::retry::{self, IN_WORKER, Policy, Transient as _, look_again, retry, retry_if};
use ports::{Conditional, StoreError};
use secrets::FETCH_TIMEOUT_MS;

/// Looks at one order by one message, after a conflict or a lost answer: six at most.
const LOOKS: Policy = Policy::new(5, 60, 960);
/// Repeats of one call to the gateway: enough to outwait an outage of a few seconds, which the budget bounds in any case.
/// A message that is given up comes again only after its queue's visibility time.
const GATEWAY: Policy = Policy::new(6, 50, 1_600);
/// Confirms of one payment per message; more are left to the redelivery.
const MOST_CONFIRMS: u32 = 2;
/// How long after its beginning a message still starts something new, in milliseconds.
pub const BUDGET_MS: u64 = 6_000;
/// How long one call to the gateway may take, in milliseconds.
pub const GATEWAY_CALL_MS: u64 = 4_000;
/// How long storing what the gateway said takes at worst in one go, in milliseconds: one attempt and a look.
const STORE_MS: u64 = 4_000;

const _: () = assert!(
    BUDGET_MS + FETCH_TIMEOUT_MS + GATEWAY_CALL_MS + STORE_MS < PROCESS_ORDER_TIMEOUT_SECONDS as u64 * 1000,
    "a message must be done with what it started, reading the gateway's key included, before the function is ended"
);
const _: () = assert!(
    BUDGET_MS > FETCH_TIMEOUT_MS + GATEWAY_CALL_MS,
    "a payment whose confirm was not answered is looked up by the same message"
);

/// What a message has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// The order has ended.
    Ended(OrderStatus),
    /// The shopper or the gateway is at it; the sweeper will look again.
    Waiting,
}

/// Why a message must come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDriven {
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gateway did not answer, or its answer does not say what became of the money.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// There is no such order.
    #[error("no such order")]
    NoOrder,
    /// The gateway does not know the payment that the order names: another account, or another gateway.
    #[error("the gateway does not know the order's payment")]
    NoPayment,
    /// The order keeps changing, or the time is used up.
    #[error("not finished in time")]
    Unfinished,
    /// Order and gateway contradict each other in a way that nothing here can cause.
    #[error("order and gateway contradict each other: {0}")]
    Contradiction(&'static str),
}

impl From<NotPossible> for NotDriven {
    fn from(_: NotPossible) -> Self {
        Self::Contradiction("the step does not follow from the order")
    }
}

/// One look's end.
type Look = retry::Look<Driven>;

/// What looks at orders.
#[derive(Debug, Clone)]
pub struct Driver<O, G, E> {
    orders: O,
    gateway: G,
    edge: E,
    /// Where the bank sends the shopper back to. Part of what a confirm's key stands for: a change shows to orders that
    /// are being confirmed at that moment.
    return_url: String,
}

/// What is counted within one message.
struct Effort {
    /// [`GATEWAY`], within the message's budget.
    gateway: Policy,
    confirms: AtomicU32,
}

impl<O: ReadOrder + AdvanceOrder, G: PaymentGateway, E: Edge> Driver<O, G, E> {
    /// The function over its ports. The bank sends shoppers back to `return_url`.
    pub const fn new(orders: O, gateway: G, return_url: String, edge: E) -> Self {
        Self {
            orders,
            gateway,
            edge,
            return_url,
        }
    }

    /// Brings an order as far as it goes now.
    ///
    /// # Errors
    /// [`NotDriven`]: the message must come again.
    pub async fn drive(&self, id: &OrderId) -> Result<Driven, NotDriven> {
        let until = self.edge.now().plus_millis(BUDGET_MS.cast_signed());
        let effort = Effort {
            gateway: GATEWAY.until(until),
            confirms: AtomicU32::new(0),
        };
        let driven = look_again(&self.edge, LOOKS.until(until), |_| self.look(id, &effort)).await?;
        driven.ok_or(NotDriven::Unfinished)
    }

    async fn look(&self, id: &OrderId, effort: &Effort) -> Result<Look, NotDriven> {
        let order = retry(&self.edge, IN_WORKER, || self.orders.order(id))
            .await?
            .ok_or(NotDriven::NoOrder)?;
        if !order.status.is_open() {
            return Ok(Look::Done(Driven::Ended(order.status)));
        }
        let Some(payment_id) = &order.payment_id else {
            return self.begin(&order, effort).await;
        };
        let payment = self.find(payment_id, effort).await?;
        if payment.state == PaymentState::Unconfirmed && self.must_end(&order).is_none() {
            return self.confirm(&order, payment_id, effort).await;
        }
        self.follow(&order, payment, effort).await
    }

    /// An order without a payment: nothing was ever confirmed.
    async fn begin(&self, order: &Order, effort: &Effort) -> Result<Look, NotDriven> {
        if let Some(reason) = self.must_end(order) {
            return self.undo(order, reason).await;
        }
        let new = NewPayment {
            order: order.id.clone(),
            amount: order.amount,
        };
        let key = IdempotencyKey::create(&order.id);
        // Under one key a repeat is the same payment, so a lost answer is asked for again.
        let payment = retry(&self.edge, effort.gateway, || self.gateway.create(&new, &key)).await?;
        if payment.amount != order.amount {
            return Err(NotDriven::Contradiction("the payment is of another amount"));
        }
        let step = order.with_payment(payment.id.clone(), self.edge.now())?;
        if self.store(&step).await?.is_done() {
            self.confirm(&step.order, &payment.id, effort).await
        } else {
            // A payment made in vain stays unconfirmed, or another worker's look stored the same id.
            Ok(Look::Again)
        }
    }

    /// Takes the money. Only for a payment whose id is stored with the order.
    async fn confirm(&self, order: &Order, id: &PaymentId, effort: &Effort) -> Result<Look, NotDriven> {
        if effort.confirms.fetch_add(1, Ordering::Relaxed) >= MOST_CONFIRMS {
            return Err(NotDriven::Gateway(GatewayError::Unknown));
        }
        let Ok(method) = order.payment_method.parse::<PaymentMethod>() else {
            return self.cancel(order, id, EndReason::PaymentDeclined, effort).await;
        };
        let key = IdempotencyKey::confirm(&order.id);
        let not_done = |error: &GatewayError| error.is_transient() && error.is_certainly_undone();
        let answer = retry_if(&self.edge, effort.gateway, not_done, || {
            self.gateway.confirm(id, &method, &self.return_url, &key)
        })
        .await;
        match answer {
            Ok(payment) if payment.state == PaymentState::Unconfirmed => Ok(Look::Again),
            Ok(payment) => self.follow(order, payment, effort).await,
            Err(GatewayError::Unknown | GatewayError::Unavailable) => {
                let payment = self.find(id, effort).await?;
                if payment.state == PaymentState::Unconfirmed {
                    return Ok(Look::Again);
                }
                self.follow(order, payment, effort).await
            }
            Err(GatewayError::Refused { code }) => {
                let payment = self.find(id, effort).await?;
                if payment.state != PaymentState::Unconfirmed {
                    // It had merely moved on.
                    return self.follow(order, payment, effort).await;
                }
                // The gateway knows the payment and will not charge this means of payment, now or later.
                tracing::error!(payment = %id, %code, "the payment gateway refused to confirm the payment");
                self.cancel(order, id, EndReason::PaymentDeclined, effort).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores what follows from where the payment stands.
    async fn follow(&self, order: &Order, payment: Payment, effort: &Effort) -> Result<Look, NotDriven> {
        let must_end = self.must_end(order);
        match (payment.state, must_end) {
            (PaymentState::Succeeded { captured }, _) => {
                if captured != order.amount {
                    tracing::error!(payment = %payment.id, "another amount was captured");
                }
                let step = order.settle(self.edge.now())?;
                self.end(&step).await
            }
            (PaymentState::Declined { reason }, _) => {
                tracing::info!(payment = %payment.id, %reason, "the payment was declined");
                self.undo(order, EndReason::PaymentDeclined).await
            }
            // Cancelled by someone at the gateway, unless we know why.
            (PaymentState::Cancelled, reason) => {
                self.undo(order, reason.unwrap_or(EndReason::PaymentDeclined))
                    .await
            }
            (_, Some(reason)) => self.cancel(order, &payment.id, reason, effort).await,
            (PaymentState::ActionRequired { url }, None) => {
                let known = order.action.as_ref().is_some_and(|action| action.url == url);
                if known && order.status == OrderStatus::ActionRequired {
                    return Ok(Look::Done(Driven::Waiting));
                }
                let step = order.require_action(url, self.edge.now())?;
                Ok(Look::of(self.store(&step).await?, Driven::Waiting))
            }
            (PaymentState::Processing | PaymentState::Unconfirmed, None) => Ok(Look::Done(Driven::Waiting)),
        }
    }

    /// Asks the gateway to make sure that no money will be taken, and believes only its answer.
    async fn cancel(
        &self,
        order: &Order,
        id: &PaymentId,
        reason: EndReason,
        effort: &Effort,
    ) -> Result<Look, NotDriven> {
        let payment = retry(&self.edge, effort.gateway, || self.gateway.cancel(id)).await?;
        match payment.state {
            PaymentState::Cancelled => self.undo(order, reason).await,
            PaymentState::Declined { .. } => self.undo(order, EndReason::PaymentDeclined).await,
            PaymentState::Succeeded { .. } => {
                let step = order.settle(self.edge.now())?;
                self.end(&step).await
            }
            // It cannot be stopped any more and has not ended yet.
            PaymentState::Processing => Ok(Look::Done(Driven::Waiting)),
            PaymentState::Unconfirmed | PaymentState::ActionRequired { .. } => {
                Err(NotDriven::Contradiction("the gateway did not cancel"))
            }
        }
    }

    async fn find(&self, id: &PaymentId, effort: &Effort) -> Result<Payment, NotDriven> {
        let found = retry(&self.edge, effort.gateway, || self.gateway.find(id)).await?;
        found.ok_or(NotDriven::NoPayment)
    }

    async fn undo(&self, order: &Order, reason: EndReason) -> Result<Look, NotDriven> {
        self.end(&order.undo(reason, self.edge.now())?).await
    }

    async fn end(&self, step: &OrderStep) -> Result<Look, NotDriven> {
        let stored = self.store(step).await?;
        if stored.is_done() {
            tracing::info!(status = step.order.status.as_str(), "the order ended");
        }
        Ok(Look::of(stored, Driven::Ended(step.order.status)))
    }

    /// Stores the step. A lost answer is repeated, and a repeat of what was stored is refused: the next look then finds it.
    async fn store(&self, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
        retry(&self.edge, IN_WORKER, || self.orders.advance(step)).await
    }

    /// Why the order is to end unpaid, if it is.
    fn must_end(&self, order: &Order) -> Option<EndReason> {
        let too_late = order.payment_deadline <= self.edge.now();
        order
            .cancel_requested
            .or(too_late.then_some(EndReason::PaymentDeadline))
    }
}
