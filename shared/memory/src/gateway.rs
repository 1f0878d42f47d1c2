//! A payment gateway in memory: what each means of payment leads to, what gets lost, and what was charged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ids::OrderId;
use domain::limits::MAX_TRIES;
use domain::money::Money;
use ports::payment::{
    CardFingerprint, Code, GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId,
    PaymentMethod, PaymentState, Refund,
};

use crate::faults::Faults;
use crate::yielding::yield_now;

/// What confirming with a means of payment leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// The money is taken.
    Succeed,
    /// The bank refuses, with this code.
    Decline(&'static str),
    /// The bank refuses the payment's first confirmation, with this code; a later one takes the money.
    DeclineOnce(&'static str),
    /// The shopper has to act; [`MemoryGateway::finish_action`] is their doing.
    RequireAction,
    /// The gateway is at it until [`MemoryGateway::finish_action`].
    Process,
}

/// A method of the gateway port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayOp {
    /// `PaymentGateway::create`
    Create,
    /// `PaymentGateway::confirm`
    Confirm,
    /// `PaymentGateway::find`
    Find,
    /// `PaymentGateway::cancel`
    Cancel,
    /// `PaymentGateway::refund`
    Refund,
}

impl GatewayOp {
    /// Every method, so that a test can fail each in turn.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Confirm,
        Self::Find,
        Self::Cancel,
        Self::Refund,
    ];
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GatewayFault {
    /// Nothing is done, and the caller learns it.
    NotSent,
    /// Nothing is done, and the caller is asked to wait.
    Throttled,
    /// Nothing is done, and the caller cannot tell.
    UnknownBefore,
    /// It is done, and the caller cannot tell.
    UnknownAfter,
    /// Nothing is done; the gateway says that it is failing.
    UnavailableBefore,
    /// It is done; the gateway says that it is failing.
    UnavailableAfter,
    /// Nothing is done; the gateway refuses for good.
    Refused,
    /// Nothing is done; the gateway does not take the key.
    NoKey,
    /// Nothing is done; the gateway says that it failed, and says so again to each repeat under the key.
    StoredBefore,
    /// It is done; the gateway says that it failed, and says so again to each repeat under the key.
    StoredAfter,
}

impl GatewayFault {
    /// Every way to fail.
    pub const ALL: [Self; 10] = [
        Self::NotSent,
        Self::Throttled,
        Self::UnknownBefore,
        Self::UnknownAfter,
        Self::UnavailableBefore,
        Self::UnavailableAfter,
        Self::Refused,
        Self::NoKey,
        Self::StoredBefore,
        Self::StoredAfter,
    ];

    /// What the caller gets to see.
    #[must_use]
    pub fn error(self) -> GatewayError {
        match self {
            Self::NotSent => GatewayError::NotSent,
            Self::Throttled => GatewayError::Throttled { retry_after_ms: 200 },
            Self::UnknownBefore | Self::UnknownAfter => GatewayError::Unknown,
            Self::UnavailableBefore | Self::UnavailableAfter | Self::StoredBefore | Self::StoredAfter => {
                GatewayError::Unavailable
            }
            Self::Refused => refused("fault_on_purpose"),
            Self::NoKey => GatewayError::NoKey,
        }
    }

    /// Whether the failure stays under the call's key.
    const fn is_stored(self) -> bool {
        matches!(self, Self::StoredBefore | Self::StoredAfter)
    }

    /// Whether the call takes effect although it fails.
    #[must_use]
    pub fn takes_effect(self) -> bool {
        matches!(
            self,
            Self::UnknownAfter | Self::UnavailableAfter | Self::StoredAfter
        )
    }
}

#[derive(Debug, Clone)]
struct Stored {
    order: OrderId,
    payment: Payment,
    refunded_minor: i64,
    /// How often it was confirmed.
    confirms: usize,
    /// With what it was confirmed last.
    method: Option<PaymentMethod>,
}

/// What became of the payments of an order, counted as it happened: a later state of a payment hides an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaymentEvents {
    /// How often money was taken.
    pub charges: u32,
    /// How often a payment was declined.
    pub declines: u32,
    /// How often the shopper was asked to act.
    pub actions: u32,
    /// How often a payment was cancelled.
    pub cancels: u32,
}

/// One card, whoever shows it. Of every other token each payment has a card of its own.
const LOST_CARD: &str = "pm_card_chargeDeclinedLostCard";

fn fingerprint(id: &PaymentId, method: &PaymentMethod) -> Option<CardFingerprint> {
    match method.as_str() {
        LOST_CARD => "lost".parse().ok(),
        _ => id.as_str().parse().ok(),
    }
}

#[derive(Debug, Clone)]
enum Answer {
    Payment(Result<Payment, GatewayError>),
    Refund(Result<Refund, GatewayError>),
}

/// Something that became of a payment, which a gateway announces by a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentChange {
    /// The money was taken.
    Charged,
    /// The payment was declined.
    Declined,
    /// The shopper was asked to act.
    ActionRequired,
    /// The payment was cancelled.
    Cancelled,
}

type Announce = Box<dyn FnMut(&OrderId, PaymentChange) + Send>;

#[derive(Default)]
struct State {
    /// Hears of every change.
    announce: Option<Announce>,
    payments: BTreeMap<PaymentId, Stored>,
    outcomes: BTreeMap<String, PaymentOutcome>,
    /// By key: what was asked, and what was answered.
    answers: BTreeMap<String, (String, Answer)>,
    /// Keys under which a failure is stored.
    failed: BTreeSet<String>,
    events: BTreeMap<OrderId, PaymentEvents>,
    faults: Faults<GatewayOp, GatewayFault>,
    made: u64,
}

/// The gateway port, in memory. Clones share everything.
///
/// Means of payment behave by their token: those that Stripe lists for tests as they do there, others as told by
/// [`MemoryGateway::on`], all else succeeds. Each call first lets other tasks go, then happens in one step, or fails as
/// planned. Idempotency keys replay their first answer, refusals included; a lost call keeps its answer only if it took
/// effect.
#[derive(Clone)]
pub struct MemoryGateway {
    state: Arc<Mutex<State>>,
}

impl Default for MemoryGateway {
    fn default() -> Self {
        Self::new()
    }
}

fn refused(code: &str) -> GatewayError {
    GatewayError::Refused {
        code: Code::or_unnamed(code),
    }
}

fn unexpected() -> GatewayError {
    refused("payment_intent_unexpected_state")
}

impl MemoryGateway {
    /// A gateway without payments.
    #[must_use]
    pub fn new() -> Self {
        let gateway = Self {
            state: Arc::default(),
        };
        gateway.on(
            "pm_card_visa_chargeDeclined",
            PaymentOutcome::Decline("generic_decline"),
        );
        gateway.on(
            "pm_card_chargeDeclinedInsufficientFunds",
            PaymentOutcome::Decline("insufficient_funds"),
        );
        gateway.on(LOST_CARD, PaymentOutcome::Decline("lost_card"));
        gateway.on("pm_card_authenticationRequired", PaymentOutcome::RequireAction);
        gateway.on(
            "pm_card_chargeDeclinedProcessingError",
            PaymentOutcome::Decline("processing_error"),
        );
        gateway
    }

    /// From now on, `method` leads to `outcome`.
    pub fn on(&self, method: &str, outcome: PaymentOutcome) {
        self.state().outcomes.insert(method.to_owned(), outcome);
    }

    /// Tells `announce` of every change to a payment, with the order that it is of. It is called within the change.
    pub fn announce_to(&self, announce: impl FnMut(&OrderId, PaymentChange) + Send + 'static) {
        self.state().announce = Some(Box::new(announce));
    }

    /// Lets the next call of `op` fail.
    pub fn fail_next(&self, op: GatewayOp, fault: GatewayFault) {
        self.fail_nth(op, 1, fault);
    }

    /// Lets the `nth` call of `op` from now on fail; 1 is the next. Asked twice for the same call, the later one moves
    /// back by one.
    pub fn fail_nth(&self, op: GatewayOp, nth: u64, fault: GatewayFault) {
        self.state().faults.queue(op, nth, fault);
    }

    /// Asks `plan` about every call that has no fault queued: which method, and its how manieth call it is, from 1.
    pub fn set_plan(&self, plan: impl FnMut(GatewayOp, u64) -> Option<GatewayFault> + Send + 'static) {
        self.state().faults.set_plan(plan);
    }

    /// Forgets the plan and all faults to come.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// How often `op` was called, failures included.
    #[must_use]
    pub fn calls(&self, op: GatewayOp) -> u64 {
        self.state().faults.calls(op)
    }

    /// Forgets all idempotency keys, as a gateway may after a day.
    pub fn forget_keys(&self) {
        let mut state = self.state();
        state.answers.clear();
        state.failed.clear();
    }

    /// The shopper acted (or the gateway came to an end): the money is taken, or the payment declined. Whether there was
    /// anything to finish.
    pub fn finish_action(&self, id: &PaymentId, succeeds: bool) -> bool {
        let mut state = self.state();
        let Some(stored) = state.payments.get(id) else {
            return false;
        };
        if !matches!(
            stored.payment.state,
            PaymentState::ActionRequired { .. } | PaymentState::Processing
        ) {
            return false;
        }
        let to = if succeeds {
            PaymentOutcome::Succeed
        } else {
            PaymentOutcome::Decline("payment_intent_authentication_failure")
        };
        state.resolve(id, &to).is_some()
    }

    /// How often an order was charged, whatever was given back since.
    #[must_use]
    pub fn charges(&self, order: &OrderId) -> u32 {
        self.state().events.get(order).map_or(0, |events| events.charges)
    }

    /// What became of the payments of each order that has one.
    #[must_use]
    pub fn events(&self) -> BTreeMap<OrderId, PaymentEvents> {
        self.state().events.clone()
    }

    /// Net captures in minor units by order: charged and not given back.
    #[must_use]
    pub fn captured_minor(&self) -> BTreeMap<OrderId, i64> {
        let mut captured = BTreeMap::new();
        for stored in self.state().payments.values() {
            if let PaymentState::Succeeded { captured: money } = &stored.payment.state {
                *captured.entry(stored.order.clone()).or_default() +=
                    money.amount_minor - stored.refunded_minor;
            }
        }
        captured
    }

    /// Every payment made for an order, the oldest first.
    #[must_use]
    pub fn payments_of(&self, order: &OrderId) -> Vec<Payment> {
        self.state()
            .payments
            .values()
            .filter(|s| s.order == *order)
            .map(|s| s.payment.clone())
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(
        &self,
        op: GatewayOp,
        key: Option<&IdempotencyKey>,
        act: impl FnOnce(&mut State) -> Result<T, GatewayError>,
    ) -> Result<T, GatewayError> {
        yield_now().await;
        let mut state = self.state();
        let fault = state.faults.next(op);
        if key.is_some_and(|key| state.failed.contains(key.as_str())) {
            return Err(GatewayError::StoredFailure);
        }
        let Some(fault) = fault else {
            return act(&mut state);
        };
        // What was answered under a key is not replaced by a failure.
        let stored = key.filter(|key| fault.is_stored() && !state.answers.contains_key(key.as_str()));
        if fault.takes_effect() {
            // Only what the act changes matters: its answer is what got lost.
            act(&mut state).ok();
        }
        if let Some(key) = stored {
            state.failed.insert(key.as_str().to_owned());
        }
        Err(fault.error())
    }
}

impl State {
    /// The answer kept under `key`, if the question is the same.
    fn replay(&self, key: &IdempotencyKey, asked: &str) -> Option<Result<Answer, GatewayError>> {
        let (first, answer) = self.answers.get(key.as_str())?;
        Some(if first == asked {
            Ok(answer.clone())
        } else {
            Err(refused("idempotency_error"))
        })
    }

    fn keep(&mut self, key: &IdempotencyKey, asked: String, answer: Answer) {
        self.answers.insert(key.as_str().to_owned(), (asked, answer));
    }

    fn id(&mut self, prefix: &str) -> Result<PaymentId, GatewayError> {
        self.made += 1;
        format!("{prefix}_{:08}", self.made)
            .parse()
            .map_err(|_| GatewayError::Unknown)
    }

    fn payment(&self, id: &PaymentId) -> Result<&Stored, GatewayError> {
        self.payments.get(id).ok_or_else(|| refused("resource_missing"))
    }

    /// Brings a payment to what `outcome` leads to.
    fn resolve(&mut self, id: &PaymentId, outcome: &PaymentOutcome) -> Option<Payment> {
        let stored = self.payments.get_mut(id)?;
        let events = self.events.entry(stored.order.clone()).or_default();
        let change = match outcome {
            PaymentOutcome::Succeed => Some(PaymentChange::Charged),
            PaymentOutcome::Decline(_) | PaymentOutcome::DeclineOnce(_) => Some(PaymentChange::Declined),
            PaymentOutcome::RequireAction => Some(PaymentChange::ActionRequired),
            PaymentOutcome::Process => None,
        };
        if let (Some(change), Some(announce)) = (change, &mut self.announce) {
            announce(&stored.order, change);
        }
        stored.payment.state = match outcome {
            PaymentOutcome::Succeed => {
                events.charges += 1;
                PaymentState::Succeeded {
                    captured: stored.payment.amount,
                }
            }
            PaymentOutcome::Decline(code) | PaymentOutcome::DeclineOnce(code) => {
                events.declines += 1;
                PaymentState::Declined {
                    reason: Code::or_unnamed(code),
                    method: stored.method.clone(),
                    charge: format!("ch_{id}_{}", stored.confirms).parse().ok(),
                    card: stored.method.as_ref().and_then(|method| fingerprint(id, method)),
                }
            }
            PaymentOutcome::RequireAction => {
                events.actions += 1;
                PaymentState::ActionRequired {
                    url: format!("https://bank.example/authenticate/{id}"),
                }
            }
            PaymentOutcome::Process => PaymentState::Processing,
        };
        Some(stored.payment.clone())
    }

    fn create(&mut self, new: &NewPayment, key: &IdempotencyKey) -> Result<Payment, GatewayError> {
        let asked = format!("create {new:?}");
        if let Some(replayed) = self.replay(key, &asked) {
            return replayed.and_then(Answer::payment);
        }
        if new.amount.amount_minor <= 0 {
            return Err(refused("amount_not_positive"));
        }
        if !new.amount.currency.takes(new.amount.amount_minor) {
            return Err(refused("amount_too_small"));
        }
        let id = self.id("pi")?;
        let payment = Payment {
            id: id.clone(),
            amount: new.amount,
            state: PaymentState::Unconfirmed,
        };
        self.events.entry(new.order.clone()).or_default();
        let stored = Stored {
            order: new.order.clone(),
            payment: payment.clone(),
            refunded_minor: 0,
            confirms: 0,
            method: None,
        };
        self.payments.insert(id, stored);
        self.keep(key, asked, Answer::Payment(Ok(payment.clone())));
        Ok(payment)
    }

    fn confirm(
        &mut self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> Result<Payment, GatewayError> {
        let asked = format!("confirm {id} {} {return_url}", method.as_str());
        if let Some(replayed) = self.replay(key, &asked) {
            return replayed.and_then(Answer::payment);
        }
        let answer = match self.payment(id)?.payment.state {
            PaymentState::Succeeded { .. } | PaymentState::Cancelled | PaymentState::Processing => {
                Err(unexpected())
            }
            _ => {
                let outcome = self
                    .outcomes
                    .get(method.as_str())
                    .cloned()
                    .unwrap_or(PaymentOutcome::Succeed);
                let stored = self.payments.get_mut(id).ok_or_else(unexpected)?;
                stored.confirms += 1;
                stored.method = Some(method.clone());
                if stored.confirms > MAX_TRIES {
                    return self.cancel(id);
                }
                let outcome = match outcome {
                    PaymentOutcome::DeclineOnce(_) if stored.confirms > 1 => PaymentOutcome::Succeed,
                    PaymentOutcome::DeclineOnce(code) => PaymentOutcome::Decline(code),
                    outcome => outcome,
                };
                self.resolve(id, &outcome).ok_or_else(unexpected)
            }
        };
        self.keep(key, asked, Answer::Payment(answer.clone()));
        answer
    }

    fn cancel(&mut self, id: &PaymentId) -> Result<Payment, GatewayError> {
        let stored = self
            .payments
            .get_mut(id)
            .ok_or_else(|| refused("resource_missing"))?;
        if !matches!(
            stored.payment.state,
            PaymentState::Succeeded { .. } | PaymentState::Processing
        ) {
            self.events.entry(stored.order.clone()).or_default().cancels += 1;
            if let Some(announce) = &mut self.announce {
                announce(&stored.order, PaymentChange::Cancelled);
            }
            stored.payment.state = PaymentState::Cancelled;
        }
        Ok(stored.payment.clone())
    }

    fn refund(
        &mut self,
        id: &PaymentId,
        amount: Money,
        key: &IdempotencyKey,
    ) -> Result<Refund, GatewayError> {
        let asked = format!("refund {id} {amount:?}");
        if let Some(replayed) = self.replay(key, &asked) {
            return replayed.and_then(Answer::refund);
        }
        let stored = self.payment(id)?;
        let answer = match &stored.payment.state {
            PaymentState::Succeeded { captured } if captured.currency != amount.currency => {
                Err(refused("currency_mismatch"))
            }
            PaymentState::Succeeded { captured }
                if amount.amount_minor > 0
                    && amount.amount_minor <= captured.amount_minor - stored.refunded_minor =>
            {
                let refund = Refund {
                    id: self.id("re")?,
                    amount,
                };
                if let Some(stored) = self.payments.get_mut(id) {
                    stored.refunded_minor += amount.amount_minor;
                }
                Ok(refund)
            }
            PaymentState::Succeeded { .. } => Err(refused("amount_too_large")),
            _ => Err(unexpected()),
        };
        self.keep(key, asked, Answer::Refund(answer.clone()));
        answer
    }
}

impl Answer {
    fn payment(self) -> Result<Payment, GatewayError> {
        match self {
            Self::Payment(answer) => answer,
            Self::Refund(_) => Err(refused("idempotency_error")),
        }
    }

    fn refund(self) -> Result<Refund, GatewayError> {
        match self {
            Self::Refund(answer) => answer,
            Self::Payment(_) => Err(refused("idempotency_error")),
        }
    }
}

impl PaymentGateway for MemoryGateway {
    async fn create(&self, payment: &NewPayment, key: &IdempotencyKey) -> Result<Payment, GatewayError> {
        self.call(GatewayOp::Create, Some(key), |state| state.create(payment, key))
            .await
    }

    async fn confirm(
        &self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> Result<Payment, GatewayError> {
        self.call(GatewayOp::Confirm, Some(key), |state| {
            state.confirm(id, method, return_url, key)
        })
        .await
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Payment>, GatewayError> {
        self.call(GatewayOp::Find, None, |state| {
            Ok(state.payments.get(id).map(|stored| stored.payment.clone()))
        })
        .await
    }

    async fn cancel(&self, id: &PaymentId) -> Result<Payment, GatewayError> {
        self.call(GatewayOp::Cancel, None, |state| state.cancel(id)).await
    }

    async fn refund(
        &self,
        id: &PaymentId,
        amount: Money,
        key: &IdempotencyKey,
    ) -> Result<Refund, GatewayError> {
        self.call(GatewayOp::Refund, Some(key), |state| {
            state.refund(id, amount, key)
        })
        .await
    }
}
