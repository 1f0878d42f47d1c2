//! Makes answers and errors in the form that Stripe documents for its API.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

/// Stripe's `error.type` for an invalid request.
const INVALID_REQUEST: &str = "invalid_request_error";
/// Stripe's `error.type` for an idempotency key that was used for another request, or is in use.
const IDEMPOTENCY: &str = "idempotency_error";
/// Stripe's `error.type` for a card that could not be charged.
const CARD: &str = "card_error";
/// Stripe's `error.type` for a fault of the gateway.
const API: &str = "api_error";

/// An answer as it is sent, and as it is stored for a repeated idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// JSON body.
    pub body: Value,
    /// Whether endpoint code had begun. Only such answers are stored for an idempotency key.
    pub executed: bool,
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response<Body> {
        let json = HeaderValue::from_static("application/json");
        (self.status, [(header::CONTENT_TYPE, json)], self.body.to_string()).into_response()
    }
}

impl Reply {
    /// 200 with a body.
    #[must_use]
    pub fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body,
            executed: true,
        }
    }

    /// An error from before the endpoint code.
    fn refused(status: StatusCode, kind: &str, message: &str) -> Self {
        Self {
            status,
            body: json!({ "error": { "type": kind, "message": message } }),
            executed: false,
        }
    }

    /// An error of endpoint code.
    fn failed(status: StatusCode, kind: &str, message: &str) -> Self {
        Self {
            executed: true,
            ..Self::refused(status, kind, message)
        }
    }

    /// The same error with a further member.
    fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        if let Some(error) = self.body.get_mut("error").and_then(Value::as_object_mut) {
            error.insert(member.to_owned(), value.into());
        }
        self
    }
}

/// 400: a parameter is missing, unknown or malformed. The endpoint code has not begun.
#[must_use]
pub fn invalid(code: &str, param: &str, message: &str) -> Reply {
    let refused = Reply::refused(StatusCode::BAD_REQUEST, INVALID_REQUEST, message);
    refused.with("code", code).with("param", param)
}

/// 400: a parameter has a text that is not allowed.
#[must_use]
pub fn invalid_text(param: &str, message: &str) -> Reply {
    invalid("parameter_invalid_string", param, message)
}

/// 401: the request has no API key or a wrong API key.
#[must_use]
pub fn unauthorized() -> Reply {
    let message = "Invalid API Key provided.";
    Reply::refused(StatusCode::UNAUTHORIZED, INVALID_REQUEST, message)
}

/// 404: the object does not exist.
#[must_use]
pub fn missing(object: &str) -> Reply {
    let message = format!("No such {object}.");
    Reply::refused(StatusCode::NOT_FOUND, INVALID_REQUEST, &message).with("code", "resource_missing")
}

/// 404: the route does not exist.
#[must_use]
pub fn no_route() -> Reply {
    let message = "Unrecognized request URL.";
    Reply::refused(StatusCode::NOT_FOUND, INVALID_REQUEST, message)
}

/// 400: the idempotency key was used before with other parameters.
#[must_use]
pub fn key_mismatch() -> Reply {
    let message =
        "Keys for idempotent requests can only be used with the parameters they were first used with.";
    Reply::refused(StatusCode::BAD_REQUEST, IDEMPOTENCY, message)
}

/// 409: a request with this idempotency key is running.
#[must_use]
pub fn key_in_use() -> Reply {
    let message = "Another request with this idempotency key is in progress.";
    Reply::refused(StatusCode::CONFLICT, IDEMPOTENCY, message).with("code", "idempotency_key_in_use")
}

/// 503: the gateway is unavailable. The endpoint code has not begun.
#[must_use]
pub fn outage() -> Reply {
    let message = "The sandbox is in an outage.";
    Reply::refused(StatusCode::SERVICE_UNAVAILABLE, API, message)
}

/// 429: the caller exceeds the rate. Every second such answer also gets the time to wait, which a proxy in front of the
/// gateway might add.
#[must_use]
pub fn too_many() -> Reply {
    let message = "Request rate limit exceeded.";
    Reply::refused(StatusCode::TOO_MANY_REQUESTS, INVALID_REQUEST, message).with("code", "rate_limit")
}

/// 504: the answer was held back on purpose until the end of its time.
#[must_use]
pub fn gave_up() -> Reply {
    let message = "The answer was lost on purpose.";
    Reply::refused(StatusCode::GATEWAY_TIMEOUT, API, message)
}

/// 500: the sandbox itself has failed, or a failure is injected that is stored under the idempotency key.
#[must_use]
pub fn internal(message: &str) -> Reply {
    Reply::failed(StatusCode::INTERNAL_SERVER_ERROR, API, message)
}

/// 400: the intent is in a state that does not allow the request. The answer contains the intent.
#[must_use]
pub fn state(code: &str, message: &str, intent: &Value) -> Reply {
    let failed = Reply::failed(StatusCode::BAD_REQUEST, INVALID_REQUEST, message);
    failed.with("code", code).with("payment_intent", intent.clone())
}

/// 402: the card was declined. The answer contains the intent after the decline.
#[must_use]
pub fn declined(code: &str, decline_code: &str, message: &str, intent: &Value) -> Reply {
    let failed = Reply::failed(StatusCode::PAYMENT_REQUIRED, CARD, message);
    let failed = failed.with("code", code).with("decline_code", decline_code);
    failed.with("payment_intent", intent.clone())
}
