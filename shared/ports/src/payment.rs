//! Defines the port of the payment gateway, which takes and refunds money.
//!
//! **The order of the calls.** [`PaymentGateway::create`] makes a payment that takes no money. The order
//! stores the payment's id. Only then does [`PaymentGateway::confirm`] take the money. So after any lost
//! answer there is an id for [`PaymentGateway::find`]. Only the answer of `find` is certain to be current:
//! any other answer may be the replay of an earlier answer.
//!
//! **Keys.** A call that creates a payment or moves money has an [`IdempotencyKey`]. The key follows from the
//! order and the step alone, so that every process and every redelivery uses the same key. If the gateway
//! stored a failure under a key ([`GatewayError::StoredFailure`]), the order changes to the next key.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

pub use domain::ids::PaymentId;
use domain::ids::{OrderId, is_name};
use domain::limits::MAX_PAYMENT_METHOD_BYTES;
use domain::money::Money;
use domain::order::Try;

use crate::retry::Transient;

/// The longest code of a decline or a refusal, in bytes. Gateways use codes in snake case.
pub const MAX_CODE_BYTES: usize = 64;
/// The longest URL to which a shopper may be sent, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// The error for a text that has an invalid form or is too long. It contains the expected kind of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct TextError(&'static str);

/// Declares a text from the gateway of at most `$max` bytes, which `Debug` does not show.
macro_rules! hidden_text {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text, which must not be logged.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                if is_name(text, $max) { Ok(Self(text.to_owned())) } else { Err(TextError($kind)) }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

hidden_text!(
    /// The gateway's token for a means of payment, which the shopper's browser received. `Debug` does not show
    /// the token, since it can be charged. It must only be sent to the gateway.
    PaymentMethod, "payment method", MAX_PAYMENT_METHOD_BYTES
);
hidden_text!(
    /// The gateway's fingerprint of a card, which is equal for all tokens of one card number. `Debug` does not
    /// show the fingerprint, since it identifies a card. It may be stored but must not be logged.
    CardFingerprint, "card's fingerprint", MAX_CODE_BYTES
);

/// A short code from the gateway that may be logged and stored. It has 1 to 64 letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Code(String);

impl Code {
    /// The code, if `text` has a valid form; otherwise the code `unnamed`, since an invalid code of a gateway
    /// must not cause a failure.
    #[must_use]
    pub fn or_unnamed(text: &str) -> Self {
        let is_code = is_name(text, MAX_CODE_BYTES);
        let code = if is_code { text } else { "unnamed" };
        Self(code.to_owned())
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

/// Identifies the repeats of one call to the gateway. The key depends only on the order and the step, never
/// on time or random numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The first key for the creation of an order's payment.
    #[must_use]
    pub fn create(order: &OrderId) -> Self {
        Self::create_after(order, 0)
    }

    /// The key for the creation of an order's payment after `used` keys are used up, as
    /// [`domain::order::Order::create_keys_used`] counts them.
    #[must_use]
    pub fn create_after(order: &OrderId, used: u32) -> Self {
        Self(match used {
            0 => format!("{order}/create"),
            used => format!("{order}/create/{used}"),
        })
    }

    /// The first key for the confirmation of an order's payment by its `nth` try, from 1, as
    /// [`domain::order::Try::key`] stores it.
    #[must_use]
    pub fn confirm(order: &OrderId, nth: u32) -> Self {
        Self(format!("{order}/confirm/{nth}"))
    }

    /// The key that an order's try has stored.
    #[must_use]
    pub fn of_try(order: &OrderId, one: &Try) -> Self {
        Self(format!("{order}/{}", one.key))
    }

    /// The key for the `nth` refund of an order.
    #[must_use]
    pub fn refund(order: &OrderId, nth: u32) -> Self {
        Self(format!("{order}/refund/{nth}"))
    }

    /// The key as the gateway receives it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A payment that the gateway must create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayment {
    /// The order that the payment is for. The gateway stores its id with the payment, so that the audit can
    /// compare both.
    pub order: OrderId,
    /// The amount to pay, which must be positive.
    pub amount: Money,
}

/// The state of a payment at the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentState {
    /// No confirmation was made. No money was taken, and none will be without a confirmation.
    Unconfirmed,
    /// The shopper must act at `url` first. No money was taken yet. It will be taken when the shopper acts,
    /// unless the payment is cancelled before.
    ActionRequired {
        /// The address to which the shopper is sent, with at most [`MAX_URL_BYTES`] bytes.
        url: String,
    },
    /// The gateway is processing the payment. The caller must look the payment up again later.
    Processing,
    /// The gateway took the money.
    Succeeded {
        /// The amount that was taken.
        captured: Money,
    },
    /// The card was declined and no money was moved. The payment may be confirmed again with another
    /// idempotency key, for example with another card.
    Declined {
        /// The code of the bank or the gateway for the decline.
        reason: Code,
        /// The token of the declined card, if the gateway names it. A look-up may report the decline of an
        /// earlier confirmation than the last.
        method: Option<PaymentMethod>,
        /// The gateway's id of the declined charge, if there was a charge. Each confirmation has its
        /// own charge.
        charge: Option<PaymentId>,
        /// The fingerprint of the declined card, if the gateway names it.
        card: Option<CardFingerprint>,
    },
    /// The payment was cancelled. No money was taken, and none will ever be.
    Cancelled,
}

/// A payment as the gateway reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The gateway's id of the payment.
    pub id: PaymentId,
    /// The amount of the payment.
    pub amount: Money,
    /// The state of the payment.
    pub state: PaymentState,
}

/// A refund that the gateway has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The gateway's id of the refund.
    pub id: PaymentId,
    /// The amount that was refunded.
    pub amount: Money,
}

/// Why a call to the gateway gave no usable answer. A declined card is a [`PaymentState`] and not an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// The call was sent without a readable answer, so it may have been carried out. **Never treat this as
    /// failed.** With a payment id, call [`PaymentGateway::find`] and act on its answer. Without an id (for
    /// `create`), repeat the same call with the same key. If the repeat's outcome is unknown too, leave the
    /// order as it is and try again later.
    #[error("sent, and its outcome is unknown")]
    Unknown,
    /// The call certainly did not reach the gateway, so it had no effect. The same call may be repeated after
    /// a pause.
    #[error("the gateway was not reached")]
    NotSent,
    /// The call had no effect, because the gateway refused the API key, which may have been replaced, or
    /// because no key could be read. This error says nothing about the payment. A repeat of the call uses the
    /// key that is stored at that time.
    #[error("there is no key that the gateway takes")]
    NoKey,
    /// The call was not sent, because the API key has the wrong mode (live or test), or its mode is
    /// unknown. This error says nothing about the payment. A repeat of the call uses the key that is stored
    /// at that time.
    #[error("the key is not of the mode that the function is for")]
    WrongMode,
    /// The gateway refused the call because of a fault of this project (a bad parameter, or a payment in a
    /// later state). A repeat does not help. If a payment exists, `find` shows whether it is only in a later
    /// state. If it is not, an engineer must act.
    #[error("the gateway refused: {code}")]
    Refused {
        /// The gateway's code for the refusal.
        code: Code,
    },
    /// The gateway received too many calls and did not carry out this call. The caller must wait for the
    /// stated time before it repeats the call.
    #[error("the gateway requires a pause of {retry_after_ms} ms")]
    Throttled {
        /// The shortest wait before a repeat, in milliseconds.
        retry_after_ms: u64,
    },
    /// The gateway reported an internal failure. A read may be repeated after a pause. For `create`,
    /// `confirm`, `cancel` and `refund` the outcome is **unknown**, and the caller must treat it so.
    #[error("the gateway is unavailable")]
    Unavailable,
    /// The gateway returned a failure that it stored under this idempotency key, and will return it for every
    /// call with the key. Whether the call was carried out is **unknown**. Once a look-up has shown that no
    /// money was taken, the call may be made with the next key.
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

/// The operations of a payment gateway: it creates, confirms, finds, cancels and refunds payments.
pub trait PaymentGateway: Send + Sync {
    /// Makes a payment in the state [`PaymentState::Unconfirmed`], without taking money. A repeat with the
    /// same key and payment returns the same payment.
    fn create(
        &self,
        payment: &NewPayment,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// Takes the money, or returns the state that prevents it: any state except
    /// [`PaymentState::Unconfirmed`]. A repeat with the same key returns the first answer, even if the
    /// payment has changed since. A declined payment may be confirmed again with another key, at least
    /// [`domain::limits::MAX_TRIES`] times in all. After more confirmations, the gateway may cancel
    /// the payment.
    fn confirm(
        &self,
        id: &PaymentId,
        method: &PaymentMethod,
        return_url: &str,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// The payment in its current state; `None` if the gateway has no payment with this id.
    fn find(&self, id: &PaymentId) -> impl Future<Output = Result<Option<Payment>, GatewayError>> + Send;

    /// Cancels the payment, so that no money will be taken, and returns the payment's resulting state. If the
    /// money was taken before, the state is [`PaymentState::Succeeded`]. So the caller must check the state
    /// before it returns any units.
    fn cancel(&self, id: &PaymentId) -> impl Future<Output = Result<Payment, GatewayError>> + Send;

    /// Refunds `amount` of a succeeded payment. The gateway refuses an amount above the part that is not
    /// refunded yet.
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
