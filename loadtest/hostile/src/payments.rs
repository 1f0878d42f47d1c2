//! Parses answers of the payment gateway. The input's first line has the status, and may have the time to wait in
//! ms and the word `replayed`. The rest is the body.

use ports::payment::{GatewayError, Payment, PaymentState};
use reqwest::StatusCode;
use stripe::outcome::{Answer, MAX_RETRY_AFTER_MS};

use crate::requests::divided;

/// The fuzz target `payments`: panics if a malformed answer, or an answer with a wrong status, counts as a payment.
pub fn target(input: &[u8]) {
    understood(input);
}

/// Whether the answer describes a payment or a refund.
pub fn understood(input: &[u8]) -> bool {
    let (first, body) = divided(input, b"\n");
    let first = String::from_utf8_lossy(first);
    let mut words = first.split(' ');
    let status = words.next().and_then(|word| word.parse::<u16>().ok());
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        return false;
    };
    let answer = Answer {
        status,
        retry_after_ms: words.next().and_then(|word| word.parse().ok()),
        replayed: words.next() == Some("replayed"),
        body: body.unwrap_or_default().to_vec(),
    };
    let payments = [
        (answer.payment(), matches!(status.as_u16(), 200 | 402)),
        (answer.cancelled(), matches!(status.as_u16(), 200 | 400 | 402)),
    ];
    let mut told = false;
    for (outcome, may_tell) in payments {
        match outcome {
            Ok(payment) => {
                assert!(may_tell, "{status} told of a payment");
                sound(&payment);
                told = true;
            }
            Err(error) => bounded(&error),
        }
    }
    match answer.found() {
        Ok(Some(payment)) => sound(&payment),
        Ok(None) => assert_eq!(status, StatusCode::NOT_FOUND),
        Err(error) => bounded(&error),
    }
    match answer.refunded() {
        Ok(refund) => {
            assert_eq!(status, StatusCode::OK);
            assert!(refund.amount.amount_minor >= 0);
            told = true;
        }
        Err(error) => bounded(&error),
    }
    told
}

fn sound(payment: &Payment) {
    assert!(payment.amount.amount_minor >= 0, "{payment:?}");
    match &payment.state {
        PaymentState::Succeeded { captured } => {
            assert!(captured.amount_minor >= 0 && captured.currency == payment.amount.currency);
        }
        PaymentState::ActionRequired { url } => {
            assert!(url.starts_with("https://") || url.starts_with("http://"), "{url}");
        }
        _ => {}
    }
}

fn bounded(error: &GatewayError) {
    if let GatewayError::Throttled { retry_after_ms } = error {
        assert!(*retry_after_ms <= MAX_RETRY_AFTER_MS);
    }
    assert!(error.to_string().len() < 300, "an error as long as the answer");
}
