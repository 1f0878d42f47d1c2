//! Defines a PaymentIntent and its states, after <https://docs.stripe.com/payments/paymentintents/lifecycle>.

use serde_json::{Map, Value, json};

/// The state of an intent, named as in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// No payment method yet, or the last attempt failed.
    RequiresPaymentMethod,
    /// A payment method is attached, and the intent is not confirmed.
    RequiresConfirmation,
    /// The customer must authenticate.
    RequiresAction,
    /// Money was taken.
    Succeeded,
    /// The intent was cancelled and can no longer be charged.
    Canceled,
}

impl Status {
    /// The name of the state in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the intent may still be confirmed, cancelled or changed.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Succeeded | Self::Canceled)
    }
}

/// Why the last attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stripe's `type`.
    pub kind: &'static str,
    /// Stripe's `code`.
    pub code: &'static str,
    /// Stripe's `decline_code`, when a bank gave one.
    pub decline_code: Option<&'static str>,
    /// The declined charge, if the bank was asked for one.
    pub charge: Option<String>,
    /// The card that failed.
    pub payment_method: Option<String>,
    /// The fingerprint of the card that failed.
    pub fingerprint: Option<String>,
}

impl Failure {
    /// The failure of an attempt that the bank declined.
    #[must_use]
    pub fn declined(decline_code: &'static str) -> Self {
        Self {
            kind: "card_error",
            code: "card_declined",
            decline_code: Some(decline_code),
            charge: None,
            payment_method: None,
            fingerprint: None,
        }
    }

    /// The failure of an attempt for which the customer did not authenticate.
    #[must_use]
    pub fn not_authenticated() -> Self {
        Self {
            kind: "invalid_request_error",
            code: "payment_intent_authentication_failure",
            decline_code: None,
            charge: None,
            payment_method: None,
            fingerprint: None,
        }
    }

    /// The bank's decline code; without it, Stripe's code.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.decline_code.unwrap_or(self.code)
    }

    fn json(&self) -> Value {
        json!({
            "type": self.kind,
            "code": self.code,
            "decline_code": self.decline_code,
            "message": "The payment attempt failed.",
            "charge": self.charge,
            "payment_method": self.payment_method.as_ref().map(|id| {
                json!({"id": id, "object": "payment_method", "card": {"fingerprint": self.fingerprint}})
            }),
        })
    }
}

/// A payment intent with its state, its amounts and its last failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The id, `pi_…`.
    pub id: String,
    /// The amount, in the currency's minor unit.
    pub amount: u64,
    /// The currency's code by ISO 4217, in lower case.
    pub currency: String,
    /// The intent's status.
    pub status: Status,
    /// The caller's metadata.
    pub metadata: Map<String, Value>,
    /// The attached payment method's token.
    pub payment_method: Option<String>,
    /// The URL to which the customer returns after the authentication.
    pub return_url: Option<String>,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// The id of the charge, `ch_…`, once money was taken.
    pub charge: Option<String>,
    /// The amount that has been refunded so far, in minor units.
    pub refunded: u64,
    /// The number of confirms that began, including lost ones.
    pub attempts: u64,
    /// The number of confirms that were carried out.
    pub confirms: u32,
    /// The time of creation, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
}

impl Intent {
    /// The shop's order from the metadata; empty if there is none.
    #[must_use]
    pub fn order_id(&self) -> &str {
        self.metadata
            .get("order_id")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The intent as the API returns it. `base_url` is the address of the sandbox, which has the bank's page.
    #[must_use]
    pub fn json(&self, base_url: &str) -> Value {
        let next_action = match self.status {
            Status::RequiresAction => json!({
                "type": "redirect_to_url",
                "redirect_to_url": {
                    "url": format!("{base_url}/sandbox/authenticate/{}", self.id),
                    "return_url": self.return_url,
                },
            }),
            _ => Value::Null,
        };
        json!({
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": 0,
            "amount_received": if self.charge.is_some() { self.amount } else { 0 },
            "capture_method": "automatic",
            "created": self.created_ms / 1_000,
            "currency": self.currency,
            "last_payment_error": self.failure.as_ref().map(Failure::json),
            "latest_charge": self.charge,
            "livemode": false,
            "metadata": self.metadata,
            "next_action": next_action,
            "payment_method": self.payment_method,
            "payment_method_types": ["card"],
            "status": self.status.name(),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The id, `re_…`.
    pub id: String,
    /// The id of the refunded intent.
    pub intent: String,
    /// The id of the refunded charge, `ch_…`.
    pub charge: String,
    /// The refunded amount, in minor units.
    pub amount: u64,
    /// The currency's code by ISO 4217, in lower case.
    pub currency: String,
    /// The time of creation, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
}

impl Refund {
    /// The refund as the API returns it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "charge": self.charge,
            "created": self.created_ms / 1_000,
            "currency": self.currency,
            "payment_intent": self.intent,
            "status": "succeeded",
        })
    }
}
