//! One order, one look, the next step.

use std::sync::atomic::{AtomicU32, Ordering};

use domain::ids::OrderId;
use domain::limits::PROCESS_ORDER_TIMEOUT_SECONDS;
use domain::order::{DeclineReason, EndReason, NotPossible, Order, OrderStatus, OrderStep};
use domain::saga::{Action, Turn, step};
use domain::time::Timestamp;
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
/// After that the order waits for the sweeper.
const GATEWAY: Policy = Policy::new(6, 50, 1_600);
/// Confirms per message, our own repeat of a card included; more are left to the sweeper.
const MOST_CONFIRMS: u32 = 3;
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
    /// The gateway gave no usable answer; the sweeper will look again.
    WithoutGateway,
    /// A reminder that is stale: the order was put off again since, so another one comes or has come.
    Stale,
}

/// Why a message must come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDriven {
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gateway refuses a call of ours: an engineer has to look. Any other failure of it becomes [`Driven::WithoutGateway`].
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// There is no such order.
    #[error("no such order")]
    NoOrder,
    /// The gateway does not know the payment that the order names: another account, or another gateway. Becomes [`Driven::WithoutGateway`].
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

/// How it became known where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// By the answer to the current try.
    ByConfirm,
    /// By a look-up, which may tell of an earlier try.
    ByLookUp,
}

/// What a message does next with a payment.
enum Next {
    /// Nothing more in this look.
    Done(Look),
    /// Confirm it by the current try of this order, which is stored.
    Confirm(Box<Order>),
    /// Act on what the gateway says.
    Told(Payment, Told),
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

    /// Brings an order as far as it goes now. A reminder says when the next one is due: once the order is put off to later than that, the
    /// reminder is stale and nothing is done.
    ///
    /// # Errors
    /// [`NotDriven`]: the message must come again.
    pub async fn drive(&self, id: &OrderId, next_due: Option<Timestamp>) -> Result<Driven, NotDriven> {
        let until = self.edge.now().plus_millis(BUDGET_MS.cast_signed());
        let effort = Effort {
            gateway: GATEWAY.until(until),
            confirms: AtomicU32::new(0),
        };
        let driven = look_again(&self.edge, LOOKS.until(until), |_| {
            self.look(id, next_due, &effort)
        })
        .await?;
        driven.ok_or(NotDriven::Unfinished)
    }

    async fn look(
        &self,
        id: &OrderId,
        next_due: Option<Timestamp>,
        effort: &Effort,
    ) -> Result<Look, NotDriven> {
        let order = retry(&self.edge, IN_WORKER, || self.orders.order(id))
            .await?
            .ok_or(NotDriven::NoOrder)?;
        if !order.status.is_open() {
            return Ok(Look::Done(Driven::Ended(order.status)));
        }
        if next_due.is_some_and(|next| order.due_at > next) {
            return Ok(Look::Done(Driven::Stale));
        }
        match self.advance(&order, effort).await {
            Err(NotDriven::Gateway(error)) if !error.is_transient() => Err(error.into()),
            Err(why @ (NotDriven::Gateway(_) | NotDriven::NoPayment)) => {
                Ok(self.without_gateway(&order, &why))
            }
            done => done,
        }
    }

    async fn advance(&self, order: &Order, effort: &Effort) -> Result<Look, NotDriven> {
        let (Some((action, _)), Some(id)) = (step(order.status), &order.payment_id) else {
            return self.begin(order, effort).await;
        };
        if let Some(reason) = order.cancel_requested {
            return self.cancel(order, id, reason, effort).await;
        }
        match action {
            Action::AwaitCard if self.is_over(order) => {
                self.give_up(order, EndReason::PaymentDeadline, effort).await
            }
            Action::AwaitCard => Ok(Look::Done(Driven::Waiting)),
            Action::Create | Action::Confirm | Action::LookUp => {
                let payment = self.find(id, effort).await?;
                self.pay(order, id, Next::Told(payment, Told::ByLookUp), effort)
                    .await
            }
        }
    }

    /// The one place where the gateway's silence becomes a wait. The order waits as long as its operator lets it.
    fn without_gateway(&self, order: &Order, why: &NotDriven) -> Look {
        let to_do = match why {
            NotDriven::Gateway(GatewayError::NoKey | GatewayError::WrongMode) => Some(
                "put the gateway's valid key, of the mode that GATEWAY_MODE names, into the secret that GATEWAY_SECRET names",
            ),
            NotDriven::NoPayment => {
                Some("see whether the key is of another account; if not, an operator ends the order")
            }
            _ => None,
        };
        // The alarm `GatewaySilent` counts this line.
        tracing::warn!(%why, to_do, "payment gateway gave no usable answer; the order waits");
        self.tell_if_late(order);
        Look::Done(Driven::WithoutGateway)
    }

    fn tell_if_late(&self, order: &Order) {
        let now = self.edge.now();
        if order.gateway_wait().is_some_and(|(_, until)| until <= now) {
            // The alarm `GatewayAwaited` counts this line.
            tracing::error!("payment gateway away for too long; the operator keeps or ends the order");
        }
    }

    /// An order without a payment: nothing was ever confirmed. However late it is, it is tried first.
    async fn begin(&self, order: &Order, effort: &Effort) -> Result<Look, NotDriven> {
        if order.terms.cards == 0 {
            tracing::info!(
                "too many cards of the shopper were declined in the drop; the gateway is not asked"
            );
            return self.undo(order, EndReason::PaymentDeclined).await;
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
            let next = Next::Confirm(Box::new(step.order.clone()));
            self.pay(&step.order, &payment.id, next, effort).await
        } else {
            // This payment stays unconfirmed, or another worker stored the same id.
            Ok(Look::Again)
        }
    }

    /// Confirms and follows until the message has nothing left to do. Bounded by [`MOST_CONFIRMS`].
    async fn pay(
        &self,
        order: &Order,
        id: &PaymentId,
        first: Next,
        effort: &Effort,
    ) -> Result<Look, NotDriven> {
        let (mut order, mut next) = (order.clone(), first);
        loop {
            next = match next {
                Next::Done(look) => return Ok(look),
                Next::Confirm(current) => {
                    order = *current;
                    self.confirm(&order, id, effort).await?
                }
                Next::Told(payment, told) => self.follow(&order, payment, told, effort).await?,
            };
        }
    }

    /// Takes the money by the current try. Only for a payment whose id and a try whose key are stored with the order.
    async fn confirm(&self, order: &Order, id: &PaymentId, effort: &Effort) -> Result<Next, NotDriven> {
        if effort.confirms.fetch_add(1, Ordering::Relaxed) >= MOST_CONFIRMS {
            return Err(GatewayError::Unknown.into());
        }
        let Some(current) = order.current_try() else {
            return Err(NotDriven::Contradiction("the order has no card"));
        };
        let Ok(method) = current.method.parse::<PaymentMethod>() else {
            return self.declined(order, id, "invalid_account", None, effort).await;
        };
        let key = IdempotencyKey::of_try(&order.id, current);
        let not_done = |error: &GatewayError| error.is_transient() && error.is_certainly_undone();
        let answer = retry_if(&self.edge, effort.gateway, not_done, || {
            self.gateway.confirm(id, &method, &self.return_url, &key)
        })
        .await;
        let error = match answer {
            Ok(payment) => return Ok(Next::Told(payment, Told::ByConfirm)),
            Err(error) => error,
        };
        let code = match &error {
            GatewayError::Unknown | GatewayError::Unavailable => None,
            GatewayError::Refused { code } => Some(code),
            _ => return Err(error.into()),
        };
        let payment = self.find(id, effort).await?;
        if !is_open_to(order, &payment) {
            // It was done, or had merely moved on.
            return Ok(Next::Told(payment, Told::ByLookUp));
        }
        let Some(code) = code else {
            return Ok(Next::Done(Look::Again));
        };
        // The gateway knows the payment and will not charge this card, now or later.
        tracing::error!(payment = %id, %code, "the payment gateway refused to confirm the payment");
        self.declined(order, id, code.as_str(), None, effort).await
    }

    /// Stores what follows from where the payment stands.
    async fn follow(
        &self,
        order: &Order,
        payment: Payment,
        told: Told,
        effort: &Effort,
    ) -> Result<Next, NotDriven> {
        let id = &payment.id;
        let open = is_open_to(order, &payment);
        let look = match payment.state {
            PaymentState::Succeeded { captured } => {
                if captured != order.amount {
                    tracing::error!(payment = %id, "another amount was captured");
                }
                let step = order.settle(self.edge.now())?;
                self.end(&step).await
            }
            // Nobody here asked for it: the gateway ends a payment that was confirmed too often, and its users may cancel one.
            PaymentState::Cancelled => self.undo(order, EndReason::PaymentDeclined).await,
            // What a confirm answers is about its own try.
            PaymentState::Declined { .. } | PaymentState::Unconfirmed if open && told == Told::ByLookUp => {
                return Ok(Next::Confirm(Box::new(order.clone())));
            }
            PaymentState::Declined { reason, charge, .. } => {
                return self.declined(order, id, reason.as_str(), charge, effort).await;
            }
            PaymentState::Unconfirmed => Ok(Look::Again),
            PaymentState::ActionRequired { url } => {
                let known = order.action.as_ref().is_some_and(|action| action.url == url);
                if order.turn == Turn::Shopper && self.is_over(order) {
                    let look = self.give_up(order, EndReason::PaymentDeadline, effort).await?;
                    return Ok(Next::Done(look));
                }
                if known {
                    return Ok(Next::Done(Look::Done(Driven::Waiting)));
                }
                let step = order.require_action(url, self.edge.now())?;
                Ok(Look::of(self.store(&step).await?, Driven::Waiting))
            }
            PaymentState::Processing if order.status == OrderStatus::ActionRequired => {
                let step = order.acted(self.edge.now())?;
                Ok(Look::of(self.store(&step).await?, Driven::Waiting))
            }
            PaymentState::Processing => {
                self.tell_if_late(order);
                Ok(Look::Done(Driven::Waiting))
            }
        };
        look.map(Next::Done)
    }

    /// The current try was declined.
    async fn declined(
        &self,
        order: &Order,
        id: &PaymentId,
        code: &str,
        charge: Option<PaymentId>,
        effort: &Effort,
    ) -> Result<Next, NotDriven> {
        let (reason, now) = (DeclineReason::of_code(code), self.edge.now());
        let n = order.tries.len();
        tracing::info!(payment = %id, attempt = n, reason = reason.as_str(), "the card was declined");
        if reason == DeclineReason::TryAgain && order.may_try_again() {
            let step = order.try_again(reason, charge, now)?;
            let next = if self.store(&step).await?.is_done() {
                Next::Confirm(Box::new(step.order))
            } else {
                Next::Done(Look::Again)
            };
            return Ok(next);
        }
        if order.cards_left > 0 {
            let step = order.declined(reason, charge, now)?;
            return Ok(Next::Done(Look::of(self.store(&step).await?, Driven::Waiting)));
        }
        let step = order.declined_for_good(reason, charge, now)?;
        self.give_up_by(&step, id, effort).await.map(Next::Done)
    }

    /// Whether the time of whose turn it is has passed.
    fn is_over(&self, order: &Order) -> bool {
        order.payment_deadline <= self.edge.now()
    }

    /// Stores that the order is to end, and why, before the gateway is asked: from then on no further card is accepted.
    async fn give_up(&self, order: &Order, reason: EndReason, effort: &Effort) -> Result<Look, NotDriven> {
        let step = order.request_cancel(reason, self.edge.now())?;
        match &order.payment_id {
            Some(id) if step.effect.is_none() => self.give_up_by(&step, id, effort).await,
            _ => self.end(&step).await,
        }
    }

    async fn give_up_by(&self, step: &OrderStep, id: &PaymentId, effort: &Effort) -> Result<Look, NotDriven> {
        match step.order.cancel_requested {
            Some(reason) if self.store(step).await?.is_done() => {
                self.cancel(&step.order, id, reason, effort).await
            }
            _ => Ok(Look::Again),
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
        let cancelled = retry(&self.edge, effort.gateway, || self.gateway.cancel(id)).await;
        let payment = match cancelled {
            // What the gateway does not know it does not cancel.
            Err(GatewayError::Refused { .. }) => match self.find(id, effort).await {
                Err(NotDriven::NoPayment) if order.is_not_at_gateway() => {
                    tracing::warn!(payment = %id, "the gateway does not know the payment, as the operator stated");
                    return self.undo(order, reason).await;
                }
                found => found?,
            },
            answer => answer?,
        };
        match payment.state {
            PaymentState::Cancelled => self.undo(order, reason).await,
            PaymentState::Succeeded { .. } => {
                let step = order.settle(self.edge.now())?;
                self.end(&step).await
            }
            // It cannot be stopped any more and has not ended yet.
            PaymentState::Processing => {
                self.tell_if_late(order);
                Ok(Look::Done(Driven::Waiting))
            }
            PaymentState::Unconfirmed
            | PaymentState::ActionRequired { .. }
            | PaymentState::Declined { .. } => Err(NotDriven::Contradiction("the gateway did not cancel")),
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
}

/// Whether the payment is open to the current try: nothing that the gateway says is about it yet.
fn is_open_to(order: &Order, payment: &Payment) -> bool {
    match &payment.state {
        PaymentState::Unconfirmed => true,
        PaymentState::Declined { method, charge, .. } => {
            !order.is_of_current_try(method.as_ref().map(PaymentMethod::as_str), charge.as_ref())
        }
        _ => false,
    }
}
