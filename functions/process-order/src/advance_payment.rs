//! Advances the payment of one order for one message: reads the order, calls the gateway, and stores the next step.

use std::sync::atomic::{AtomicU32, Ordering};

use domain::ids::OrderId;
use domain::limits::{CALLS_PER_PAYMENT, GATEWAY_TURN_MS, MAX_CARD_DECLINES, PROCESS_ORDER_TIMEOUT_SECONDS};
use domain::order::{DeclineReason, EndReason, NotPossible, Order, OrderStatus, OrderStep};
use domain::saga::{Action, Turn, step};
use domain::time::Timestamp;
use ports::calls::TakeCalls;
use ports::orders::{AdvanceOrder, NoteDecline, ReadOrder};
use ports::payment::{
    CardFingerprint, GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId,
    PaymentMethod, PaymentState,
};
use ports::retry::{self, IN_WORKER, Policy, Transient as _, retry, retry_if, retry_on_conflict};
use ports::runtime::Runtime;
use ports::{Conditional, StoreError};
use secrets::FETCH_TIMEOUT_MS;

use crate::calls::{Calls, Pace};

/// The largest number of reads of one order for one message. A conflict or a lost answer requires another
/// read.
const ATTEMPTS: Policy = Policy::new(5, 60, 960);
/// Repeats of one call to the gateway. They bridge an outage of a few seconds; the message's time budget
/// limits them too. After the last repeat, the order waits for the sweeper.
const GATEWAY: Policy = Policy::new(6, 50, 1_600);
/// The largest number of confirms for one message, including repeats with the same card. Further confirms
/// wait for the sweeper.
const MOST_CONFIRMS: u32 = 3;
/// The time from the beginning of a message's call slots until which the message may begin a new step, in milliseconds.
pub const BUDGET_MS: u64 = 6_000;
/// The time limit of one call to the gateway, in milliseconds.
pub const GATEWAY_CALL_MS: u64 = 4_000;
/// The longest time for storing the gateway's answer, in milliseconds: one attempt and one read.
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

/// How the payment stands after a message was processed. In each case the message is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advanced {
    /// The order has ended.
    Ended(OrderStatus),
    /// The order waits for the shopper or the gateway, or the gateway's rate leaves no call for it now. The
    /// sweeper sends a reminder later.
    Waiting,
    /// The gateway gave no usable answer. The sweeper sends a reminder later.
    WithoutGateway,
    /// The reminder is stale: the order's due time was moved after this reminder was sent, so a later
    /// reminder is or was sent.
    Stale,
}

/// How long a message may wait for its call slots at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as the message's time budget allows.
    Long,
    /// A short time. Another message about the order exists or existed, and its slots may begin earlier. If both
    /// messages took slots, the slots of one message would be wasted.
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

/// Why a message must be redelivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdvanced {
    /// A call to the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gateway refuses a call because of a fault of this project, so an engineer must act. A 429 becomes
    /// [`Advanced::Waiting`], and every other failure of the gateway [`Advanced::WithoutGateway`].
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The database does not have the order.
    #[error("no such order")]
    NoOrder,
    /// The gateway does not have the payment that the order names, because the payment belongs to another
    /// account or another gateway. Becomes [`Advanced::WithoutGateway`].
    #[error("the gateway does not know the order's payment")]
    NoPayment,
    /// The order keeps changing, or the time budget is used up.
    #[error("not finished in time")]
    Unfinished,
    /// The order and the gateway contradict each other in a way that no step of this function can cause.
    #[error("order and gateway contradict each other: {0}")]
    Contradiction(&'static str),
}

impl From<NotPossible> for NotAdvanced {
    fn from(_: NotPossible) -> Self {
        Self::Contradiction("the step does not follow from the order")
    }
}

type Attempt = retry::Attempt<Advanced>;

/// Advances payments: reads an order, calls the gateway, and stores the next step.
#[derive(Debug, Clone)]
pub struct PaymentSaga<O, G, R> {
    orders: O,
    gateway: G,
    calls: Calls,
    runtime: R,
    /// The URL to which the bank returns the shopper. It is a parameter of the confirm and therefore of its
    /// idempotency key: a changed URL makes the gateway refuse the key for orders that are being confirmed at
    /// that moment.
    return_url: String,
}

/// Which call returned the payment's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FoundBy {
    /// The confirm of the current try.
    Confirm,
    /// A look-up, which may report the result of an earlier try.
    LookUp,
}

/// The next action of a message on a payment.
enum Next {
    /// No action is left for the order as it was read.
    Done(Attempt),
    /// Confirm the payment with the current try of this order, which is stored.
    Confirm(Box<Order>),
    /// Act on the gateway's answer.
    Follow(Payment, FoundBy),
}

/// The gateway's reason for declining a try.
struct Decline<'a> {
    code: &'a str,
    charge: Option<PaymentId>,
    card: Option<CardFingerprint>,
}

impl<'a> Decline<'a> {
    /// A decline for which the gateway reports neither a charge nor a card.
    const fn of(code: &'a str) -> Self {
        Self {
            code,
            charge: None,
            card: None,
        }
    }
}

/// The limits of one message, and how much of them the message has used.
struct Budget {
    /// The time after which no new step begins.
    until: Timestamp,
    /// The retry policy [`GATEWAY`], limited to the message's time budget.
    gateway: Policy,
    confirms: AtomicU32,
    /// Gateway calls whose slots have begun and that have not been made yet.
    calls: AtomicU32,
}

impl<O, G, R> PaymentSaga<O, G, R>
where
    O: ReadOrder + AdvanceOrder + TakeCalls + NoteDecline,
    G: PaymentGateway,
    R: Runtime,
{
    /// A saga that uses these ports and calls the gateway at `pace`. The bank returns shoppers to `return_url`.
    pub fn new(orders: O, gateway: G, pace: Pace, return_url: String, runtime: R) -> Self {
        Self {
            orders,
            gateway,
            calls: Calls::new(pace),
            runtime,
            return_url,
        }
    }

    /// Takes all steps of an order that are possible now. `patience` limits the wait for the order's call slots at the
    /// gateway. A reminder contains the time of the next reminder, `next_due`. If the order's due time is later than
    /// `next_due`, the reminder is stale and nothing is done.
    ///
    /// # Errors
    ///
    /// [`NotAdvanced`]: the message must be redelivered.
    pub async fn advance_payment(
        &self,
        id: &OrderId,
        next_due: Option<Timestamp>,
        patience: Patience,
    ) -> Result<Advanced, NotAdvanced> {
        match self.try_advance(id, next_due, patience).await {
            Err(NotAdvanced::Gateway(GatewayError::Throttled { retry_after_ms })) => {
                // The message is deleted, since a redelivery would count towards the dead-letter limit. The
                // order is in the index of open orders, so the sweeper sends a reminder.
                tracing::info!(
                    retry_after_ms,
                    "the payment gateway's rate leaves no call for the order now; the sweeper sends a reminder"
                );
                Ok(Advanced::Waiting)
            }
            advanced => advanced,
        }
    }

    async fn try_advance(
        &self,
        id: &OrderId,
        next_due: Option<Timestamp>,
        patience: Patience,
    ) -> Result<Advanced, NotAdvanced> {
        let order = self.read(id).await?;
        if is_stale(&order, next_due) {
            return Ok(Advanced::Stale);
        }
        let calls = calls_ahead(&order);
        let mut read = Some(order);
        if calls > 0 {
            let latest = self.runtime.now().plus_millis(patience.ms());
            let turn = self.calls.turn(&self.orders, &self.runtime, calls, latest);
            if turn.await? > 0 {
                // The order may have changed during the wait.
                read = None;
            }
        }
        let until = self.runtime.now().plus_millis(BUDGET_MS.cast_signed());
        let budget = Budget {
            until,
            gateway: GATEWAY.until(until),
            confirms: AtomicU32::new(0),
            calls: AtomicU32::new(calls),
        };
        let attempt = |_| self.attempt(id, next_due, read.take(), &budget);
        let advanced = retry_on_conflict(&self.runtime, ATTEMPTS.until(until), attempt).await?;
        advanced.ok_or(NotAdvanced::Unfinished)
    }

    async fn read(&self, id: &OrderId) -> Result<Order, NotAdvanced> {
        let order = retry(&self.runtime, IN_WORKER, || self.orders.order(id)).await?;
        order.ok_or(NotAdvanced::NoOrder)
    }

    /// Makes one call to the gateway when the slot of the call has begun.
    async fn call<T, F>(&self, budget: &Budget, call: impl FnOnce() -> F) -> Result<T, GatewayError>
    where
        F: Future<Output = Result<T, GatewayError>>,
    {
        let taken = |left: u32| left.checked_sub(1);
        let is_left = budget
            .calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        let calls = u32::from(is_left.is_err());
        self.calls
            .turn(&self.orders, &self.runtime, calls, budget.until)
            .await?;
        let answer = call().await;
        if let Err(GatewayError::Throttled { retry_after_ms }) = &answer {
            self.calls.slow_down(&self.runtime, *retry_after_ms);
        }
        answer
    }

    async fn attempt(
        &self,
        id: &OrderId,
        next_due: Option<Timestamp>,
        read: Option<Order>,
        budget: &Budget,
    ) -> Result<Attempt, NotAdvanced> {
        let order = match read {
            Some(order) => order,
            None => self.read(id).await?,
        };
        if !order.status.is_open() {
            return Ok(Attempt::Done(Advanced::Ended(order.status)));
        }
        if is_stale(&order, next_due) {
            return Ok(Attempt::Done(Advanced::Stale));
        }
        match self.take_step(&order, budget).await {
            // A 429 ends the message without a warning. A refusal fails the message, since an engineer must
            // act.
            Err(NotAdvanced::Gateway(
                error @ (GatewayError::Throttled { .. } | GatewayError::Refused { .. }),
            )) => Err(error.into()),
            Err(why @ (NotAdvanced::Gateway(_) | NotAdvanced::NoPayment)) => {
                Ok(self.without_gateway(&order, &why))
            }
            done => done,
        }
    }

    async fn take_step(&self, order: &Order, budget: &Budget) -> Result<Attempt, NotAdvanced> {
        let (Some((action, _)), Some(id)) = (step(order.status), &order.payment_id) else {
            return self.begin(order, budget).await;
        };
        if let Some(reason) = order.cancel_requested {
            return self.cancel(order, id, reason, budget).await;
        }
        match action {
            Action::AwaitCard if self.is_over(order) => {
                self.give_up(order, EndReason::PaymentDeadline, budget).await
            }
            Action::AwaitCard => Ok(Attempt::Done(Advanced::Waiting)),
            Action::Create | Action::Confirm | Action::LookUp => {
                let payment = self.find(id, budget).await?;
                self.pay(order, id, Next::Follow(payment, FoundBy::LookUp), budget)
                    .await
            }
        }
    }

    /// Only this function lets the order wait after a missing answer of the gateway. The order waits until the gateway
    /// answers or an operator ends the order.
    fn without_gateway(&self, order: &Order, why: &NotAdvanced) -> Attempt {
        let to_do = match why {
            NotAdvanced::Gateway(GatewayError::NoKey | GatewayError::WrongMode) => Some(
                "put the gateway's valid key, of the mode that GATEWAY_MODE names, into the secret that GATEWAY_SECRET names",
            ),
            NotAdvanced::NoPayment => {
                Some("see whether the key is of another account; if not, an operator ends the order")
            }
            _ => None,
        };
        // The alarm `GatewaySilent` counts this line.
        tracing::warn!(%why, to_do, "payment gateway gave no usable answer; the order waits, and the sweeper sends a reminder");
        self.log_if_late(order);
        Attempt::Done(Advanced::WithoutGateway)
    }

    fn log_if_late(&self, order: &Order) {
        let now = self.runtime.now();
        if order.gateway_wait().is_some_and(|(_, until)| until <= now) {
            // The alarm `GatewayAwaited` counts this line.
            tracing::error!("payment gateway away for too long; an operator must keep or end the order");
        }
    }

    /// An order without a payment was never confirmed at the gateway, so it gets one try even after its deadline.
    async fn begin(&self, order: &Order, budget: &Budget) -> Result<Attempt, NotAdvanced> {
        if order.terms.cards == 0 {
            tracing::info!(
                "too many cards of the shopper were declined in the drop; the order ends without a call to the gateway"
            );
            return self.undo(order, EndReason::PaymentDeclined).await;
        }
        let new = NewPayment {
            order: order.id.clone(),
            amount: order.amount,
        };
        let key = IdempotencyKey::create_after(&order.id, order.create_keys_used);
        // A repeat with the same key returns the same payment, so a call whose answer was lost is repeated.
        let create = || self.call(budget, || self.gateway.create(&new, &key));
        let payment = match retry(&self.runtime, budget.gateway, create).await {
            Ok(payment) => payment,
            // The next key is used, since a payment cannot be looked up by its key. If the current key did create
            // a payment, that payment stays unconfirmed forever and takes no money: only the payment of the next
            // key is stored and confirmed.
            Err(GatewayError::StoredFailure) => return self.next_key(order).await,
            Err(error) => return Err(error.into()),
        };
        if payment.amount != order.amount {
            return Err(NotAdvanced::Contradiction("the payment is of another amount"));
        }
        let step = order.with_payment(payment.id.clone(), self.runtime.now())?;
        if self.store(&step).await?.is_done() {
            let next = Next::Confirm(Box::new(step.order.clone()));
            self.pay(&step.order, &payment.id, next, budget).await
        } else {
            // Another worker has changed the order. If it stored another payment's id, this payment stays
            // unconfirmed.
            Ok(Attempt::Again)
        }
    }

    /// Confirms the payment and follows the result until the message has no step left. [`MOST_CONFIRMS`]
    /// limits the confirms.
    async fn pay(
        &self,
        order: &Order,
        id: &PaymentId,
        first: Next,
        budget: &Budget,
    ) -> Result<Attempt, NotAdvanced> {
        let (mut order, mut next) = (order.clone(), first);
        loop {
            next = match next {
                Next::Done(attempt) => return Ok(attempt),
                Next::Confirm(current) => {
                    order = *current;
                    self.confirm(&order, id, budget).await?
                }
                Next::Follow(payment, found_by) => self.follow(&order, payment, found_by, budget).await?,
            };
        }
    }

    /// Confirms with the current try, which takes the money. Requires that the payment's id and the try with
    /// its key are stored with the order.
    async fn confirm(&self, order: &Order, id: &PaymentId, budget: &Budget) -> Result<Next, NotAdvanced> {
        if budget.confirms.fetch_add(1, Ordering::Relaxed) >= MOST_CONFIRMS {
            return Err(GatewayError::Unknown.into());
        }
        let Some(current) = order.current_try() else {
            return Err(NotAdvanced::Contradiction("the order has no card"));
        };
        let Ok(method) = current.method.parse::<PaymentMethod>() else {
            let decline = Decline::of("invalid_account");
            return self.declined(order, id, decline, budget).await;
        };
        let key = IdempotencyKey::of_try(&order.id, current);
        let not_done = |error: &GatewayError| error.is_transient() && error.is_certainly_undone();
        let call = || self.gateway.confirm(id, &method, &self.return_url, &key);
        let confirm = || self.call(budget, call);
        let answer = retry_if(&self.runtime, budget.gateway, not_done, confirm).await;
        let error = match answer {
            Ok(payment) => return Ok(Next::Follow(payment, FoundBy::Confirm)),
            Err(error) => error,
        };
        let code = match &error {
            GatewayError::Unknown | GatewayError::Unavailable | GatewayError::StoredFailure => None,
            GatewayError::Refused { code } => Some(code),
            _ => return Err(error.into()),
        };
        let payment = self.find(id, budget).await?;
        if !is_open_to(order, &payment) {
            // The confirm took effect without an answer, or it was refused because the payment was in a later state.
            return Ok(Next::Follow(payment, FoundBy::LookUp));
        }
        let Some(code) = code else {
            let attempt = match error {
                GatewayError::StoredFailure => self.next_key(order).await?,
                _ => Attempt::Again,
            };
            return Ok(Next::Done(attempt));
        };
        // The gateway has the payment and refuses each confirm with this card, so the try counts as declined.
        tracing::error!(payment = %id, %code, "the payment gateway refused to confirm the payment; the card counts as declined");
        self.declined(order, id, Decline::of(code.as_str()), budget).await
    }

    /// The gateway stored a failure under the key and took no money. The same call is made with the next key,
    /// which is stored first.
    async fn next_key(&self, order: &Order) -> Result<Attempt, NotAdvanced> {
        match order.next_key(self.runtime.now()) {
            Ok(step) => {
                self.store(&step).await?;
                Ok(Attempt::Again)
            }
            Err(_) => Err(GatewayError::StoredFailure.into()),
        }
    }

    /// Stores the step that follows from the payment's state.
    async fn follow(
        &self,
        order: &Order,
        payment: Payment,
        found_by: FoundBy,
        budget: &Budget,
    ) -> Result<Next, NotAdvanced> {
        let id = &payment.id;
        let open = is_open_to(order, &payment);
        let attempt = match payment.state {
            PaymentState::Succeeded { captured } => {
                if captured != order.amount {
                    let expected = order.amount;
                    tracing::error!(payment = %id, ?captured, ?expected, "the gateway captured another amount than the order's; the order becomes paid, so correct the amount at the gateway");
                }
                let step = order.settle(self.runtime.now())?;
                self.end(&step).await
            }
            // This function did not request the cancellation. The gateway ends a payment that was confirmed
            // too often, and users of the gateway's dashboard may cancel a payment.
            PaymentState::Cancelled => self.undo(order, EndReason::PaymentDeclined).await,
            // Only a look-up may report an older try. The answer to a confirm is always about the confirmed try.
            PaymentState::Declined { .. } | PaymentState::Unconfirmed
                if open && found_by == FoundBy::LookUp =>
            {
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
                return self.declined(order, id, decline, budget).await;
            }
            PaymentState::Unconfirmed => Ok(Attempt::Again),
            PaymentState::ActionRequired { .. } if order.turn == Turn::Shopper && self.is_over(order) => {
                self.give_up(order, EndReason::PaymentDeadline, budget).await
            }
            PaymentState::ActionRequired { url } => {
                if order.action.as_ref().is_some_and(|action| action.url == url) {
                    return Ok(Next::Done(Attempt::Done(Advanced::Waiting)));
                }
                self.wait(&order.require_action(url, self.runtime.now())?).await
            }
            PaymentState::Processing if order.status == OrderStatus::ActionRequired => {
                self.wait(&order.acted(self.runtime.now())?).await
            }
            PaymentState::Processing => {
                self.log_if_late(order);
                Ok(Attempt::Done(Advanced::Waiting))
            }
        };
        attempt.map(Next::Done)
    }

    /// Stores what follows a decline of the current try: the same card again, another card, or the order's end.
    async fn declined(
        &self,
        order: &Order,
        id: &PaymentId,
        decline: Decline<'_>,
        budget: &Budget,
    ) -> Result<Next, NotAdvanced> {
        let (reason, now) = (DeclineReason::of_code(decline.code), self.runtime.now());
        let n = order.tries.len();
        tracing::info!(payment = %id, attempt = n, reason = reason.as_str(), "the card was declined");
        if reason == DeclineReason::TryAgain && order.may_try_again() {
            let step = order.try_again(reason, decline.charge, now)?;
            let next = if self.store(&step).await?.is_done() {
                Next::Confirm(Box::new(step.order))
            } else {
                Next::Done(Attempt::Again)
            };
            return Ok(next);
        }
        let is_tested = self.is_tested(order, decline.card.as_ref()).await?;
        if order.cards_left > 0 && !is_tested {
            let step = order.declined(reason, decline.charge, now)?;
            return self.wait(&step).await.map(Next::Done);
        }
        let step = order.declined_for_good(reason, decline.charge, now)?;
        self.give_up_by(&step, id, budget).await.map(Next::Done)
    }

    /// Counts the declined card. Returns whether the card was declined in so many orders of the drop that it
    /// is probably being tested.
    async fn is_tested(&self, order: &Order, card: Option<&CardFingerprint>) -> Result<bool, NotAdvanced> {
        let Some(card) = card else {
            return Ok(false);
        };
        let drop = &order.reservation.shard.drop;
        let note = || self.orders.note_decline(drop, card, &order.id);
        let orders = retry(&self.runtime, IN_WORKER, note).await?;
        let is_tested = orders >= MAX_CARD_DECLINES;
        if is_tested {
            tracing::warn!(
                orders,
                "one card was declined in many orders of the drop; the order accepts no further card"
            );
        }
        Ok(is_tested)
    }

    /// Whether the time limit of the side that must act now, the shopper or the gateway, has passed.
    fn is_over(&self, order: &Order) -> bool {
        order.payment_deadline <= self.runtime.now()
    }

    /// Stores that the order is to end and why, before the gateway is called. After this write, no further
    /// card is accepted.
    async fn give_up(
        &self,
        order: &Order,
        reason: EndReason,
        budget: &Budget,
    ) -> Result<Attempt, NotAdvanced> {
        let step = order.request_cancel(reason, self.runtime.now())?;
        match &order.payment_id {
            Some(id) if step.effect.is_none() => self.give_up_by(&step, id, budget).await,
            _ => self.end(&step).await,
        }
    }

    async fn give_up_by(
        &self,
        step: &OrderStep,
        id: &PaymentId,
        budget: &Budget,
    ) -> Result<Attempt, NotAdvanced> {
        match step.order.cancel_requested {
            Some(reason) if self.store(step).await?.is_done() => {
                self.cancel(&step.order, id, reason, budget).await
            }
            _ => Ok(Attempt::Again),
        }
    }

    /// Requests that the gateway cancels the payment. Only the gateway's answer decides what follows.
    async fn cancel(
        &self,
        order: &Order,
        id: &PaymentId,
        reason: EndReason,
        budget: &Budget,
    ) -> Result<Attempt, NotAdvanced> {
        let cancel = || self.call(budget, || self.gateway.cancel(id));
        let payment = match retry(&self.runtime, budget.gateway, cancel).await {
            // The gateway also refuses to cancel a payment that it does not have, so the payment is looked up.
            Err(GatewayError::Refused { .. }) => match self.find(id, budget).await {
                Err(NotAdvanced::NoPayment) if order.is_not_at_gateway() => {
                    tracing::warn!(payment = %id, "the gateway does not have the payment, as the operator stated; the order ends unpaid");
                    return self.undo(order, reason).await;
                }
                found => found?,
            },
            answer => answer?,
        };
        match payment.state {
            PaymentState::Cancelled => self.undo(order, reason).await,
            PaymentState::Succeeded { .. } => {
                let step = order.settle(self.runtime.now())?;
                self.end(&step).await
            }
            // The payment can no longer be stopped and has not ended yet, so the order waits.
            PaymentState::Processing => {
                self.log_if_late(order);
                Ok(Attempt::Done(Advanced::Waiting))
            }
            PaymentState::Unconfirmed
            | PaymentState::ActionRequired { .. }
            | PaymentState::Declined { .. } => Err(NotAdvanced::Contradiction("the gateway did not cancel")),
        }
    }

    async fn find(&self, id: &PaymentId, budget: &Budget) -> Result<Payment, NotAdvanced> {
        let find = || self.call(budget, || self.gateway.find(id));
        let found = retry(&self.runtime, budget.gateway, find).await?;
        found.ok_or(NotAdvanced::NoPayment)
    }

    /// Stores a step after which the order waits.
    async fn wait(&self, step: &OrderStep) -> Result<Attempt, NotAdvanced> {
        Ok(Attempt::of(self.store(step).await?, Advanced::Waiting))
    }

    async fn undo(&self, order: &Order, reason: EndReason) -> Result<Attempt, NotAdvanced> {
        self.end(&order.undo(reason, self.runtime.now())?).await
    }

    async fn end(&self, step: &OrderStep) -> Result<Attempt, NotAdvanced> {
        let stored = self.store(step).await?;
        if stored.is_done() {
            tracing::info!(status = step.order.status.as_str(), "the order ended");
        }
        Ok(Attempt::of(stored, Advanced::Ended(step.order.status)))
    }

    /// Stores the step. After a lost answer the write is repeated. If the first write was done, the repeat is
    /// refused, and the next read of the order finds the stored step.
    async fn store(&self, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
        retry(&self.runtime, IN_WORKER, || self.orders.advance(step)).await
    }
}

/// Whether the reminder is stale: the order's due time is later than the next reminder that this reminder
/// names.
fn is_stale(order: &Order, next_due: Option<Timestamp>) -> bool {
    order.status.is_open() && next_due.is_some_and(|next| order.due_at > next)
}

/// The smallest number of gateway calls for a message about this order.
fn calls_ahead(order: &Order) -> u32 {
    match (step(order.status), &order.payment_id) {
        (None, _) => 0,
        (Some(_), None) if order.terms.cards == 0 => 0,
        // One call creates the payment and one confirms it. An order that has a payment already needs one call for a
        // look-up or a cancellation; if a confirm follows, it takes another slot.
        (Some(_), None) => CALLS_PER_PAYMENT,
        (Some((Action::AwaitCard, _)), Some(_)) if order.cancel_requested.is_none() => 0,
        (Some(_), Some(_)) => 1,
    }
}

/// Whether the gateway has no result of the current try yet, so that the payment can be confirmed with it.
fn is_open_to(order: &Order, payment: &Payment) -> bool {
    match &payment.state {
        PaymentState::Unconfirmed => true,
        PaymentState::Declined { method, charge, .. } => {
            !order.is_of_current_try(method.as_ref().map(PaymentMethod::as_str), charge.as_ref())
        }
        _ => false,
    }
}
