//! One order, one look, the next step.

use std::sync::atomic::{AtomicU32, Ordering};

use domain::ids::OrderId;
use domain::limits::{CALLS_PER_PAYMENT, GATEWAY_TURN_MS, MAX_CARD_DECLINES, PROCESS_ORDER_TIMEOUT_SECONDS};
use domain::order::{DeclineReason, EndReason, NotPossible, Order, OrderStatus, OrderStep};
use domain::saga::{Action, Turn, step};
use domain::time::Timestamp;
use ports::calls::TakeCalls;
use ports::edge::Edge;
use ports::orders::{AdvanceOrder, NoteDecline, ReadOrder};
use ports::payment::{
    CardFingerprint, GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId,
    PaymentMethod, PaymentState,
};
use ports::retry::{self, IN_WORKER, Policy, Transient as _, look_again, retry, retry_if};
use ports::{Conditional, StoreError};
use secrets::FETCH_TIMEOUT_MS;

use crate::calls::{Calls, Pace};

/// Looks at one order by one message, after a conflict or a lost answer: six at most.
const LOOKS: Policy = Policy::new(5, 60, 960);
/// Repeats of one call to the gateway: enough to outwait an outage of a few seconds, which the budget bounds in any case.
/// After that the order waits for the sweeper.
const GATEWAY: Policy = Policy::new(6, 50, 1_600);
/// Confirms per message, our own repeat of a card included; more are left to the sweeper.
const MOST_CONFIRMS: u32 = 3;
/// How long after its turn at the gateway a message still starts something new, in milliseconds.
pub const BUDGET_MS: u64 = 6_000;
/// How long one call to the gateway may take, in milliseconds.
pub const GATEWAY_CALL_MS: u64 = 4_000;
/// How long storing what the gateway said takes at worst in one go, in milliseconds: one attempt and a look.
const STORE_MS: u64 = 4_000;

const _: () = assert!(
    GATEWAY_TURN_MS as u64 + BUDGET_MS + FETCH_TIMEOUT_MS + GATEWAY_CALL_MS + STORE_MS
        < PROCESS_ORDER_TIMEOUT_SECONDS as u64 * 1000,
    "a message must be done with what it started, its turn and reading the gateway's key included, before the function is ended"
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
    /// The shopper or the gateway is at it, or the gateway's rate leaves no call for it now; the sweeper will look again.
    Waiting,
    /// The gateway gave no usable answer; the sweeper will look again.
    WithoutGateway,
    /// A reminder that is stale: the order was put off again since, so another one comes or has come.
    Stale,
}

/// How long a message waits for its turn at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as its budget allows.
    Long,
    /// A moment: there is, or was, another message about the order, whose turn may come sooner. Turns that are taken for both would be lost.
    Short,
}

impl Patience {
    const fn ms(self) -> i64 {
        match self {
            Self::Long => GATEWAY_TURN_MS as i64,
            Self::Short => 1_000,
        }
    }
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
    calls: Calls,
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

/// What the gateway said of a declined try.
struct Decline<'a> {
    code: &'a str,
    charge: Option<PaymentId>,
    card: Option<CardFingerprint>,
}

impl<'a> Decline<'a> {
    /// A try that made no charge.
    const fn of(code: &'a str) -> Self {
        Self {
            code,
            charge: None,
            card: None,
        }
    }
}

/// What is counted within one message.
struct Effort {
    /// When nothing new is begun any more.
    until: Timestamp,
    /// [`GATEWAY`], within the message's budget.
    gateway: Policy,
    confirms: AtomicU32,
    /// Calls of the gateway whose turns have come and that were not made yet.
    calls: AtomicU32,
}

impl<O, G, E> Driver<O, G, E>
where
    O: ReadOrder + AdvanceOrder + TakeCalls + NoteDecline,
    G: PaymentGateway,
    E: Edge,
{
    /// The function over its ports. It calls the gateway at `pace`; the bank sends shoppers back to `return_url`.
    pub fn new(orders: O, gateway: G, pace: Pace, return_url: String, edge: E) -> Self {
        Self {
            orders,
            gateway,
            calls: Calls::new(pace),
            edge,
            return_url,
        }
    }

    /// Brings an order as far as it goes now, with this patience for the order's turn at the gateway. A reminder says when the next one is due:
    /// once the order is put off to later than that, the reminder is stale and nothing is done.
    ///
    /// # Errors
    /// [`NotDriven`]: the message must come again.
    pub async fn drive(
        &self,
        id: &OrderId,
        next_due: Option<Timestamp>,
        patience: Patience,
    ) -> Result<Driven, NotDriven> {
        match self.try_drive(id, next_due, patience).await {
            Err(NotDriven::Gateway(GatewayError::Throttled { retry_after_ms })) => {
                // The message is done with: coming again it would count towards the dead letters, and the order stands in the index of open
                // orders, so that the sweeper reminds of it.
                tracing::info!(
                    retry_after_ms,
                    "the payment gateway's rate leaves no call for the order now"
                );
                Ok(Driven::Waiting)
            }
            driven => driven,
        }
    }

    async fn try_drive(
        &self,
        id: &OrderId,
        next_due: Option<Timestamp>,
        patience: Patience,
    ) -> Result<Driven, NotDriven> {
        let order = self.read(id).await?;
        if is_stale(&order, next_due) {
            return Ok(Driven::Stale);
        }
        let calls = calls_ahead(&order);
        let mut read = Some(order);
        if calls > 0 {
            let latest = self.edge.now().plus_millis(patience.ms());
            if self.calls.turn(&self.orders, &self.edge, calls, latest).await? > 0 {
                // It may have changed meanwhile.
                read = None;
            }
        }
        let until = self.edge.now().plus_millis(BUDGET_MS.cast_signed());
        let effort = Effort {
            until,
            gateway: GATEWAY.until(until),
            confirms: AtomicU32::new(0),
            calls: AtomicU32::new(calls),
        };
        let look = |_| self.look(id, next_due, read.take(), &effort);
        let driven = look_again(&self.edge, LOOKS.until(until), look).await?;
        driven.ok_or(NotDriven::Unfinished)
    }

    async fn read(&self, id: &OrderId) -> Result<Order, NotDriven> {
        let order = retry(&self.edge, IN_WORKER, || self.orders.order(id)).await?;
        order.ok_or(NotDriven::NoOrder)
    }

    /// One call of the gateway, once its turn has come.
    async fn call<T, F>(&self, effort: &Effort, call: impl FnOnce() -> F) -> Result<T, GatewayError>
    where
        F: Future<Output = Result<T, GatewayError>>,
    {
        let taken = |left: u32| left.checked_sub(1);
        let is_left = effort
            .calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        let calls = u32::from(is_left.is_err());
        self.calls
            .turn(&self.orders, &self.edge, calls, effort.until)
            .await?;
        let answer = call().await;
        if let Err(GatewayError::Throttled { retry_after_ms }) = &answer {
            self.calls.slow_down(&self.edge, *retry_after_ms);
        }
        answer
    }

    async fn look(
        &self,
        id: &OrderId,
        next_due: Option<Timestamp>,
        read: Option<Order>,
        effort: &Effort,
    ) -> Result<Look, NotDriven> {
        let order = match read {
            Some(order) => order,
            None => self.read(id).await?,
        };
        if !order.status.is_open() {
            return Ok(Look::Done(Driven::Ended(order.status)));
        }
        if is_stale(&order, next_due) {
            return Ok(Look::Done(Driven::Stale));
        }
        match self.advance(&order, effort).await {
            // A 429 ends the message without a warning. A refusal fails the message: an engineer has to look.
            Err(NotDriven::Gateway(
                error @ (GatewayError::Throttled { .. } | GatewayError::Refused { .. }),
            )) => Err(error.into()),
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
        let key = IdempotencyKey::create_after(&order.id, order.create_keys_used);
        // Under one key a repeat is the same payment, so a lost answer is asked for again.
        let create = || self.call(effort, || self.gateway.create(&new, &key));
        let payment = match retry(&self.edge, effort.gateway, create).await {
            Ok(payment) => payment,
            // Nobody can look for a payment by its key, and none is needed: what was never confirmed takes no money. The next key's payment is the
            // one that is stored and confirmed; one that this key may have made stays unconfirmed for good.
            Err(GatewayError::StoredFailure) => return self.next_key(order).await,
            Err(error) => return Err(error.into()),
        };
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
            return self
                .declined(order, id, Decline::of("invalid_account"), effort)
                .await;
        };
        let key = IdempotencyKey::of_try(&order.id, current);
        let not_done = |error: &GatewayError| error.is_transient() && error.is_certainly_undone();
        let confirm = || {
            self.call(effort, || {
                self.gateway.confirm(id, &method, &self.return_url, &key)
            })
        };
        let answer = retry_if(&self.edge, effort.gateway, not_done, confirm).await;
        let error = match answer {
            Ok(payment) => return Ok(Next::Told(payment, Told::ByConfirm)),
            Err(error) => error,
        };
        let code = match &error {
            GatewayError::Unknown | GatewayError::Unavailable | GatewayError::StoredFailure => None,
            GatewayError::Refused { code } => Some(code),
            _ => return Err(error.into()),
        };
        let payment = self.find(id, effort).await?;
        if !is_open_to(order, &payment) {
            // It was done, or had merely moved on.
            return Ok(Next::Told(payment, Told::ByLookUp));
        }
        let Some(code) = code else {
            let look = match error {
                GatewayError::StoredFailure => self.next_key(order).await?,
                _ => Look::Again,
            };
            return Ok(Next::Done(look));
        };
        // The gateway knows the payment and will not charge this card, now or later.
        tracing::error!(payment = %id, %code, "the payment gateway refused to confirm the payment");
        self.declined(order, id, Decline::of(code.as_str()), effort).await
    }

    /// The gateway stored a failure under the key, and nothing was taken: the same call is to be made under the next key, which is stored first.
    async fn next_key(&self, order: &Order) -> Result<Look, NotDriven> {
        match order.next_key(self.edge.now()) {
            Ok(step) => {
                self.store(&step).await?;
                Ok(Look::Again)
            }
            Err(_) => Err(GatewayError::StoredFailure.into()),
        }
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
            PaymentState::Declined {
                reason, charge, card, ..
            } => {
                let decline = Decline {
                    code: reason.as_str(),
                    charge,
                    card,
                };
                return self.declined(order, id, decline, effort).await;
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
        decline: Decline<'_>,
        effort: &Effort,
    ) -> Result<Next, NotDriven> {
        let (reason, now) = (DeclineReason::of_code(decline.code), self.edge.now());
        let n = order.tries.len();
        tracing::info!(payment = %id, attempt = n, reason = reason.as_str(), "the card was declined");
        if reason == DeclineReason::TryAgain && order.may_try_again() {
            let step = order.try_again(reason, decline.charge, now)?;
            let next = if self.store(&step).await?.is_done() {
                Next::Confirm(Box::new(step.order))
            } else {
                Next::Done(Look::Again)
            };
            return Ok(next);
        }
        let is_tested = self.is_tested(order, decline.card.as_ref()).await?;
        if order.cards_left > 0 && !is_tested {
            let step = order.declined(reason, decline.charge, now)?;
            return Ok(Next::Done(Look::of(self.store(&step).await?, Driven::Waiting)));
        }
        let step = order.declined_for_good(reason, decline.charge, now)?;
        self.give_up_by(&step, id, effort).await.map(Next::Done)
    }

    /// Notes the declined card, and returns whether it was declined in so many orders of the drop that somebody seems to test it.
    async fn is_tested(&self, order: &Order, card: Option<&CardFingerprint>) -> Result<bool, NotDriven> {
        let Some(card) = card else {
            return Ok(false);
        };
        let drop = &order.reservation.shard.drop;
        let note = || self.orders.note_decline(drop, card, &order.id);
        let orders = retry(&self.edge, IN_WORKER, note).await?;
        let is_tested = orders >= MAX_CARD_DECLINES;
        if is_tested {
            tracing::warn!(
                orders,
                "one card was declined in many orders of the drop; the order takes no further card"
            );
        }
        Ok(is_tested)
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
        let cancel = || self.call(effort, || self.gateway.cancel(id));
        let payment = match retry(&self.edge, effort.gateway, cancel).await {
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
        let find = || self.call(effort, || self.gateway.find(id));
        let found = retry(&self.edge, effort.gateway, find).await?;
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

/// Whether the reminder is stale: the order was put off to later than the next reminder that it tells of.
fn is_stale(order: &Order, next_due: Option<Timestamp>) -> bool {
    order.status.is_open() && next_due.is_some_and(|next| order.due_at > next)
}

/// The calls of the gateway that a message about this order makes at least.
fn calls_ahead(order: &Order) -> u32 {
    match (step(order.status), &order.payment_id) {
        (None, _) => 0,
        (Some(_), None) if order.terms.cards == 0 => 0,
        // To create and to confirm: a payment that is created and not confirmed costs a look-up more.
        (Some(_), None) => CALLS_PER_PAYMENT,
        (Some((Action::AwaitCard, _)), Some(_)) if order.cancel_requested.is_none() => 0,
        (Some(_), Some(_)) => 1,
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
