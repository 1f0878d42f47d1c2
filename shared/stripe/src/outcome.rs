//! Maps an answer of the gateway to the result of the port's call.

use ports::payment::{GatewayError, Payment, Refund};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use crate::wire::{ErrorBody, Intent, RefundBody};

/// The wait after a 429 without a stated wait, in milliseconds.
pub const DEFAULT_RETRY_AFTER_MS: u64 = 1_000;
/// The longest wait that a 429 can require, in milliseconds.
pub const MAX_RETRY_AFTER_MS: u64 = 60_000;

/// An answer of the gateway, before its meaning is known.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The value of `Retry-After`, converted to milliseconds; `None` if the header has no number of seconds.
    pub retry_after_ms: Option<u64>,
    /// Whether the gateway gave this answer before under the same key.
    pub replayed: bool,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The error of an answer that is neither 2xx nor special to the call.
    fn error(&self) -> GatewayError {
        match self.status {
            // Another call with this key is running, so its outcome is unknown.
            StatusCode::CONFLICT => GatewayError::Unknown,
            StatusCode::TOO_MANY_REQUESTS => GatewayError::Throttled {
                retry_after_ms: self
                    .retry_after_ms
                    .unwrap_or(DEFAULT_RETRY_AFTER_MS)
                    .min(MAX_RETRY_AFTER_MS),
            },
            status if status.is_server_error() && self.replayed => GatewayError::StoredFailure,
            status if status.is_server_error() => GatewayError::Unavailable,
            _ if self.refuses_key() => GatewayError::NoKey,
            // An answer without the gateway's error object comes from a proxy before the gateway, so the outcome of the
            // call is unknown.
            status if status.is_client_error() => {
                self.read::<ErrorBody>()
                    .map_or(GatewayError::Unknown, |body| GatewayError::Refused {
                        code: body.error.code(),
                    })
            }
            _ => GatewayError::Unknown,
        }
    }

    /// Whether the gateway refused the API key, in general or for this call. In both cases the call was not done.
    ///
    /// Source: <https://docs.stripe.com/api/errors> (401 and 403).
    #[must_use]
    pub fn refuses_key(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && self.read::<ErrorBody>().is_some()
    }

    fn failed_intent(&self) -> Option<Payment> {
        (*self.read::<ErrorBody>()?.error.payment_intent?).into_payment()
    }

    /// Reads the answer to a create or a confirm.
    ///
    /// # Errors
    ///
    /// See the crate's table.
    pub fn payment(&self) -> Result<Payment, GatewayError> {
        match self.status {
            StatusCode::OK => self
                .read::<Intent>()
                .and_then(Intent::into_payment)
                .ok_or(GatewayError::Unknown),
            StatusCode::PAYMENT_REQUIRED => self.failed_intent().ok_or(GatewayError::Unknown),
            _ => Err(self.error()),
        }
    }

    /// Reads the answer to a look-up. `None` if the gateway has no such payment.
    ///
    /// # Errors
    ///
    /// See the crate's table.
    pub fn found(&self) -> Result<Option<Payment>, GatewayError> {
        if self.status == StatusCode::NOT_FOUND && self.read::<ErrorBody>().is_some() {
            return Ok(None);
        }
        self.payment().map(Some)
    }

    /// Reads the answer to a cancel. A payment that can no longer be cancelled is an answer and not an error.
    ///
    /// # Errors
    ///
    /// See the crate's table.
    pub fn cancelled(&self) -> Result<Payment, GatewayError> {
        if self.status == StatusCode::BAD_REQUEST
            && let Some(body) = self.read::<ErrorBody>()
            && body.error.is_unexpected_state()
            && let Some(payment) = body.error.payment_intent.and_then(|intent| intent.into_payment())
        {
            return Ok(payment);
        }
        self.payment()
    }

    /// Reads the answer to a refund.
    ///
    /// # Errors
    ///
    /// See the crate's table.
    pub fn refunded(&self) -> Result<Refund, GatewayError> {
        match self.status {
            StatusCode::OK => self
                .read::<RefundBody>()
                .and_then(RefundBody::into_refund)
                .ok_or(GatewayError::Unknown),
            _ => Err(self.error()),
        }
    }
}

/// The meaning of a missing answer.
#[must_use]
pub fn without_answer(error: &reqwest::Error) -> GatewayError {
    // A request that could not be built, or for which no connection was made, was not sent. Any other request may have
    // been sent.
    if error.is_builder() || error.is_connect() {
        GatewayError::NotSent
    } else {
        GatewayError::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::payment::{Code, PaymentState};

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after_ms: None,
            replayed: false,
            body: body.as_bytes().to_vec(),
        }
    }

    fn refused(code: &str) -> GatewayError {
        GatewayError::Refused {
            code: Code::or_unnamed(code),
        }
    }

    const INTENT: &str =
        r#"{"id":"pi_1","amount":4900,"amount_received":4900,"currency":"eur","status":"succeeded"}"#;

    #[test]
    fn every_status_of_a_confirm_has_one_meaning() {
        let error = r#"{"error":{"type":"invalid_request_error","code":"parameter_missing"}}"#;
        for (status, body, expected) in [
            (200, "{}", GatewayError::Unknown),
            (200, "<html>", GatewayError::Unknown),
            (200, "", GatewayError::Unknown),
            (201, INTENT, GatewayError::Unknown),
            (204, "", GatewayError::Unknown),
            (302, "", GatewayError::Unknown),
            (400, error, refused("parameter_missing")),
            (400, "<html>bad gateway</html>", GatewayError::Unknown),
            (
                401,
                r#"{"error":{"type":"invalid_request_error"}}"#,
                GatewayError::NoKey,
            ),
            (401, "<html>", GatewayError::Unknown),
            (
                402,
                r#"{"error":{"type":"card_error","code":"card_declined"}}"#,
                GatewayError::Unknown,
            ),
            (403, error, GatewayError::NoKey),
            (403, "<html>", GatewayError::Unknown),
            (404, error, refused("parameter_missing")),
            (409, error, GatewayError::Unknown),
            (
                429,
                error,
                GatewayError::Throttled {
                    retry_after_ms: DEFAULT_RETRY_AFTER_MS,
                },
            ),
            (500, error, GatewayError::Unavailable),
            (503, "", GatewayError::Unavailable),
            (504, "", GatewayError::Unavailable),
        ] {
            assert_eq!(answer(status, body).payment(), Err(expected), "{status} {body}");
        }
    }

    #[test]
    fn a_throttle_says_how_long_within_reason() {
        let throttled = |retry_after_ms| {
            Answer {
                retry_after_ms,
                ..answer(429, "")
            }
            .payment()
            .unwrap_err()
        };
        assert_eq!(
            throttled(Some(2_000)),
            GatewayError::Throttled {
                retry_after_ms: 2_000
            }
        );
        assert_eq!(
            throttled(Some(u64::MAX)),
            GatewayError::Throttled {
                retry_after_ms: MAX_RETRY_AFTER_MS
            }
        );
    }

    #[test]
    fn a_failure_that_is_replayed_is_told_from_one_that_may_pass() {
        for (status, expected) in [
            (500, GatewayError::StoredFailure),
            (503, GatewayError::StoredFailure),
            (409, GatewayError::Unknown),
            (
                429,
                GatewayError::Throttled {
                    retry_after_ms: DEFAULT_RETRY_AFTER_MS,
                },
            ),
        ] {
            let replayed = Answer {
                replayed: true,
                ..answer(status, "{}")
            };
            assert_eq!(replayed.payment(), Err(expected), "{status}");
        }
    }

    #[test]
    fn a_cancel_that_came_too_late_tells_what_is() {
        let body = format!(
            r#"{{"error":{{"type":"invalid_request_error","code":"payment_intent_unexpected_state","payment_intent":{INTENT}}}}}"#
        );
        let payment = answer(400, &body).cancelled().unwrap();
        assert!(
            matches!(payment.state, PaymentState::Succeeded { captured } if captured.amount_minor == 4900)
        );
        assert_eq!(
            answer(400, &body).payment(),
            Err(refused("payment_intent_unexpected_state"))
        );
    }

    #[test]
    fn only_the_gateway_itself_can_say_that_a_payment_does_not_exist() {
        assert_eq!(
            answer(404, r#"{"error":{"code":"resource_missing"}}"#).found(),
            Ok(None)
        );
        assert_eq!(
            answer(404, "<html>not here</html>").found(),
            Err(GatewayError::Unknown)
        );
    }

    #[test]
    fn a_refund_counts_once_accepted() {
        let body = |status| format!(r#"{{"id":"re_1","amount":900,"currency":"eur","status":"{status}"}}"#);
        assert!(answer(200, &body("succeeded")).refunded().is_ok());
        assert!(answer(200, &body("pending")).refunded().is_ok());
        assert_eq!(
            answer(200, &body("failed")).refunded(),
            Err(GatewayError::Unknown)
        );
    }
}
