//! Defines the parts of the API's answers that this crate uses. Unknown fields are ignored, since the API adds fields
//! without notice.

use domain::money::{Currency, Money};
use ports::payment::{Code, MAX_URL_BYTES, Payment, PaymentState, Refund};
use serde::Deserialize;

/// A PaymentIntent, with the fields that this crate uses.
#[derive(Debug, Deserialize)]
pub struct Intent {
    id: String,
    amount: i64,
    #[serde(default)]
    amount_received: i64,
    currency: String,
    status: String,
    last_payment_error: Option<Failure>,
    next_action: Option<NextAction>,
}

/// The object `error` of an answer, or the object `last_payment_error` of an intent.
#[derive(Debug, Deserialize)]
pub struct Failure {
    code: Option<String>,
    decline_code: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The declined charge.
    charge: Option<String>,
    /// The card that was declined.
    payment_method: Option<Method>,
    /// The intent after the error.
    pub payment_intent: Option<Box<Intent>>,
}

/// The body of an answer that is not 2xx.
#[derive(Debug, Deserialize)]
pub struct ErrorBody {
    /// The error object.
    pub error: Failure,
}

/// A PaymentMethod, of which the id and the card's fingerprint are read.
#[derive(Deserialize)]
struct Method {
    id: String,
    card: Option<Card>,
}

#[derive(Deserialize)]
struct Card {
    fingerprint: Option<String>,
}

impl std::fmt::Debug for Method {
    /// Writes no id, since a card can be charged with its id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Method(..)")
    }
}

#[derive(Debug, Deserialize)]
struct NextAction {
    redirect_to_url: Option<Redirect>,
}

#[derive(Debug, Deserialize)]
struct Redirect {
    url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct RefundBody {
    id: String,
    amount: i64,
    currency: String,
    status: String,
}

impl Failure {
    /// The most precise code of the failure: `decline_code`, else `code`, else `type`.
    #[must_use]
    pub fn code(&self) -> Code {
        let text = [&self.decline_code, &self.code, &self.kind]
            .into_iter()
            .find_map(Option::as_deref);
        Code::or_unnamed(text.unwrap_or_default())
    }

    /// The state of a payment whose last confirmation with an outcome failed.
    fn declined(&self) -> PaymentState {
        let method = self.payment_method.as_ref();
        let card = method.and_then(|method| method.card.as_ref()?.fingerprint.as_ref());
        PaymentState::Declined {
            reason: self.code(),
            method: method.and_then(|method| method.id.parse().ok()),
            charge: self.charge.as_ref().and_then(|charge| charge.parse().ok()),
            card: card.and_then(|card| card.parse().ok()),
        }
    }

    /// Whether the gateway reports that the payment's state does not allow the request.
    #[must_use]
    pub fn is_unexpected_state(&self) -> bool {
        self.code.as_deref() == Some("payment_intent_unexpected_state")
    }
}

fn money(amount_minor: i64, currency: &str) -> Option<Money> {
    let currency: Currency = currency.to_ascii_uppercase().parse().ok()?;
    (amount_minor >= 0).then_some(Money {
        amount_minor,
        currency,
    })
}

fn action_url(next: Option<NextAction>) -> Option<String> {
    next?
        .redirect_to_url?
        .url
        .filter(|url| url.len() <= MAX_URL_BYTES)
        .filter(|url| url.starts_with("https://") || url.starts_with("http://"))
}

impl Intent {
    /// The payment of an intent. `None` if, by the API's documentation, the intent cannot belong to this project.
    #[must_use]
    pub fn into_payment(self) -> Option<Payment> {
        let amount = money(self.amount, &self.currency)?;
        let state = match self.status.as_str() {
            "requires_confirmation" => PaymentState::Unconfirmed,
            // The API reports the same status before the first attempt and after a failed attempt. Only the error
            // distinguishes the two.
            "requires_payment_method" => match &self.last_payment_error {
                None => PaymentState::Unconfirmed,
                // This is the error of the last confirmation that has an outcome, which may not be the last
                // confirmation.
                Some(failure) => failure.declined(),
            },
            "requires_action" => match action_url(self.next_action) {
                Some(url) => PaymentState::ActionRequired { url },
                None => {
                    tracing::warn!(payment = %self.id, "the payment requires an action without a page; it counts as processing");
                    PaymentState::Processing
                }
            },
            // This project never requests a later capture. If an account enforces a later capture, the money has not
            // been taken yet.
            "processing" | "requires_capture" => PaymentState::Processing,
            "succeeded" => PaymentState::Succeeded {
                captured: money(self.amount_received, &self.currency)?,
            },
            "canceled" => PaymentState::Cancelled,
            _ => return None,
        };
        Some(Payment {
            id: self.id.parse().ok()?,
            amount,
            state,
        })
    }
}

impl RefundBody {
    /// The refund, if it was accepted. `pending` counts as accepted, since banks need time.
    #[must_use]
    pub fn into_refund(self) -> Option<Refund> {
        if !matches!(self.status.as_str(), "succeeded" | "pending") {
            return None;
        }
        Some(Refund {
            id: self.id.parse().ok()?,
            amount: money(self.amount, &self.currency)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::payment::PaymentState as S;

    fn state(json: &str) -> Option<S> {
        serde_json::from_str::<Intent>(json)
            .ok()?
            .into_payment()
            .map(|payment| payment.state)
    }

    fn intent(status: &str, rest: &str) -> String {
        format!(
            r#"{{"id":"pi_1","amount":4900,"amount_received":4900,"currency":"eur","status":"{status}"{rest}}}"#
        )
    }

    #[test]
    fn every_documented_status_has_a_meaning() {
        let captured = Money {
            amount_minor: 4900,
            currency: "EUR".parse().unwrap(),
        };
        let failed = r#","last_payment_error":{"code":"card_declined","decline_code":"lost_card"}"#;
        let named = r#","last_payment_error":{"code":"card_declined","charge":"ch_1","payment_method":{"id":"pm_1","card":{"fingerprint":"Xt5E"}}}"#;
        let action =
            r#","next_action":{"type":"redirect_to_url","redirect_to_url":{"url":"https://b.example/1"}}"#;
        for (status, rest, expected) in [
            ("requires_payment_method", "", S::Unconfirmed),
            ("requires_confirmation", "", S::Unconfirmed),
            (
                "requires_payment_method",
                failed,
                S::Declined {
                    reason: Code::or_unnamed("lost_card"),
                    method: None,
                    charge: None,
                    card: None,
                },
            ),
            (
                "requires_payment_method",
                named,
                S::Declined {
                    reason: Code::or_unnamed("card_declined"),
                    method: Some("pm_1".parse().unwrap()),
                    charge: Some("ch_1".parse().unwrap()),
                    card: Some("Xt5E".parse().unwrap()),
                },
            ),
            (
                "requires_action",
                action,
                S::ActionRequired {
                    url: "https://b.example/1".to_owned(),
                },
            ),
            ("requires_action", "", S::Processing),
            (
                "requires_action",
                r#","next_action":{"redirect_to_url":{"url":"javascript:1"}}"#,
                S::Processing,
            ),
            ("processing", "", S::Processing),
            ("requires_capture", "", S::Processing),
            ("succeeded", "", S::Succeeded { captured }),
            ("canceled", "", S::Cancelled),
        ] {
            assert_eq!(state(&intent(status, rest)), Some(expected), "{status}{rest}");
        }
    }

    #[test]
    fn what_is_not_documented_has_none() {
        assert_eq!(state(&intent("on_the_moon", "")), None);
        assert_eq!(
            state(r#"{"id":"pi_1","amount":-1,"currency":"eur","status":"canceled"}"#),
            None
        );
        assert_eq!(
            state(r#"{"id":"pi 1","amount":1,"currency":"eur","status":"canceled"}"#),
            None
        );
        assert_eq!(
            state(r#"{"id":"pi_1","amount":1,"currency":"euro","status":"canceled"}"#),
            None
        );
        assert_eq!(state(r#"{"id":"pi_1","amount":1,"status":"canceled"}"#), None);
        assert_eq!(state("[]"), None);
    }
}
