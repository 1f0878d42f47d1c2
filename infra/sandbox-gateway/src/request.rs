//! Parses and checks the parameters of a POST, before the endpoint code runs.

use serde_json::{Map, Value};

use crate::error::{self, Reply};
use crate::methods;

/// Stripe's largest amount, in minor units: eight digits.
pub const MAX_AMOUNT: u64 = 99_999_999;

/// The pairs of a request's form, in the order in which they were sent.
pub type Params = Vec<(String, String)>;

/// A POST whose parameters are valid: the operation to carry out.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Create an intent, unconfirmed.
    Create {
        /// The amount, in minor units.
        amount: u64,
        /// The currency's code by ISO 4217, in lower case.
        currency: String,
        /// The token of the payment method, if it is attached when the intent is created.
        payment_method: Option<String>,
        /// The caller's metadata, from the parameters `metadata[…]`.
        metadata: Map<String, Value>,
    },
    /// Charge an intent.
    Confirm {
        intent: String,
        /// The token of the payment method; without it, the attached payment method is charged.
        payment_method: Option<String>,
        /// The URL to which the customer returns after the authentication.
        return_url: Option<String>,
    },
    /// Make sure that an intent is never charged.
    Cancel { intent: String },
    /// Refund a charge, wholly or in part.
    Refund {
        intent: String,
        /// The amount, in minor units; without it, all that is not refunded yet.
        amount: Option<u64>,
    },
}

/// The identity of a request under an idempotency key: its route and its parameters in any order.
#[must_use]
pub fn fingerprint(path: &str, params: &Params) -> String {
    let mut sorted = params.clone();
    sorted.sort();
    // The debug form quotes values, so a separator inside a value cannot look like two values.
    format!("{path} {sorted:?}")
}

/// Reads `POST /v1/payment_intents`.
///
/// # Errors
/// When a parameter is missing, unknown or malformed. The error is the answer to send.
pub fn create(params: &Params) -> Result<Operation, Reply> {
    known(
        params,
        &[
            "amount",
            "currency",
            "payment_method",
            "confirm",
            "capture_method",
            "payment_method_types[]",
            "description",
        ],
    )?;
    let confirms = "The sandbox confirms in a call of its own.";
    one_of(params, "confirm", &["false"], confirms)?;
    let captures = "The sandbox captures automatically.";
    one_of(params, "capture_method", &["automatic"], captures)?;
    let amount = amount(params)?.ok_or_else(|| absent("amount"))?;
    let currency = get(params, "currency").ok_or_else(|| absent("currency"))?;
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err(error::invalid_text("currency", "Invalid currency."));
    }
    Ok(Operation::Create {
        amount,
        currency: currency.to_owned(),
        payment_method: method(params)?,
        metadata: metadata(params),
    })
}

/// Reads `POST /v1/payment_intents/{id}/confirm`.
///
/// # Errors
/// See [`create`].
pub fn confirm(intent: &str, params: &Params) -> Result<Operation, Reply> {
    known(params, &["payment_method", "return_url"])?;
    let return_url = get(params, "return_url").map(str::to_owned);
    if let Some(url) = &return_url
        && !(url.starts_with("https://") || url.starts_with("http://"))
    {
        return Err(error::invalid("url_invalid", "return_url", "Not a valid URL."));
    }
    Ok(Operation::Confirm {
        intent: intent.to_owned(),
        payment_method: method(params)?,
        return_url,
    })
}

/// Reads `POST /v1/payment_intents/{id}/cancel`.
///
/// # Errors
/// See [`create`].
pub fn cancel(intent: &str, params: &Params) -> Result<Operation, Reply> {
    known(params, &["cancellation_reason"])?;
    let reasons = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];
    one_of(params, "cancellation_reason", &reasons, "Unknown reason.")?;
    Ok(Operation::Cancel {
        intent: intent.to_owned(),
    })
}

/// Reads `POST /v1/refunds`.
///
/// # Errors
/// See [`create`].
pub fn refund(params: &Params) -> Result<Operation, Reply> {
    known(params, &["payment_intent", "amount", "reason"])?;
    let intent = get(params, "payment_intent")
        .ok_or_else(|| absent("payment_intent"))?
        .to_owned();
    Ok(Operation::Refund {
        intent,
        amount: amount(params)?,
    })
}

fn get<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Refuses a parameter that has none of these values. The parameter may be absent.
fn one_of(params: &Params, name: &str, values: &[&str], message: &str) -> Result<(), Reply> {
    match get(params, name) {
        Some(value) if !values.contains(&value) => Err(error::invalid_text(name, message)),
        _ => Ok(()),
    }
}

fn absent(param: &str) -> Reply {
    let message = format!("Missing required param: {param}.");
    error::invalid("parameter_missing", param, &message)
}

fn known(params: &Params, names: &[&str]) -> Result<(), Reply> {
    let is_known = |key: &str| names.contains(&key) || metadata_key(key).is_some();
    match params.iter().find(|(key, _)| !is_known(key)) {
        Some((key, _)) => Err(error::invalid(
            "parameter_unknown",
            key,
            "Received unknown parameter.",
        )),
        None => Ok(()),
    }
}

fn metadata_key(key: &str) -> Option<&str> {
    key.strip_prefix("metadata[")?.strip_suffix(']')
}

fn metadata(params: &Params) -> Map<String, Value> {
    params
        .iter()
        .filter_map(|(key, value)| Some((metadata_key(key)?.to_owned(), Value::from(value.clone()))))
        .collect()
}

fn amount(params: &Params) -> Result<Option<u64>, Reply> {
    let Some(text) = get(params, "amount") else {
        return Ok(None);
    };
    let refused = |code: &str, message: &str| Err(error::invalid(code, "amount", message));
    match text.parse::<u64>() {
        Ok(0) | Err(_) => refused("parameter_invalid_integer", "Invalid positive integer."),
        Ok(amount) if amount > MAX_AMOUNT => {
            refused("amount_too_large", "Amount must be no more than 99999999.")
        }
        Ok(amount) => Ok(Some(amount)),
    }
}

fn method(params: &Params) -> Result<Option<String>, Reply> {
    let Some(token) = get(params, "payment_method") else {
        return Ok(None);
    };
    let known = methods::behaviour(token).is_some();
    let token = known.then(|| token.to_owned()).map(Some);
    token.ok_or_else(|| error::invalid("resource_missing", "payment_method", "No such PaymentMethod."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_create_needs_a_sane_amount_and_currency() {
        let good = params(&[
            ("amount", "4900"),
            ("currency", "eur"),
            ("metadata[order_id]", "o1"),
        ]);
        assert!(matches!(
            create(&good),
            Ok(Operation::Create { amount: 4900, .. })
        ));
        for bad in [
            params(&[("currency", "eur")]),
            params(&[("amount", "4900")]),
            params(&[("amount", "0"), ("currency", "eur")]),
            params(&[("amount", "-1"), ("currency", "eur")]),
            params(&[("amount", "1e3"), ("currency", "eur")]),
            params(&[("amount", "100000000"), ("currency", "eur")]),
            params(&[("amount", "4900"), ("currency", "EUR")]),
            params(&[
                ("amount", "4900"),
                ("currency", "eur"),
                ("payment_method", "pm_nope"),
            ]),
            params(&[("amount", "4900"), ("currency", "eur"), ("confirm", "true")]),
            params(&[("amount", "4900"), ("currency", "eur"), ("colour", "red")]),
        ] {
            let refused = create(&bad).expect_err("must be refused");
            assert!(!refused.executed, "{bad:?}");
            assert_eq!(refused.status, 400);
        }
    }

    #[test]
    fn the_fingerprint_ignores_order_and_keeps_borders() {
        let a = params(&[("x", "1"), ("y", "2")]);
        let b = params(&[("y", "2"), ("x", "1")]);
        assert_eq!(fingerprint("/p", &a), fingerprint("/p", &b));
        assert_ne!(fingerprint("/p", &a), fingerprint("/q", &a));
        let tricky = params(&[("x", "1\"), (\"y\", \"2")]);
        assert_ne!(fingerprint("/p", &a), fingerprint("/p", &tricky));
    }
}
