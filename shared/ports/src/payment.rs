//! The payment gateway: takes and refunds money.
//!
//! **The order of things.** [`PaymentGateway::create`] makes a payment that takes no money; its id is stored
//! with the order; only then [`PaymentGateway::confirm`] takes the money. So after any loss there is an id
//! for [`PaymentGateway::find`]. Only the answer of `find` is authoritative: every other answer may be the
//! replay of an earlier one.
//!
//! **Keys.** Calls that make or move something carry an [`IdempotencyKey`] that follows from the order and the step alone,
//! so that every process and every redelivery uses the same one. Where the gateway stored a failure under a key
//! ([`GatewayError::StoredFailure`]), the order takes the next one.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use domain::ids::OrderId;
pub use domain::ids::PaymentId;
use domain::limits::MAX_PAYMENT_METHOD_BYTES;
use domain::money::Money;
use domain::order::Try;

use crate::retry::Transient;

/// The longest reason or refusal code, in bytes; gateways name theirs in snake case.
pub const MAX_CODE_BYTES: usize = 64;
/// The longest URL to which a shopper is sent, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// A text has an invalid form or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct TextError(&'static str);

fn is_name(text: &str, max: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !text.is_empty() && text.len() <= max && text.bytes().all(allowed)
}

/// The gateway's token for a means of payment, as the shopper's browser got it. Not shown by `Debug`: it can be charged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PaymentMethod(String);

impl PaymentMethod {
    /// The token as text. Send it to the gateway only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PaymentMethod {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        if is_name(text, MAX_PAYMENT_METHOD_BYTES) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TextError("payment method"))
        }
    }
}

impl fmt::Debug for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentMethod(…)")
    }
}

/// The gateway's fingerprint of a card, equal for all tokens of one card number. `Debug` does not show it, since it
/// identifies a card.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CardFingerprint(String);

impl CardFingerprint {
    /// The fingerprint as text, to be stored and never logged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CardFingerprint {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        if is_name(text, MAX_CODE_BYTES) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TextError("card's fingerprint"))
        }
    }
}

impl fmt::Debug for CardFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardFingerprint(…)")
    }
}

/// A short code from the gateway that may be logged and stored: 1 to 64 letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Code(String);

impl Code {
    /// The code, if it is valid; otherwise `unnamed`, since an invalid code of a gateway must not cause a
    /// failure.
    #[must_use]
    pub fn or_unnamed(text: &str) -> Self {
        Self(
            if is_name(text, MAX_CODE_BYTES) {
                text
            } else {
                "unnamed"
            }
            .to_owned(),
        )
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies repeats of one call to the gateway. It depends only on the order and the step, never on time or random
/// numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The first key under which an order's payment is created.
    #[must_use]
    pub fn create(order: &OrderId) -> Self {
        Self::create_after(order, 0)
    }

    /// The key under which an order's payment is created after `used` used keys, as
    /// [`domain::order::Order::create_keys_used`] stores it.
    #[must_use]
    pub fn create_after(order: &OrderId, used: u32) -> Self {
        Self(match used {
            0 => format!("{order}/create"),
            used => format!("{order}/create/{used}"),
        })
    }

    /// The key under which an order's payment is confirmed by its `nth` try, from 1, as [`domain::order::Try::key`] stores it.
    #[must_use]
    pub fn confirm(order: &OrderId, nth: u32) -> Self {
        Self(format!("{order}/confirm/{nth}"))
    }

    /// The key that is stored with a try.
    #[must_use]
    pub fn of_try(order: &OrderId, one: &Try) -> Self {
        Self(format!("{order}/{}", one.key))
    }

    /// The key of an order's `nth` refund.
    #[must_use]
    pub fn refund(order: &OrderId, nth: u32) -> Self {
        Self(format!("{order}/refund/{nth}"))
    }

    /// The key as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A payment to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayment {
    /// The order that the payment belongs to. The gateway stores it with the payment, for the audit.
    pub order: OrderId,
    /// The amount, which is positive.
    pub amount: Money,
}

/// The state of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentState {
    /// The payment was not confirmed: no money was taken, and none will be without a confirmation.
    Unconfirmed,
    /// The shopper must act at `url` first. No money was taken. It will be taken when the shopper acts,
    /// unless the payment is cancelled.
    ActionRequired {
        /// The address to which the shopper is sent; at most [`MAX_URL_BYTES`].
        url: String,
    },
    /// The gateway is processing the payment. Look it up again later.
    Processing,
    /// The money was captured.
    Succeeded {
        /// The captured amount.
        captured: Money,
    },
    /// Refused: no money moved. The payment may be confirmed again under another idempotency key, with another card.
    Declined {
        /// The bank's or the gateway's code.
        reason: Code,
        /// The token of the declined card, if the gateway names it. A look-up may report an earlier
        /// confirmation than the last.
        method: Option<PaymentMethod>,
        /// The gateway's id of the declined charge, if there was one. Each confirmation has its own.
        charge: Option<PaymentId>,
        /// The card that was declined, if the gateway names it.
        card: Option<CardFingerprint>,
    },
    /// No money was taken and none will ever be.
    Cancelled,
}

/// A payment as the gateway reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The gateway's id.
    pub id: PaymentId,
    /// The amount of the payment.
    pub amount: Money,
    /// The payment's state.
    pub state: PaymentState,
}

/// A refund the gateway has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The gateway's id of the refund.
    pub id: PaymentId,
    /// The refunded amount.
    pub amount: Money,
}

/// Why the gateway gave no usable answer. A declined card is a [`PaymentState`] and not an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// Sent without a readable answer: it may have been done. **Never treat this as failed.** With an id, use
    /// [`PaymentGateway::find`] and act on its answer. Without an id (a `create`), repeat the same call with
    /// the same key. If that is unknown too, leave the order as it is and retry later.
    #[error("sent, and its outcome is unknown")]
    Unknown,
    /// The call certainly did not reach the gateway, so nothing was done. The same call may be repeated after
    /// a pause.
    #[error("the gateway was not reached")]
    NotSent,
    /// Nothing was done, because no accepted API key was available: the gateway refused the key, which may
    /// have been replaced, or no key could be read. This gives no information about the payment. The same
    /// call may be repeated, and then uses the key that is stored at that time.
    #[error("there is no key that the gateway takes")]
    NoKey,
    /// Nothing was sent: the API key has the wrong mode (live or test), or its mode is unknown. This gives no
    /// information about the payment. The same call may be repeated, and then uses the key that is stored at
    /// that time.
    #[error("the key is not of the mode that the function is for")]
    WrongMode,
    /// The gateway refused the call because of a fault of this project (a bad parameter, or a payment in a
    /// later state). A repeat does not help. If a payment exists, `find` shows whether it is only in a later
    /// state; otherwise an engineer must act.
    #[error("the gateway refused: {code}")]
    Refused {
        /// The gateway's code.
        code: Code,
    },
    /// Too many calls; this call was not carried out. Repeat it no sooner than the stated wait.
    #[error("the gateway requires a pause of {retry_after_ms} ms")]
    Throttled {
        /// The shortest wait, in milliseconds.
        retry_after_ms: u64,
    },
    /// The gateway reported an internal failure. A read may be repeated after a pause. For `create`,
    /// `confirm`, `cancel` and `refund` the outcome is **unknown**, and must be treated so.
    #[error("the gateway is unavailable")]
    Unavailable,
    /// The gateway repeated a failure that it stored under this idempotency key, and will repeat it for every
    /// call with the key. Whether the call was carried out is **unknown**. When a look-up has shown that no
    /// money was taken, the call is made with the next key.
    #[error("the gateway repeats a failure that it stored under the key")]
    StoredFailure,
}

impl GatewayError {
    /// Whether the call certainly had no effect at the gateway.
    #[must_use]
    pub const fn is_certainly_undone(&self) -> bool {
        matches!(
            self,
            Self::NotSent | Self::NoKey | Self::WrongMode | Self::Refused { .. } | Self::Throttled { .. }
        )
    }
}

impl Transient for GatewayError {
    fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::StoredFailure)
    }

    fn wait_at_least_ms(&self) -> u64 {
        match self {
            Self::Throttled { retry_after_ms } => *retry_after_ms,
            _ => 0,
        }
    }
}

/// Takes and refunds money.
pub trait PaymentGateway: Send + Sync {
    /// Makes a payment without taking money: [`PaymentState::Unconfirmed`]. A repeat with the same key and payment
    /// returns the same payment.
    fn create(
        &self,
        payment: &NewPayment,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// Takes the money, or returns what prevents it: any state except [`PaymentState::Unconfirmed`]. The same
    /// key returns its first answer, even if the payment has changed since. A declined payment may be
    /// confirmed again with another key, at least [`domain::limits::MAX_TRIES`] times in all; after more
    /// confirmations the gateway may cancel it.
    fn confirm(
        &self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// The current payment; `None` if the gateway has no payment with this id.
    fn find(&self, id: &PaymentId) -> impl Future<Output = Result<Option<Payment>, GatewayError>> + Send;

    /// Makes sure that no money will be taken, and returns the payment's resulting state. If the money was
    /// taken first, the state is [`PaymentState::Succeeded`], so the caller must check it before it returns
    /// any units.
    fn cancel(&self, id: &PaymentId) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// Refunds `amount` of a succeeded payment. An amount above what is not refunded yet is refused.
    fn refund(
        &self,
        id: &PaymentId,
        amount: Money,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Refund, GatewayError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::limits::MAX_PAYMENT_ID_BYTES;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_never_printed() {
        let method: PaymentMethod = "pm_card_visa".parse().unwrap();
        assert!(!format!("{method:?}").contains("visa"));
    }

    proptest! {
        #[test]
        fn an_id_can_stand_in_a_path(text in "\\PC{0,70}") {
            if let Ok(id) = text.parse::<PaymentId>() {
                prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
                prop_assert!((1..=MAX_PAYMENT_ID_BYTES).contains(&id.as_str().len()));
            }
            prop_assert!(Code::or_unnamed(&text).as_str().len() <= MAX_CODE_BYTES);
        }
    }
}
