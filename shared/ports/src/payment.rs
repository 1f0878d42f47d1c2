//! The payment gateway: where money is taken and given back.
//!
//! **The order of things.** [`PaymentGateway::create`] makes a payment that takes no money; its id is stored with the order;
//! only then [`PaymentGateway::confirm`] takes the money. Whatever is lost on the way, there is an id to ask
//! [`PaymentGateway::find`] about, and `find` is the authority: every other answer may be the replay of an earlier one.
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
/// The longest URL a shopper is sent to, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// A text is not what it should be, or too long.
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
    /// The token as text, to be sent to the gateway and nowhere else.
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

/// The gateway's fingerprint of a card: one for all tokens of one card number. Not shown by `Debug`: it tells a card from all others.
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

/// A short code from the gateway, safe to log and store: 1 to 64 of letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Code(String);

impl Code {
    /// The code, if it is one; else `unnamed`, since a gateway's text is never worth failing over.
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

/// Tells the gateway that two calls are the same one. Follows from the order and the step, never from time or chance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The first key under which an order's payment is created.
    #[must_use]
    pub fn create(order: &OrderId) -> Self {
        Self::create_after(order, 0)
    }

    /// The key under which an order's payment is created when `used` keys are used up, as [`domain::order::Order::create_keys_used`] stores it.
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
    /// Whose payment it is; the gateway keeps it beside the payment, for the audit.
    pub order: OrderId,
    /// How much. Positive.
    pub amount: Money,
}

/// Where a payment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentState {
    /// Nobody confirmed it: no money moved, and none will by itself.
    Unconfirmed,
    /// The shopper has to act at `url` first. No money moved; it will when they do, unless the payment is cancelled.
    ActionRequired {
        /// Where to send the shopper; at most [`MAX_URL_BYTES`].
        url: String,
    },
    /// The gateway is at it. Look again later.
    Processing,
    /// The money is ours.
    Succeeded {
        /// How much was taken.
        captured: Money,
    },
    /// Refused: no money moved. It may be confirmed again under another key, with another card.
    Declined {
        /// The bank's or the gateway's code.
        reason: Code,
        /// The token of the card that was declined, if the gateway names it. A look-up may tell of an earlier confirmation than the last.
        method: Option<PaymentMethod>,
        /// The gateway's id of the declined charge, if there was one. Each confirmation has its own.
        charge: Option<PaymentId>,
        /// The card that was declined, if the gateway names it.
        card: Option<CardFingerprint>,
    },
    /// No money moved and none ever will.
    Cancelled,
}

/// A payment as the gateway tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The gateway's id.
    pub id: PaymentId,
    /// How much is or was to be paid.
    pub amount: Money,
    /// Where it stands.
    pub state: PaymentState,
}

/// A refund the gateway has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The gateway's id of the refund.
    pub id: PaymentId,
    /// How much is given back.
    pub amount: Money,
}

/// Why the gateway gave no usable answer. A declined card is not among these: it is a [`PaymentState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// Sent, and no answer that could be read came back: it may have been done. **Never treat this as failed.** With an
    /// id: [`PaymentGateway::find`], and act on what is there. Without one (a `create`): the same call under the same
    /// key. If that is unknown too, leave the order as it is and come back later.
    #[error("sent, and its outcome is unknown")]
    Unknown,
    /// It certainly did not reach the gateway. Nothing was done; the same call may be repeated, after a pause.
    #[error("the gateway was not reached")]
    NotSent,
    /// Nothing was done, for want of a key that the gateway takes: it refused the one that it was shown, which may have been
    /// changed, or there was none to show. It says nothing about the payment. The same call may be repeated, and is then made
    /// with the key as it is by then.
    #[error("there is no key that the gateway takes")]
    NoKey,
    /// Nothing was sent: the key that was read moves real money where none may move, or the reverse, or does not tell which. It
    /// says nothing about the payment. The same call may be repeated, and is then made with the key as it is by then.
    #[error("the key is not of the mode that the function is for")]
    WrongMode,
    /// The gateway understood and refused: the mistake is ours (a bad parameter, a payment that is past this step). Repeating will not help. If a payment is known, `find` tells whether it has merely moved on;
    /// otherwise an engineer has to look.
    #[error("the gateway refused: {code}")]
    Refused {
        /// The gateway's code.
        code: Code,
    },
    /// Too many calls; this one was not carried out. Repeat no sooner than told.
    #[error("the gateway asks to slow down for {retry_after_ms} ms")]
    Throttled {
        /// How long to wait at least, in milliseconds.
        retry_after_ms: u64,
    },
    /// The gateway answered that it is failing. A read may be repeated after a pause; whether a `create`, `confirm`,
    /// `cancel` or `refund` was carried out is **unknown**, and is treated so.
    #[error("the gateway is unavailable")]
    Unavailable,
    /// The gateway answered once more that it failed, as it did when this key came first, and will answer the same to every repeat under the
    /// key. Whether the call was carried out then is **unknown**. Once a look-up has shown that nothing was taken, the call is made under the next
    /// key.
    #[error("the gateway repeats a failure that it stored under the key")]
    StoredFailure,
}

impl GatewayError {
    /// Whether the call certainly changed nothing at the gateway.
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

/// Takes money and gives it back.
pub trait PaymentGateway: Send + Sync {
    /// Makes a payment without taking money: [`PaymentState::Unconfirmed`]. The same key with the same payment answers
    /// the same one.
    fn create(
        &self,
        payment: &NewPayment,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// Takes the money, or says what is in the way: any state but [`PaymentState::Unconfirmed`]. The same key answers what
    /// it answered first, even if the payment has moved on since. A payment that was declined may be confirmed again under another key, at
    /// least [`domain::limits::MAX_TRIES`] times in all; after more the gateway may cancel it.
    fn confirm(
        &self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// The payment as it is now; `None` if the gateway knows no such id.
    fn find(&self, id: &PaymentId) -> impl Future<Output = Result<Option<Payment>, GatewayError>> + Send;

    /// Makes sure that no money will be taken, and answers the payment as it then is. If the money was taken first, that
    /// is [`PaymentState::Succeeded`]: the caller must look before it gives anything back.
    fn cancel(&self, id: &PaymentId) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// Gives `amount` of a succeeded payment back; more than is left is refused.
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
