//! Defines an order and its state machine.
//!
//! ```text
//!            ┌────────────────────────────────────────────┐
//! placed ──► paying ──► action_required ──► payment_failed ┘
//!    │         └──────────────┴────────► paid ──► refunded
//!    └──► declined, cancelled, from every open status
//! ```
//! [`crate::saga`] has the table of transitions. Every transition makes the next version of the order and
//! names the change of the stock, if there is one, that the same transaction must store ([`StockEffect`]).
//! The store accepts a new version only together with this change, and only over the version from which it
//! was made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::claim::{Claim, ClaimState, SeenHold};
use crate::ids::{CorrelationId, OrderId, PaymentId, ReservationId, ShopperId, is_base64url, short_hash};
use crate::limits::{
    ACTION_POLL_MS, MAX_ACTION_POLL_MS, MAX_KEEPS, MAX_KEYS, MAX_REDRIVE_MS, MAX_TRIES, OPEN_BUCKETS,
    REDRIVE_MS,
};
use crate::money::Money;
pub use crate::order_status::{EndReason, NotPossible, OrderStatus, StockEffect};
use crate::saga::{Cause, Compensation, History, State, Terms, Turn, step};
use crate::time::Timestamp;
use crate::{named, serde_as_text};

named! {
    /// Why a card was declined, as far as shoppers may see it. A stolen, lost or suspicious card appears as a
    /// plain decline, since its user must not learn that the card is blocked.
    pub enum DeclineReason {
        /// The bank refused without a further reason.
        CardDeclined = "card_declined",
        /// The account has not enough money or credit.
        InsufficientFunds = "insufficient_funds",
        /// The card has expired.
        ExpiredCard = "expired_card",
        /// The card number, the expiry date or the check digits are wrong.
        IncorrectDetails = "incorrect_details",
        /// The bank did not recognise the shopper, or the shopper refused at the bank's page.
        AuthenticationFailed = "authentication_failed",
        /// The card cannot be used for this purchase.
        NotSupported = "not_supported",
        /// The bank or its network could not decide. The same card may be accepted shortly afterwards.
        TryAgain = "try_again",
    }
}

impl DeclineReason {
    /// The reason for a gateway's decline code. An unknown code becomes [`CardDeclined`](Self::CardDeclined).
    ///
    /// Source: <https://docs.stripe.com/declines/codes>.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        match code {
            "insufficient_funds" | "card_velocity_exceeded" | "withdrawal_count_limit_exceeded" => {
                Self::InsufficientFunds
            }
            "expired_card" => Self::ExpiredCard,
            "incorrect_number"
            | "invalid_number"
            | "incorrect_cvc"
            | "invalid_cvc"
            | "incorrect_zip"
            | "invalid_expiry_month"
            | "invalid_expiry_year"
            | "incorrect_pin"
            | "invalid_pin" => Self::IncorrectDetails,
            "authentication_required" | "payment_intent_authentication_failure" => Self::AuthenticationFailed,
            "card_not_supported"
            | "currency_not_supported"
            | "invalid_account"
            | "transaction_not_allowed"
            | "service_not_allowed"
            | "not_permitted" => Self::NotSupported,
            "try_again_later" | "processing_error" | "issuer_not_available" | "reenter_transaction" => {
                Self::TryAgain
            }
            _ => Self::CardDeclined,
        }
    }
}

/// One confirmation of the order's payment, which is stored before the call to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// The number of the try within the order, from 1.
    pub n: u32,
    /// The name of the payment gateway that issued the card's token.
    pub gateway: String,
    /// The idempotency key of the confirmation, without its prefix: the order's id and a slash.
    pub key: String,
    /// The gateway's token for the card.
    pub method: String,
    /// Hashes of the request that submitted the card; `None` for the first card, and when the system tries
    /// the same card again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Fingerprint>,
    /// The number of the try's keys that are used up, since the gateway stored a failure under each.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keys_used: u32,
    /// Whether the order has stored an answer of the gateway to this try. From then on, no answer can be
    /// about an earlier try.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
    /// Why the gateway declined the try; `None` if it was not declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<DeclineReason>,
    /// The gateway's id of the declined charge, if the gateway named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<PaymentId>,
}

/// The only supported payment gateway.
pub const STRIPE: &str = "stripe";

impl Try {
    fn new(n: u32, method: String, request: Option<Fingerprint>) -> Self {
        Self {
            n,
            gateway: STRIPE.to_owned(),
            key: format!("confirm/{n}"),
            method,
            request,
            keys_used: 0,
            answered: false,
            declined: None,
            charge: None,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The format number of a stored order. A stored order with another number, or without one, cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Format;

impl Format {
    /// The number in the stored order. Orders of format 1 had no number, one card and no history.
    pub const NUMBER: u8 = 2;
}

impl From<Format> for u8 {
    fn from(_: Format) -> Self {
        Format::NUMBER
    }
}

impl TryFrom<u8> for Format {
    type Error = &'static str;
    fn try_from(number: u8) -> Result<Self, Self::Error> {
        if number == Self::NUMBER {
            Ok(Self)
        } else {
            Err("an order of another format")
        }
    }
}

/// The action at the bank that the gateway requires of the shopper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAction {
    /// The address of the page on which the shopper must act.
    pub url: String,
    /// The time until which the shopper may act.
    pub deadline: Timestamp,
}

/// An order: one reservation and its payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The format of this document.
    pub format: Format,
    /// The order's id: a hash of the reservation's id.
    pub id: OrderId,
    /// The reservation from which the order was made.
    pub reservation: ReservationId,
    /// The shopper who placed the order.
    pub shopper: ShopperId,
    /// The number of ordered units.
    pub units: u32,
    /// The amount that the shopper consented to pay, for all units.
    pub amount: Money,
    /// The claim that the order's transaction wrote into the shard.
    pub claim: Claim,
    /// The cards that were tried, from the oldest to the newest. The last entry is the current try.
    pub tries: Vec<Try>,
    /// Hashes of the request that placed the order. They distinguish a repeat from a different request.
    pub fingerprint: Fingerprint,
    /// The id of the request that placed the order, for log lines and events; `None` if the request had
    /// no id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationId>,
    /// The number of keys for the creation of the payment that are used up, since the gateway stored a
    /// failure under each.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub create_keys_used: u32,
    /// The gateway's id of the payment; `None` until the payment is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<PaymentId>,
    /// The order's status.
    pub status: OrderStatus,
    /// The reason why the order ended unpaid; `None` while it is open, and for a paid or refunded order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// The action that the shopper must take; `None` unless the status is [`OrderStatus::ActionRequired`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<PaymentAction>,
    /// Why the order is to end unpaid; `None` while no end is requested. The order ends once the gateway
    /// reports that no money was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested: Option<EndReason>,
    /// Who must act next on the order.
    pub turn: Turn,
    /// The rest of the shopper's time when `payment_deadline` was last set, in milliseconds.
    pub shopper_left_ms: i64,
    /// The number of further cards that the shopper may submit.
    pub cards_left: u32,
    /// The order's time limits, and the number of cards that may be tried.
    pub terms: Terms,
    /// Hashes of the operator's last request to keep the order waiting; `None` if there was no such request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Fingerprint>,
    /// The changes of the order, from which its state follows.
    pub history: History,
    /// The order's version: 1 when it is placed, and one more with every change.
    pub version: u32,
    /// The time at which the order was placed.
    pub placed_at: Timestamp,
    /// The time of the order's last change.
    pub updated_at: Timestamp,
    /// The end of the time of the side that must act next: of the shopper's time to pay, or of the wait for the
    /// gateway.
    pub payment_deadline: Timestamp,
    /// The order's due time: when the sweeper checks the open order again. The due time is stored beside the
    /// order's document, since it also changes without a new version.
    pub due_at: Timestamp,
}

/// One change of an order. Its order and its effect are stored in one transaction, on condition
/// of `from_version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderStep {
    /// The order after the change.
    pub order: Order,
    /// The version that the changed order replaces.
    pub from_version: u32,
    /// The change of the stock in the same transaction; `None` if the stock does not change.
    pub effect: Option<StockEffect>,
}

/// The data from which an order is placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The reservation that becomes the order.
    pub reservation: ReservationId,
    /// The shopper who places the order.
    pub shopper: ShopperId,
    /// The *ordered* claim that replaces the hold.
    pub claim: Claim,
    /// The amount that the shopper consented to pay.
    pub amount: Money,
    /// The gateway's token for the card.
    pub payment_method: String,
    /// Hashes of the request that places the order.
    pub fingerprint: Fingerprint,
    /// The order's time limits and its number of cards.
    pub terms: Terms,
}

/// Hashes of a request: one of its idempotency key, one of its contents. They distinguish a repeat of the
/// request from another request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    key: String,
    contents: String,
}

/// The error for a stored text that is not a [`Fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint")]
pub struct FingerprintError;

/// The error for an order that is not a new order of the hold that it should replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the order is not one of this hold")]
pub struct NotOfThisHold;

impl Fingerprint {
    /// Characters of each of the two hashes: 132 bits of a SHA-256 in base64url.
    const HASH_BYTES: usize = 22;

    /// The fingerprint of a request with this idempotency key and these contents.
    #[must_use]
    pub fn of_request(idempotency_key: &[u8], contents: &[u8]) -> Self {
        Self {
            key: short_hash(idempotency_key, Self::HASH_BYTES),
            contents: short_hash(contents, Self::HASH_BYTES),
        }
    }

    /// Whether both requests had the same idempotency key.
    #[must_use]
    pub fn has_key_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Whether both requests had the same contents.
    #[must_use]
    pub fn has_contents_of(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

impl fmt::Display for Fingerprint {
    /// Writes the hash of the key, a colon and the hash of the contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, self.contents)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let (key, contents) = text.split_once(':').ok_or(FingerprintError)?;
        let is_hash = |text: &str| text.len() == Self::HASH_BYTES && text.bytes().all(is_base64url);
        if !is_hash(key) || !is_hash(contents) {
            return Err(FingerprintError);
        }
        let (key, contents) = (key.to_owned(), contents.to_owned());
        Ok(Self { key, contents })
    }
}

serde_as_text!(Fingerprint);

/// The bucket, in the index of open orders, of the order with this id: a number below [`OPEN_BUCKETS`].
#[must_use]
pub fn bucket_of(id: &OrderId) -> u8 {
    let bytes = id.as_str().bytes();
    let hash = bytes.fold(0u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
    u8::try_from(hash % u32::from(OPEN_BUCKETS)).unwrap_or(0)
}

impl Order {
    /// A new order, at version 1, without a correlation id.
    #[must_use]
    pub fn place(placement: Placement, now: Timestamp) -> Self {
        let id = OrderId::of_reservation(&placement.reservation);
        let state = State::placed(now, &placement.terms);
        Self {
            format: Format,
            tries: vec![Try::new(1, placement.payment_method, None)],
            id,
            reservation: placement.reservation,
            shopper: placement.shopper,
            units: placement.claim.units,
            amount: placement.amount,
            claim: placement.claim,
            fingerprint: placement.fingerprint,
            correlation: None,
            create_keys_used: 0,
            payment_id: None,
            status: state.status,
            reason: state.reason,
            action: None,
            cancel_requested: state.cancel_requested,
            turn: state.turn,
            shopper_left_ms: state.shopper_left_ms,
            cards_left: state.cards_left,
            terms: placement.terms,
            kept: None,
            history: History::placed(),
            version: 1,
            placed_at: now,
            updated_at: now,
            payment_deadline: state.payment_deadline,
            due_at: now.plus_millis(REDRIVE_MS),
        }
    }

    /// The part of the order that follows from its history.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            status: self.status,
            reason: self.reason,
            cancel_requested: self.cancel_requested,
            turn: self.turn,
            shopper_left_ms: self.shopper_left_ms,
            payment_deadline: self.payment_deadline,
            cards_left: self.cards_left,
        }
    }

    /// Whether the order's state and tries agree with its history.
    #[must_use]
    pub fn follows_from_history(&self) -> bool {
        let tries =
            [Cause::Placed, Cause::TriedAgain, Cause::AnotherCard].map(|cause| self.history.count(cause));
        self.history.fold(self.placed_at, &self.terms) == Some(self.state())
            && self.tries.len() == tries.iter().sum::<usize>()
    }

    /// Whether the order's end counts as a lapse ([`crate::lapse`]).
    #[must_use]
    pub fn counts_as_lapse(&self) -> bool {
        self.reason.is_some_and(EndReason::counts_as_lapse)
    }

    /// The current try, which is the last entry of `tries`.
    #[must_use]
    pub fn current_try(&self) -> Option<&Try> {
        self.tries.last()
    }

    /// Whether a decline with this card and this charge belongs to the current try. A gateway reports the
    /// decline of an earlier try until the current try has a result. A decline that fits both tries does not
    /// count: the caller then confirms again under the current try's key, which does no harm.
    #[must_use]
    pub fn is_of_current_try(&self, method: Option<&str>, charge: Option<&PaymentId>) -> bool {
        let Some((current, earlier)) = self.tries.split_last() else {
            return false;
        };
        if current.answered {
            return true;
        }
        let known = |one: &Try| charge.is_some() && one.charge.as_ref() == charge;
        let alike = |one: &Try| one.method == current.method && (charge.is_none() || one.charge.is_none());
        method == Some(current.method.as_str()) && !earlier.iter().any(|one| known(one) || alike(one))
    }

    /// Whether the system may try the same card again after a temporary decline: once for each order.
    #[must_use]
    pub fn may_try_again(&self) -> bool {
        self.history.count(Cause::TriedAgain) == 0
            && self.tries.len() < MAX_TRIES
            && self.cancel_requested.is_none()
    }

    /// The hold that this new order replaces, exactly as the hold was read.
    ///
    /// # Errors
    /// [`NotOfThisHold`] unless the order is at version 1 and its claim is `hold` turned into *ordered*, with
    /// the same units and the same reservation.
    pub fn replaced<'a>(&self, hold: &'a Claim) -> Result<SeenHold<'a>, NotOfThisHold> {
        let of_hold = self.claim.state == ClaimState::Ordered
            && (self.claim.units, &self.claim.nonce) == (hold.units, &hold.nonce)
            && (self.units, self.version) == (hold.units, 1);
        SeenHold::of(hold).ok().filter(|_| of_hold).ok_or(NotOfThisHold)
    }

    /// The bucket of the open order in the index of open orders; `None` once the order has ended.
    #[must_use]
    pub fn open_bucket(&self) -> Option<u8> {
        self.status.is_open().then(|| bucket_of(&self.id))
    }

    /// Stores the gateway's id of the payment, before any confirmation.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order's status is *placed*.
    pub fn with_payment(&self, payment_id: PaymentId, now: Timestamp) -> Result<OrderStep, NotPossible> {
        let mut step = self.after(Cause::Created, now)?;
        step.order.payment_id = Some(payment_id);
        Ok(step)
    }

    /// Changes to the next idempotency key for the next call, since the gateway stored a failure under the
    /// current key and returns this failure to every repeat. The caller must have checked that no money was
    /// taken under the current key.
    ///
    /// # Errors
    /// [`NotPossible`] unless a payment is to be created or confirmed, and one of the [`MAX_KEYS`] keys
    /// is left.
    pub fn next_key(&self, now: Timestamp) -> Result<OrderStep, NotPossible> {
        let mut order = self.clone();
        let current = order.tries.last_mut().filter(|_| self.payment_id.is_some());
        let (used, key) = match current {
            Some(current) => (&mut current.keys_used, Some((&mut current.key, current.n))),
            None => (&mut order.create_keys_used, None),
        };
        let calls = matches!(self.status, OrderStatus::Placed | OrderStatus::Paying);
        if !calls || *used + 1 >= MAX_KEYS {
            return Err(NotPossible(self.status));
        }
        *used += 1;
        if let Some((key, n)) = key {
            *key = format!("confirm/{n}/{used}");
        }
        order.due_at = order.next_look(now);
        Ok(self.step(order, None, now))
    }

    /// Stores the action that the shopper must take within the shopper's time, and the address of its page.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order is being paid, or already waits for an action.
    pub fn require_action(&self, url: String, now: Timestamp) -> Result<OrderStep, NotPossible> {
        let mut step = if self.status == OrderStatus::ActionRequired {
            self.step(self.clone(), None, now)
        } else {
            self.after(Cause::ActionNeeded, now)?
        };
        let deadline = step.order.payment_deadline;
        step.order.action = Some(PaymentAction { url, deadline });
        if let Some(current) = step.order.tries.last_mut() {
            current.answered = true;
        }
        Ok(step)
    }

    /// Records that the shopper acted and that the gateway now processes the payment.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order waits for an action.
    pub fn acted(&self, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.after(Cause::Acted, now)
    }

    /// Records that the gateway declined the current try. The shopper may submit another card.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order is being paid or waits for an action, and the shopper may submit a
    /// further card.
    pub fn declined(
        &self,
        reason: DeclineReason,
        charge: Option<PaymentId>,
        now: Timestamp,
    ) -> Result<OrderStep, NotPossible> {
        self.after_decline(Cause::Declined, reason, charge, now)
    }

    /// Records that the gateway declined the current try, and requests the order's end, since no further card
    /// may be tried.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order has a payment and no end has been requested.
    pub fn declined_for_good(
        &self,
        reason: DeclineReason,
        charge: Option<PaymentId>,
        now: Timestamp,
    ) -> Result<OrderStep, NotPossible> {
        self.after_decline(Cause::GiveUpDeclined, reason, charge, now)
    }

    /// Records a temporary decline of the current try, and adds a try with the same card.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order is being paid or waits for an action, and [`Order::may_try_again`]
    /// is true.
    pub fn try_again(
        &self,
        reason: DeclineReason,
        charge: Option<PaymentId>,
        now: Timestamp,
    ) -> Result<OrderStep, NotPossible> {
        if !self.may_try_again() {
            return Err(NotPossible(self.status));
        }
        let mut step = self.after_decline(Cause::TriedAgain, reason, charge, now)?;
        let method = self.current_try().map(|one| one.method.clone());
        step.order.add_try(method.unwrap_or_default(), None);
        Ok(step)
    }

    /// Adds a try with another card that the shopper submitted.
    ///
    /// # Errors
    /// [`NotPossible`] unless the last card was declined, a further card and time are left, and no end has
    /// been requested.
    pub fn another_card(
        &self,
        method: String,
        request: Fingerprint,
        now: Timestamp,
    ) -> Result<OrderStep, NotPossible> {
        if self.tries.len() >= MAX_TRIES {
            return Err(NotPossible(self.status));
        }
        let mut step = self.after(Cause::AnotherCard, now)?;
        step.order.add_try(method, Some(request));
        Ok(step)
    }

    /// A hash of the address of the bank's page on which the shopper must act; `None` if there is no such
    /// page. The hash has 48 bits in base64url, from which the address cannot be derived.
    #[must_use]
    pub fn page(&self) -> Option<String> {
        let action = self.action.as_ref()?;
        Some(short_hash(action.url.as_bytes(), 8))
    }

    /// Whether the gateway or this system must act next: in the gateway's turn, and after a request to end,
    /// when the gateway must confirm that it will take no money.
    #[must_use]
    pub fn waits_for_gateway(&self) -> bool {
        self.status.is_open() && (self.turn == Turn::Gateway || self.cancel_requested.is_some())
    }

    /// The time at which the order's wait for the gateway began, and the time from which on the operator must
    /// decide about the order; `None` while the order does not wait for the gateway.
    #[must_use]
    pub fn gateway_wait(&self) -> Option<(Timestamp, Timestamp)> {
        if !self.waits_for_gateway() {
            None
        } else if self.turn == Turn::Gateway {
            Some((self.state().wait_began(&self.terms), self.payment_deadline))
        } else {
            let until = self.updated_at.plus_seconds(self.terms.gateway_wait_seconds);
            Some((self.updated_at, until))
        }
    }

    /// Lets the order wait for the gateway for `seconds` more, counted from `now`, at the operator's request.
    /// The order stores `request`, so that the caller can distinguish a repeat from a new request.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order waits for the gateway, no end has been requested, and the order was
    /// kept fewer than [`MAX_KEEPS`] times.
    pub fn keep(&self, seconds: u32, request: Fingerprint, now: Timestamp) -> Result<OrderStep, NotPossible> {
        if self.history.count(Cause::Kept) >= MAX_KEEPS {
            return Err(NotPossible(self.status));
        }
        let began = self.state().wait_began(&self.terms);
        let waited_ms = self.updated_at.max(now).millis_since(began).max(0);
        let waited = u32::try_from(waited_ms.saturating_add(999) / 1_000).unwrap_or(u32::MAX);
        let terms = Terms {
            gateway_wait_seconds: waited.saturating_add(seconds),
            ..self.terms
        };
        let kept = Self {
            payment_deadline: began.plus_seconds(terms.gateway_wait_seconds),
            terms,
            kept: Some(request),
            ..self.clone()
        };
        kept.after(Cause::Kept, now)
    }

    /// Records the operator's statement that the gateway does not have the payment. The order may then end if
    /// a look-up does not find the payment either.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order has a payment and its end has been requested.
    pub fn not_at_gateway(&self, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.after(Cause::NotAtGateway, now)
    }

    /// Whether the operator has stated that the gateway does not have the order's payment.
    #[must_use]
    pub fn is_not_at_gateway(&self) -> bool {
        self.history.count(Cause::NotAtGateway) > 0
    }

    /// The number of the order's declined tries.
    #[must_use]
    pub fn declines(&self) -> u32 {
        let declined = self.tries.iter().filter(|one| one.declined.is_some());
        u32::try_from(declined.count()).unwrap_or(u32::MAX)
    }

    /// Requests that the order ends unpaid. An order whose payment was never confirmed ends immediately. A second
    /// request is refused, so the first reason stays.
    ///
    /// # Errors
    ///
    /// [`NotPossible`] unless the order is open and no end has been requested.
    pub fn request_cancel(&self, reason: EndReason, now: Timestamp) -> Result<OrderStep, NotPossible> {
        match step(self.status) {
            None => Err(NotPossible(self.status)),
            Some((_, Compensation::None)) => self.undo(reason, now),
            Some((_, Compensation::CancelPayment)) => self.after(Cause::give_up(reason), now),
        }
    }

    /// Records that the money was taken, and turns the order's units into sold ones.
    ///
    /// # Errors
    ///
    /// [`NotPossible`] unless the order is open.
    pub fn settle(&self, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.after(Cause::Paid, now)
    }

    /// Ends the order unpaid and returns its units. The caller must have carried out the compensation of the
    /// order's status, so that no money was taken and none will be.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order is open.
    pub fn undo(&self, reason: EndReason, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.after(Cause::ended(reason), now)
    }

    /// Records that the money was refunded. The units stay sold; only a restock puts units on sale again. No
    /// function refunds orders yet.
    ///
    /// # Errors
    /// [`NotPossible`] unless the order is paid.
    pub fn refund(&self, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.after(Cause::Refunded, now)
    }

    fn add_try(&mut self, method: String, request: Option<Fingerprint>) {
        let before = u32::try_from(self.tries.len()).unwrap_or(u32::MAX);
        self.tries
            .push(Try::new(before.saturating_add(1), method, request));
    }

    fn after_decline(
        &self,
        cause: Cause,
        reason: DeclineReason,
        charge: Option<PaymentId>,
        now: Timestamp,
    ) -> Result<OrderStep, NotPossible> {
        let mut step = self.after(cause, now)?;
        if let Some(current) = step.order.tries.last_mut() {
            current.declined = Some(reason);
            current.charge = charge;
        }
        Ok(step)
    }

    /// The step that `cause` makes. Only this function changes the order's status, turn and history.
    fn after(&self, cause: Cause, now: Timestamp) -> Result<OrderStep, NotPossible> {
        // A clock that is behind must not move an order's time back.
        let at = self.updated_at.max(now);
        let (state, effect) = self.state().after(cause, at, &self.terms)?;
        let history = self.history.with(cause, at.millis_since(self.placed_at));
        let order = Self {
            status: state.status,
            reason: state.reason,
            cancel_requested: state.cancel_requested,
            turn: state.turn,
            shopper_left_ms: state.shopper_left_ms,
            payment_deadline: state.payment_deadline,
            cards_left: state.cards_left,
            action: self
                .action
                .clone()
                .filter(|_| state.status == OrderStatus::ActionRequired),
            history: history.ok_or(NotPossible(self.status))?,
            ..self.clone()
        };
        Ok(self.step(order, effect, now))
    }

    /// The time of the sweeper's next check of the order, if a check at `now` changes nothing. The pause
    /// between two checks grows with the time since the last change, but a check takes place at the end of
    /// the shopper's time.
    #[must_use]
    pub fn next_look(&self, now: Timestamp) -> Timestamp {
        let since = now.millis_since(self.updated_at);
        let wanted = self.cancel_requested.is_none();
        let pause = match self.status {
            OrderStatus::ActionRequired if wanted => since.clamp(ACTION_POLL_MS, MAX_ACTION_POLL_MS),
            OrderStatus::PaymentFailed if wanted && now < self.payment_deadline => {
                return self.payment_deadline;
            }
            _ => since.clamp(REDRIVE_MS, MAX_REDRIVE_MS),
        };
        let next = now.plus_millis(pause);
        if self.turn == Turn::Shopper && wanted && now < self.payment_deadline {
            next.min(self.payment_deadline)
        } else {
            next
        }
    }

    fn step(&self, order: Self, effect: Option<StockEffect>, now: Timestamp) -> OrderStep {
        let mut order = Self {
            version: self.version + 1,
            updated_at: self.updated_at.max(now),
            ..order
        };
        if order.status.is_open() {
            order.due_at = order.next_look(now);
        }
        OrderStep {
            order,
            from_version: self.version,
            effect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Nonce;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    const TERMS: Terms = Terms {
        payment_seconds: 60,
        retry_seconds: 30,
        gateway_wait_seconds: 600,
        cards: 3,
    };

    fn order() -> Order {
        let (drop, shopper) = ("d".parse().unwrap(), "ada".parse().unwrap());
        let nonce = Nonce::of_request(&drop, &"A".parse().unwrap(), &shopper, "k", now());
        let claim = Claim::held(2, now().plus_seconds(15), nonce.clone())
            .ordered(now(), now().plus_seconds(60))
            .unwrap();
        let shard = crate::ids::ShardKey {
            drop,
            sku: "A".parse().unwrap(),
            index: 0,
        };
        let amount = Money {
            amount_minor: 9800,
            currency: "EUR".parse().unwrap(),
        };
        let reservation = ReservationId { shard, nonce };
        let (payment_method, fingerprint) = ("pm_card_visa".into(), Fingerprint::of_request(b"k", b"f"));
        Order::place(
            Placement {
                reservation,
                shopper,
                claim,
                amount,
                payment_method,
                fingerprint,
                terms: TERMS,
            },
            now(),
        )
    }

    fn apply(order: &Order, what: u8) -> Result<OrderStep, NotPossible> {
        let later = now().plus_seconds(1);
        match what {
            0 => order.with_payment("pi_1".parse().unwrap(), later),
            1 => order.require_action("https://bank.example/1".into(), later),
            2 => order.settle(later),
            3 => order.undo(EndReason::PaymentDeclined, later),
            4 => order.undo(EndReason::PaymentDeadline, later),
            5 => order.request_cancel(EndReason::ByShopper, later),
            6 => order.keep(60, Fingerprint::of_request(b"k6", b"60"), later),
            7 => order.refund(later),
            8 => order.acted(later),
            9 => order.declined(DeclineReason::CardDeclined, None, later),
            10 => order.try_again(DeclineReason::TryAgain, None, later),
            11 => order.declined_for_good(DeclineReason::CardDeclined, None, later),
            13 => order.next_key(later),
            14 => order.not_at_gateway(later),
            _ => order.another_card("pm_2".into(), Fingerprint::of_request(b"k2", b"pm_2"), later),
        }
    }

    #[test]
    fn an_order_of_a_release_without_correlation_ids_is_read_and_stays_as_it_is() {
        let without = serde_json::to_value(order()).unwrap();
        assert_eq!(without.get("correlation"), None);
        assert_eq!(serde_json::from_value::<Order>(without).unwrap(), order());
        let correlation = Some("JKJaXmPLvHcESHA=".parse().unwrap());
        let with = Order {
            correlation,
            ..order()
        };
        let with = serde_json::to_value(with).unwrap();
        assert_eq!(with["correlation"], "JKJaXmPLvHcESHA=");
        for other in ["", "ada@example.org", "a b", &"a".repeat(65)] {
            assert!(other.parse::<CorrelationId>().is_err(), "{other}");
        }
    }

    const STEPS: u8 = 15;

    proptest! {
        #[test]
        fn stock_moves_once_and_final_is_final(steps in proptest::collection::vec(prop_oneof![3 => 0u8..STEPS, 1 => Just(9), 1 => Just(12)], 0..60)) {
            let mut order = order();
            let mut effects = 0;
            for what in steps {
                let Ok(step) = apply(&order, what) else { continue };
                prop_assert_eq!(step.from_version, order.version); prop_assert_eq!(step.order.version, order.version + 1);
                if step.effect.is_some() {
                    effects += 1;
                    prop_assert!(order.status.is_open() && !step.order.status.is_open());
                }
                prop_assert!(order.status.is_open() || step.order.status == OrderStatus::Refunded);
                prop_assert!(order.payment_id.is_none() || step.order.payment_id == order.payment_id, "a payment is never replaced");
                prop_assert_eq!(step.order.open_bucket().is_some(), step.order.status.is_open());
                prop_assert!(step.order.follows_from_history(), "{:?}", step.order);
                prop_assert!(step.order.tries.len() <= MAX_TRIES);
                prop_assert!(step.order.shopper_left_ms <= order.shopper_left_ms, "the shopper's time only runs");
                let text = serde_json::to_string(&step.order).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Order>(&text).unwrap(), &step.order);
                order = step.order;
            }
            prop_assert!(effects <= 1, "the claim is settled or undone at most once");
        }
    }

    #[test]
    fn a_cancellation_waits_for_the_gateway_once_a_payment_exists() {
        let fresh = order();
        assert_eq!(
            fresh.request_cancel(EndReason::ByShopper, now()).unwrap().effect,
            Some(StockEffect::Undo)
        );
        let paying = fresh.with_payment("pi_1".parse().unwrap(), now()).unwrap().order;
        let asked = paying.request_cancel(EndReason::ByShopper, now()).unwrap();
        assert_eq!(asked.effect, None);
        assert_eq!(asked.order.status, OrderStatus::Paying);
        assert_eq!(asked.order.cancel_requested, Some(EndReason::ByShopper));
    }

    #[test]
    fn an_order_survives_its_stored_form() {
        let order = order()
            .with_payment("pi_1".parse().unwrap(), now())
            .unwrap()
            .order;
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
    }

    /// An order in its stored form. Orders are stored for years, so a change of this text needs another format
    /// number.
    const STORED: &str = r#"{"format":2,"id":"ocm7m6sabaizeamsdfo3u6iffs5","reservation":"demo.TEE-M.0.Cn6XvQs-Zo","shopper":"ada","units":1,"amount":{"amount_minor":4900,"currency":"EUR"},"claim":"o1mx9ajb9cCn6XvQs-Zo","tries":[{"n":1,"gateway":"stripe","key":"confirm/1","method":"pm_card_visa","declined":"insufficient_funds","charge":"ch_1"},{"n":2,"gateway":"stripe","key":"confirm/2","method":"pm_2","request":"KpdRbDVLaISM29j1SiJqCl:KpdRbDVLaISM29j1SiJqCl"}],"fingerprint":"KpdRbDVLaISM29j1SiJqCl:KpdRbDVLaISM29j1SiJqCl","payment_id":"pi_example","status":"paying","turn":"gateway","shopper_left_ms":20000,"cards_left":1,"terms":"120/60/7200","history":"placed:0,created:400,declined:900,another_card:40900","version":4,"placed_at":1796407200000,"updated_at":1796407240900,"payment_deadline":1796414440900,"due_at":1796407255900}"#;

    #[test]
    fn the_stored_form_is_byte_for_byte_what_it_was() {
        let order: Order = serde_json::from_str(STORED).unwrap();
        assert_eq!(serde_json::to_string(&order).unwrap(), STORED);
        assert!(order.follows_from_history());
        assert_eq!(order.fingerprint, Fingerprint::of_request(b"demo", b"demo"));
        for other in [r#""format":1,"#, ""] {
            let text = STORED.replacen(r#""format":2,"#, other, 1);
            assert!(serde_json::from_str::<Order>(&text).is_err(), "{other}");
        }
    }

    #[test]
    fn an_order_with_an_unreadable_field_is_no_order() {
        for (good, bad) in [
            ("o1mx9ajb9cCn6XvQs-Zo", "nonsense"),
            ("pi_example", "pi/example"),
            ("pi_example", ""),
            ("120/60/7200", "120/60"),
            ("created:400", "created"),
            ("created:400", "melted:400"),
            ("KpdRbDVLaISM29j1SiJqCl:", ""),
            ("KpdRbDVLaISM29j1SiJqCl:", "KpdRbDVLaISM29j1SiJqCl"),
            ("KpdRbDVLaISM29j1SiJqCl:", "short:"),
            ("KpdRbDVLaISM29j1SiJqCl:", "KpdRbDVLaISM29j1SiJqC.:"),
        ] {
            let text = STORED.replacen(good, bad, 1);
            assert_ne!(text, STORED);
            assert!(serde_json::from_str::<Order>(&text).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_tells_key_and_contents_apart() {
        let first = Fingerprint::of_request(b"k", b"c");
        for (key, contents) in [("k", "c"), ("k", "d"), ("l", "c"), ("c", "k")] {
            let other = Fingerprint::of_request(key.as_bytes(), contents.as_bytes());
            assert_eq!(other.has_key_of(&first), key == "k", "{key} {contents}");
            assert_eq!(other.has_contents_of(&first), contents == "c", "{key} {contents}");
            assert_eq!(other.to_string().parse::<Fingerprint>(), Ok(other));
        }
    }

    #[test]
    fn only_a_new_order_of_the_hold_replaces_it() {
        let new = order();
        let hold = Claim::held(2, now().plus_seconds(15), new.claim.nonce.clone());
        assert_eq!(new.replaced(&hold).map(SeenHold::claim), Ok(&hold));
        let other = Nonce::of_request(
            &"d".parse().unwrap(),
            &"A".parse().unwrap(),
            &new.shopper,
            "other",
            now(),
        );
        let holds = [
            new.claim.clone(),
            Claim::held(1, hold.deadline, hold.nonce.clone()),
            Claim::held(2, hold.deadline, other),
        ];
        for wrong in &holds {
            assert_eq!(new.replaced(wrong), Err(NotOfThisHold), "{wrong:?}");
        }
        let orders = [
            Order {
                version: 2,
                ..new.clone()
            },
            Order {
                units: 1,
                ..new.clone()
            },
            Order {
                claim: hold.clone(),
                ..new.clone()
            },
        ];
        for wrong in &orders {
            assert_eq!(wrong.replaced(&hold), Err(NotOfThisHold), "{wrong:?}");
        }
    }

    /// The order after the steps that have these numbers in [`apply`].
    fn after(steps: &[u8]) -> Order {
        steps
            .iter()
            .fold(order(), |order, what| apply(&order, *what).unwrap().order)
    }

    #[test]
    fn each_status_allows_what_the_table_says_and_refuses_the_rest() {
        for (steps, status, expected) in [
            (&[][..], OrderStatus::Placed, &[0, 2, 3, 4, 5, 6, 13][..]),
            (&[0], OrderStatus::Paying, &[1, 2, 3, 4, 5, 6, 9, 10, 11, 13]),
            (
                &[0, 1],
                OrderStatus::ActionRequired,
                &[1, 2, 3, 4, 5, 8, 9, 10, 11],
            ),
            (&[0, 9], OrderStatus::PaymentFailed, &[2, 3, 4, 5, 11, 12]),
            (&[0, 9, 5], OrderStatus::PaymentFailed, &[2, 3, 4, 14]),
            (
                &[0, 9, 12, 9, 12],
                OrderStatus::Paying,
                &[1, 2, 3, 4, 5, 6, 10, 11, 13],
            ),
            (&[0, 10], OrderStatus::Paying, &[1, 2, 3, 4, 5, 6, 9, 11, 13]),
            (&[13, 13], OrderStatus::Placed, &[0, 2, 3, 4, 5, 6]),
            (&[0, 2], OrderStatus::Paid, &[7]),
            (&[0, 3], OrderStatus::Declined, &[]),
            (&[0, 4], OrderStatus::Cancelled, &[]),
            (&[0, 2, 7], OrderStatus::Refunded, &[]),
        ] {
            let order = after(steps);
            assert_eq!(order.status, status, "{steps:?}");
            let allowed: Vec<u8> = (0..STEPS).filter(|what| apply(&order, *what).is_ok()).collect();
            assert_eq!(allowed, expected, "{steps:?}");
            for what in (0..STEPS).filter(|what| !allowed.contains(what)) {
                assert_eq!(apply(&order, what), Err(NotPossible(status)), "{steps:?} {what}");
            }
        }
    }

    #[test]
    fn a_key_that_is_used_up_is_replaced_by_the_next_one_a_few_times() {
        let (created, tried) = (after(&[13]), after(&[0, 13, 13]));
        assert_eq!(created.create_keys_used, 1);
        assert_eq!(created.tries[0].key.as_str(), "confirm/1");
        assert_eq!(tried.create_keys_used, 0);
        assert_eq!(tried.tries[0].key.as_str(), "confirm/1/2");
        assert_eq!(tried.next_key(now()), Err(NotPossible(OrderStatus::Paying)));
        assert!(tried.follows_from_history());
        let stored = serde_json::to_value(&tried).unwrap();
        assert_eq!(serde_json::from_value::<Order>(stored).unwrap(), tried);
        // A count of 0 is not written, so orders that earlier releases stored without these two members keep
        // their stored form.
        let before = serde_json::to_string(&order()).unwrap();
        assert!(!before.contains("keys_used"), "{before}");
    }

    #[test]
    fn the_shopper_s_time_runs_in_the_shopper_s_turn_alone() {
        let at = |seconds| now().plus_seconds(seconds);
        let paying = order()
            .with_payment("pi_1".parse().unwrap(), at(100))
            .unwrap()
            .order;
        assert_eq!(paying.turn, Turn::Gateway);
        assert_eq!(paying.shopper_left_ms, 60_000);
        assert_eq!(
            paying.payment_deadline,
            at(600),
            "the wait began when it was placed"
        );
        let url = || "https://bank.example/1".to_owned();
        let acting = paying.require_action(url(), at(110)).unwrap().order;
        assert_eq!(acting.turn, Turn::Shopper);
        assert_eq!(acting.payment_deadline, at(170));
        assert_eq!(acting.action.as_ref().unwrap().deadline, at(170));
        let acted = acting.acted(at(155)).unwrap().order;
        assert_eq!(acted.turn, Turn::Gateway);
        assert_eq!(acted.shopper_left_ms, 15_000);
        assert_eq!(acted.payment_deadline, at(755));
        assert_eq!(acted.action, None);
        let no = DeclineReason::CardDeclined;
        let failed = acted.declined(no, None, at(230)).unwrap().order;
        assert_eq!(failed.turn, Turn::Shopper);
        assert_eq!(failed.payment_deadline, at(260));
        assert_eq!(failed.due_at, at(260));
        let card = |order: &Order, seconds| {
            order.another_card("pm_2".into(), Fingerprint::of_request(b"2", b"2"), at(seconds))
        };
        assert!(card(&failed, 260).is_err(), "the time is over");
        let again = card(&failed, 250).unwrap().order;
        assert_eq!(again.turn, Turn::Gateway);
        assert_eq!(again.shopper_left_ms, 10_000);
        let failed = again.declined(no, None, at(300)).unwrap().order;
        assert_eq!(failed.payment_deadline, at(310), "never started again");
        assert_eq!(failed.cards_left, 1, "never started again");
    }

    #[test]
    fn looks_at_an_order_get_rarer_and_do_not_miss_the_end_of_its_time() {
        let pauses = |order: &Order, most: usize| {
            let mut at = order.updated_at;
            let mut pauses = Vec::new();
            for _ in 0..most {
                let next = order.next_look(at);
                pauses.push(next.millis_since(at) / 1_000);
                at = next;
            }
            pauses
        };
        assert_eq!(pauses(&order(), 7), [15, 15, 30, 60, 120, 120, 120]);
        let acting = apply(&after(&[0]), 1).unwrap().order;
        assert_eq!(
            pauses(&acting, 7),
            [4, 4, 8, 16, 28, 60, 64],
            "28: the end of their time"
        );
        let failed = apply(&after(&[0]), 9).unwrap().order;
        assert_eq!(pauses(&failed, 3), [30, 30, 60]);
        let leaving = apply(&acting, 5).unwrap().order;
        assert_eq!(pauses(&leaving, 3), [15, 15, 30], "only the gateway is asked");
    }

    #[test]
    fn who_was_waited_for_long_has_at_least_ten_minutes_when_it_is_their_turn_again() {
        let at = |seconds| now().plus_seconds(seconds);
        let paying = order()
            .with_payment("pi_1".parse().unwrap(), at(1))
            .unwrap()
            .order;
        let left = |seconds| {
            let declined = paying
                .declined(DeclineReason::CardDeclined, None, at(seconds))
                .unwrap();
            let acting = paying
                .require_action("https://bank.example/1".into(), at(seconds))
                .unwrap();
            assert!(declined.order.follows_from_history() && acting.order.follows_from_history());
            [declined, acting].map(|step| step.order.payment_deadline.millis_since(at(seconds)) / 1_000)
        };
        assert_eq!(left(179), [30, 60]);
        assert_eq!(left(180), [600, 600], "since the order was placed");
    }

    #[test]
    fn an_order_that_waits_for_the_gateway_is_kept_by_its_operator_and_ends_by_nobody_else() {
        let request = |n: u8| Fingerprint::of_request(&[n], b"");
        let at = |seconds| now().plus_seconds(seconds);
        let placed = order();
        assert_eq!(placed.gateway_wait(), Some((now(), at(600))));
        let mut kept = placed.keep(60, request(0), at(900)).unwrap().order;
        assert_eq!(kept.payment_deadline, at(960));
        assert_eq!(kept.gateway_wait(), Some((now(), at(960))));
        assert!(kept.follows_from_history());
        let paying = kept.with_payment("pi_1".parse().unwrap(), at(910)).unwrap().order;
        let declined = paying
            .declined(DeclineReason::CardDeclined, None, at(920))
            .unwrap()
            .order;
        assert_eq!(
            declined.payment_deadline,
            at(920 + 600),
            "it has waited since it was placed"
        );
        assert!(declined.follows_from_history());
        assert!(
            declined.keep(60, request(1), at(930)).is_err(),
            "it is the shopper's turn"
        );
        for n in 1..10 {
            kept = kept.keep(60, request(n), at(900)).unwrap().order;
        }
        assert!(kept.keep(60, request(10), at(900)).is_err());
        let ended = paying
            .request_cancel(EndReason::GatewayUnavailable, at(930))
            .unwrap();
        assert_eq!(ended.effect, None);
        assert!(ended.order.waits_for_gateway());
        assert!(ended.order.keep(60, request(1), at(930)).is_err());
        assert!(paying.not_at_gateway(at(930)).is_err(), "nobody wants it to end");
        let stated = ended.order.not_at_gateway(at(931)).unwrap().order;
        assert!(stated.is_not_at_gateway() && stated.follows_from_history());
    }

    #[test]
    fn only_the_first_order_takes_further_cards_and_whoever_was_declined_often_takes_none() {
        assert_eq!(
            [(true, 9), (false, 0), (false, 5), (false, 6)].map(|(first, n)| Terms::cards_of(first, n)),
            [3, 1, 1, 0]
        );
        let terms = |cards| Terms { cards, ..TERMS };
        for (cards, text) in [(3, "60/30/600"), (0, "60/30/600/0")] {
            assert_eq!(terms(cards).to_string(), text);
            assert_eq!(text.parse(), Ok(terms(cards)));
        }
        assert_eq!("60/30/600".parse(), Ok(terms(3)));
        assert!("60/30/600/".parse::<Terms>().is_err() && "60/30".parse::<Terms>().is_err());
    }

    #[test]
    fn a_decline_counts_for_the_try_that_it_names() {
        let charge = |n: u8| format!("ch_{n}").parse::<PaymentId>().unwrap();
        let first = after(&[0]);
        let of =
            |order: &Order, method, n: Option<u8>| order.is_of_current_try(method, n.map(charge).as_ref());
        assert!(of(&first, Some("pm_card_visa"), None));
        assert!(!of(&first, Some("pm_other"), Some(1)));
        assert!(
            !of(&first, None, Some(1)),
            "confirming again under the same key tells"
        );
        let no = DeclineReason::TryAgain;
        let failed = first.declined(no, Some(charge(1)), now()).unwrap().order;
        let second = apply(&failed, 12).unwrap().order;
        assert!(!of(&second, Some("pm_card_visa"), Some(1)));
        assert!(of(&second, Some("pm_2"), Some(2)));
        let again = first.try_again(no, Some(charge(1)), now()).unwrap().order;
        assert!(!of(&again, Some("pm_card_visa"), Some(1)));
        assert!(!of(&again, Some("pm_card_visa"), None));
        assert!(of(&again, Some("pm_card_visa"), Some(2)));
        let acting = apply(&again, 1).unwrap().order;
        assert!(
            of(&acting, Some("pm_card_visa"), None),
            "what comes after the bank's page is about this try"
        );
    }

    #[test]
    fn whoever_holds_a_stolen_card_does_not_learn_that_it_is_known() {
        for code in [
            "lost_card",
            "stolen_card",
            "fraudulent",
            "pickup_card",
            "merchant_blacklist",
            "generic_decline",
            "new",
        ] {
            assert_eq!(
                DeclineReason::of_code(code),
                DeclineReason::CardDeclined,
                "{code}"
            );
        }
    }

    #[test]
    fn a_decline_code_that_helps_the_shopper_has_its_own_reason() {
        let reasons = [
            (
                DeclineReason::InsufficientFunds,
                "insufficient_funds card_velocity_exceeded withdrawal_count_limit_exceeded",
            ),
            (DeclineReason::ExpiredCard, "expired_card"),
            (
                DeclineReason::IncorrectDetails,
                "incorrect_number invalid_number incorrect_cvc invalid_cvc incorrect_zip invalid_expiry_month \
                 invalid_expiry_year incorrect_pin invalid_pin",
            ),
            (
                DeclineReason::AuthenticationFailed,
                "authentication_required payment_intent_authentication_failure",
            ),
            (
                DeclineReason::NotSupported,
                "card_not_supported currency_not_supported invalid_account transaction_not_allowed \
                 service_not_allowed not_permitted",
            ),
            (
                DeclineReason::TryAgain,
                "try_again_later processing_error issuer_not_available reenter_transaction",
            ),
        ];
        for (reason, codes) in reasons {
            for code in codes.split_whitespace() {
                assert_eq!(DeclineReason::of_code(code), reason, "{code}");
            }
        }
    }

    #[test]
    fn an_order_reports_its_try_its_declines_its_page_and_its_end() {
        let placed = order();
        assert_eq!(placed.current_try().map(|one| one.n), Some(1));
        assert_eq!(
            (placed.declines(), placed.page(), placed.is_not_at_gateway()),
            (0, None, false)
        );
        let acting = after(&[0, 1]);
        let page = acting.page().unwrap();
        assert_eq!(page.len(), 8);
        let other = acting
            .require_action("https://bank.example/2".into(), now())
            .unwrap();
        assert_ne!(other.order.page().unwrap(), page);
        let third = after(&[0, 9, 12, 9, 12]);
        assert_eq!(
            (third.declines(), third.current_try().map(|one| one.n)),
            (2, Some(3))
        );
        let mut full = third.clone();
        full.tries.extend(third.tries.first().cloned());
        assert!(
            third.may_try_again() && !full.may_try_again(),
            "MAX_TRIES are used up"
        );
        let turned = Order {
            turn: Turn::Shopper,
            ..third.clone()
        };
        for (order, follows) in [(&third, true), (&full, false), (&turned, false)] {
            assert_eq!(order.follows_from_history(), follows, "{order:?}");
        }
        let request = Fingerprint::of_request(b"k6", b"60");
        assert_eq!(after(&[0, 6]).kept, Some(request));
        for (steps, waits) in [
            (&[][..], true),
            (&[0, 9, 5], true),
            (&[0, 1], false),
            (&[0, 2], false),
        ] {
            assert_eq!(after(steps).waits_for_gateway(), waits, "{steps:?}");
        }
        for (steps, lapse) in [
            (&[0, 4][..], true),
            (&[0, 3], true),
            (&[5], false),
            (&[0, 2], false),
            (&[0], false),
        ] {
            assert_eq!(after(steps).counts_as_lapse(), lapse, "{steps:?}");
        }
    }

    #[test]
    fn a_history_is_bounded_and_keeps_room_for_its_end() {
        let mut order = after(&[0]);
        while let Ok(step) = apply(&order, if order.status == OrderStatus::Paying { 1 } else { 8 }) {
            if step.order.history == order.history {
                break;
            }
            order = step.order;
        }
        let order = order.request_cancel(EndReason::ByShopper, now()).unwrap().order;
        let ended = order.undo(EndReason::ByShopper, now()).unwrap().order;
        assert!(ended.follows_from_history());
        assert!(ended.history.to_string().len() < 1_000);
    }

    #[test]
    fn a_clock_that_runs_behind_makes_no_order_younger() {
        let step = order()
            .with_payment("pi_1".parse().unwrap(), now().plus_millis(-1))
            .unwrap();
        assert_eq!(step.order.updated_at, now());
    }

    /// The index stores an open order under the number of its bucket, so a release must not change
    /// the number.
    #[test]
    fn an_order_keeps_its_bucket() {
        assert_eq!(order().open_bucket(), Some(19));
        let buckets: std::collections::BTreeSet<Option<u8>> = (0..4_000u16)
            .map(|index| {
                let mut reservation = order().reservation;
                reservation.shard.index = index;
                let id = OrderId::of_reservation(&reservation);
                Order { id, ..order() }.open_bucket()
            })
            .collect();
        assert_eq!(buckets, (0..OPEN_BUCKETS).map(Some).collect());
    }
}
