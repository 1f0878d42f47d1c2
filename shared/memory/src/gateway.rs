//! Simulates a payment gateway in memory, with the outcome of each means of payment, injected faults, and a record of
//! charges.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::OrderId;
use domain::limits::MAX_TRIES;
use domain::money::Money;
use ports::payment::{
    CardFingerprint, Code, GatewayError, IdempotencyKey, NewPayment, Payment, PaymentGateway, PaymentId,
    PaymentMethod, PaymentState, Refund,
};

use crate::faults::Faults;
use crate::shared::Shared;
use crate::yielding::yield_now;

/// The outcome of a confirmation with a means of payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// The money is taken.
    Succeed,
    /// The bank declines, with this code.
    Decline(&'static str),
    /// The bank declines the payment's first confirmation, with this code; a later confirmation takes the money.
    DeclineOnce(&'static str),
    /// The shopper must act; [`MemoryGateway::finish_action`] is the shopper's action.
    RequireAction,
    /// The gateway processes the payment until [`MemoryGateway::finish_action`].
    Process,
}

/// A method of the gateway port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayOp {
    /// The method `PaymentGateway::create`.
    Create,
    /// The method `PaymentGateway::confirm`.
    Confirm,
    /// The method `PaymentGateway::find`.
    Find,
    /// The method `PaymentGateway::cancel`.
    Cancel,
    /// The method `PaymentGateway::refund`.
    Refund,
}

impl GatewayOp {
    /// Every method, so that a test can make one after the other fail.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Confirm,
        Self::Find,
        Self::Cancel,
        Self::Refund,
    ];
}

/// How a call of the gateway fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GatewayFault {
    /// Nothing is done, and the caller gets an error that says so.
    NotSent,
    /// Nothing is done, and the answer asks the caller to wait.
    Throttled,
    /// Nothing is done; the outcome is unknown to the caller.
    UnknownBefore,
    /// The call is done; the outcome is unknown to the caller.
    UnknownAfter,
    /// Nothing is done; the gateway answers with a failure.
    UnavailableBefore,
    /// The call is done; the gateway answers with a failure.
    UnavailableAfter,
    /// Nothing is done; the gateway refuses, and refuses each repeat.
    Refused,
    /// Nothing is done; the gateway refuses the API key.
    NoKey,
    /// Nothing is done; the gateway answers a failure, and repeats this answer to each call under the key.
    StoredBefore,
    /// The call is done; the gateway answers a failure, and repeats this answer to each call under the key.
    StoredAfter,
}

impl GatewayFault {
    /// Every fault, so that a test can inject each.
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

    /// The error that the caller of the port gets for this fault.
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

    /// Whether the failure is stored under the call's key.
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
    /// The number of the payment's confirmations.
    confirms: usize,
    /// The means of payment of the payment's last confirmation.
    method: Option<PaymentMethod>,
}

/// The events of an order's payments. Events are counted when they happen, since a payment's later state replaces the
/// earlier state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaymentEvents {
    /// The number of captures.
    pub charges: u32,
    pub declines: u32,
    /// The number of required actions.
    pub actions: u32,
    pub cancels: u32,
}

/// A token of one card for all shoppers. With every other token each payment has a different card.
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

/// A change of a payment that a gateway reports by a webhook.
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
    /// The function that is called for every change of a payment.
    announce: Option<Announce>,
    payments: BTreeMap<PaymentId, Stored>,
    outcomes: BTreeMap<String, PaymentOutcome>,
    /// The request and the answer, by key.
    answers: BTreeMap<String, (String, Answer)>,
    /// Keys under which a failure is stored.
    failed: BTreeSet<String>,
    events: BTreeMap<OrderId, PaymentEvents>,
    faults: Faults<GatewayOp, GatewayFault>,
    made: u64,
}

/// The gateway port, in memory. Clones share the state.
///
/// The token of the means of payment decides the outcome: Stripe's test tokens have their outcome at Stripe, tokens of
/// [`MemoryGateway::on`] have the outcome set there, and all other tokens succeed. Each call first lets other tasks
/// run, then happens in one step, or fails as planned. A repeat under an idempotency key gets the answer that is stored
/// under the key, which may be a refusal; the answer of a lost call is stored only if the call took effect.
#[derive(Clone)]
pub struct MemoryGateway {
    state: Shared<State>,
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
    #[must_use]
    pub fn new() -> Self {
        let gateway = Self {
            state: Shared::default(),
        };
        for (method, code) in [
            ("pm_card_visa_chargeDeclined", "generic_decline"),
            ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
            ("pm_card_chargeDeclinedProcessingError", "processing_error"),
            (LOST_CARD, "lost_card"),
        ] {
            gateway.on(method, PaymentOutcome::Decline(code));
        }
        gateway.on("pm_card_authenticationRequired", PaymentOutcome::RequireAction);
        gateway
    }

    /// From now on, `method` has the outcome `outcome`.
    pub fn on(&self, method: &str, outcome: PaymentOutcome) {
        self.state.lock().outcomes.insert(method.to_owned(), outcome);
    }

    /// Calls `announce` for every change of a payment, with the payment's order, within the change.
    pub fn announce_to(&self, announce: impl FnMut(&OrderId, PaymentChange) + Send + 'static) {
        self.state.lock().announce = Some(Box::new(announce));
    }

    /// Makes the next call of `op` fail.
    pub fn fail_next(&self, op: GatewayOp, fault: GatewayFault) {
        self.fail_nth(op, 1, fault);
    }

    /// Makes the `nth` call of `op` from now on fail; 1 is the next. If this call has a queued fault already, the new
    /// fault is queued for the next call without a fault.
    pub fn fail_nth(&self, op: GatewayOp, nth: u64, fault: GatewayFault) {
        self.state.lock().faults.queue(op, nth, fault);
    }

    /// `plan` decides about every call without a queued fault, by its method and its number among that method's
    /// calls, from 1.
    pub fn set_plan(&self, plan: impl FnMut(GatewayOp, u64) -> Option<GatewayFault> + Send + 'static) {
        self.state.lock().faults.set_plan(plan);
    }

    /// Removes the plan and all queued faults.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// The number of calls of `op`, including failures.
    #[must_use]
    pub fn calls(&self, op: GatewayOp) -> u64 {
        self.state.lock().faults.calls(op)
    }

    /// Deletes all idempotency keys, as a gateway may after a day.
    pub fn forget_keys(&self) {
        let mut state = self.state.lock();
        state.answers.clear();
        state.failed.clear();
    }

    /// Finishes a payment after the shopper's action or the gateway's processing: the money is taken, or the payment is
    /// declined. Returns whether there was a payment to finish.
    pub fn finish_action(&self, id: &PaymentId, succeeds: bool) -> bool {
        let mut state = self.state.lock();
        let Ok(PaymentState::ActionRequired { .. } | PaymentState::Processing) =
            state.payment(id).map(|stored| &stored.payment.state)
        else {
            return false;
        };
        let to = if succeeds {
            PaymentOutcome::Succeed
        } else {
            PaymentOutcome::Decline("payment_intent_authentication_failure")
        };
        state.resolve(id, &to).is_some()
    }

    /// The number of an order's captures, regardless of refunds.
    #[must_use]
    pub fn charges(&self, order: &OrderId) -> u32 {
        self.state
            .lock()
            .events
            .get(order)
            .map_or(0, |events| events.charges)
    }

    /// The counted events of each order's payments.
    #[must_use]
    pub fn events(&self) -> BTreeMap<OrderId, PaymentEvents> {
        self.state.lock().events.clone()
    }

    /// Net captures in minor units by order: captures less refunds.
    #[must_use]
    pub fn captured_minor(&self) -> BTreeMap<OrderId, i64> {
        let mut captured = BTreeMap::new();
        for stored in self.state.lock().payments.values() {
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
        let state = self.state.lock();
        let payments = state.payments.values().filter(|s| s.order == *order);
        payments.map(|s| s.payment.clone()).collect()
    }

    async fn call<T>(
        &self,
        op: GatewayOp,
        key: Option<&IdempotencyKey>,
        act: impl FnOnce(&mut State) -> Result<T, GatewayError>,
    ) -> Result<T, GatewayError> {
        yield_now().await;
        let mut state = self.state.lock();
        let fault = state.faults.next(op);
        if key.is_some_and(|key| state.failed.contains(key.as_str())) {
            return Err(GatewayError::StoredFailure);
        }
        let Some(fault) = fault else {
            return act(&mut state);
        };
        // A failure does not replace an answer that is stored under the key.
        let stored = key.filter(|key| fault.is_stored() && !state.answers.contains_key(key.as_str()));
        if fault.takes_effect() {
            // The effect remains; the answer is lost.
            act(&mut state).ok();
        }
        if let Some(key) = stored {
            state.failed.insert(key.as_str().to_owned());
        }
        Err(fault.error())
    }
}

impl State {
    /// The answer stored under `key`, if the request is the same.
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

    /// Changes a payment to the state of `outcome`.
    fn resolve(&mut self, id: &PaymentId, outcome: &PaymentOutcome) -> Option<Payment> {
        let stored = self.payments.get(id)?;
        let state = match outcome {
            PaymentOutcome::Succeed => PaymentState::Succeeded {
                captured: stored.payment.amount,
            },
            PaymentOutcome::Decline(code) | PaymentOutcome::DeclineOnce(code) => PaymentState::Declined {
                reason: Code::or_unnamed(code),
                method: stored.method.clone(),
                charge: format!("ch_{id}_{}", stored.confirms).parse().ok(),
                card: stored.method.as_ref().and_then(|method| fingerprint(id, method)),
            },
            PaymentOutcome::RequireAction => PaymentState::ActionRequired {
                url: format!("https://bank.example/authenticate/{id}"),
            },
            PaymentOutcome::Process => PaymentState::Processing,
        };
        self.change(id, state)
    }

    /// Changes a payment to `state`, and counts and announces the change.
    fn change(&mut self, id: &PaymentId, state: PaymentState) -> Option<Payment> {
        let stored = self.payments.get_mut(id)?;
        let events = self.events.entry(stored.order.clone()).or_default();
        let counted = match state {
            PaymentState::Succeeded { .. } => Some((&mut events.charges, PaymentChange::Charged)),
            PaymentState::Declined { .. } => Some((&mut events.declines, PaymentChange::Declined)),
            PaymentState::ActionRequired { .. } => Some((&mut events.actions, PaymentChange::ActionRequired)),
            PaymentState::Cancelled => Some((&mut events.cancels, PaymentChange::Cancelled)),
            PaymentState::Unconfirmed | PaymentState::Processing => None,
        };
        if let Some((count, change)) = counted {
            *count += 1;
            if let Some(announce) = &mut self.announce {
                announce(&stored.order, change);
            }
        }
        stored.payment.state = state;
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
                let outcome = self.outcomes.get(method.as_str()).cloned();
                let stored = self.payments.get_mut(id).ok_or_else(unexpected)?;
                stored.confirms += 1;
                stored.method = Some(method.clone());
                if stored.confirms > MAX_TRIES {
                    return self.cancel(id);
                }
                let outcome = match outcome {
                    None => PaymentOutcome::Succeed,
                    Some(PaymentOutcome::DeclineOnce(_)) if stored.confirms > 1 => PaymentOutcome::Succeed,
                    Some(outcome) => outcome,
                };
                self.resolve(id, &outcome).ok_or_else(unexpected)
            }
        };
        self.keep(key, asked, Answer::Payment(answer.clone()));
        answer
    }

    fn cancel(&mut self, id: &PaymentId) -> Result<Payment, GatewayError> {
        let payment = &self.payment(id)?.payment;
        match payment.state {
            PaymentState::Succeeded { .. } | PaymentState::Processing => Ok(payment.clone()),
            _ => self.change(id, PaymentState::Cancelled).ok_or_else(unexpected),
        }
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
                let refund = self.id("re")?;
                if let Some(stored) = self.payments.get_mut(id) {
                    stored.refunded_minor += amount.amount_minor;
                }
                Ok(Refund { id: refund, amount })
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
