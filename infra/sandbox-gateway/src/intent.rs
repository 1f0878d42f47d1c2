//! A PaymentIntent and its states, after <https://docs.stripe.com/payments/paymentintents/lifecycle>. Pure.

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
    /// A final state.
    Canceled,
}

impl Status {
    /// The name on the wire.
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
    /// That card's fingerprint.
    pub fingerprint: Option<String>,
}

impl Failure {
    /// The bank said no.
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

    /// The customer did not authenticate.
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

    /// The most precise code that exists.
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

/// One payment intent.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// `pi_…`
    pub id: String,
    /// In the currency's minor unit.
    pub amount: u64,
    /// Lower-case ISO 4217.
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
    /// `ch_…` once money was taken.
    pub charge: Option<String>,
    /// Refunded so far, minor units.
    pub refunded: u64,
    /// The number of confirms that began, including lost ones.
    pub attempts: u64,
    /// Confirms carried out.
    pub confirms: u32,
    /// Milliseconds since 1970-01-01 UTC.
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

    /// The object as the API shows it. `base_url` is the address of the bank's page.
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
    /// `re_…`
    pub id: String,
    /// The refunded intent.
    pub intent: String,
    /// `ch_…`
    pub charge: String,
    /// Minor units.
    pub amount: u64,
    /// Lower-case ISO 4217.
    pub currency: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
}

impl Refund {
    /// The object as the API shows it.
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
