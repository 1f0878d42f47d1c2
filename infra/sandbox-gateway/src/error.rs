//! Answers and errors in the shape Stripe documents for its API.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// An answer as it is sent, and as it is kept for a repeated idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// JSON body.
    pub body: Value,
    /// Whether endpoint code had begun: only such answers are kept for an idempotency key.
    pub executed: bool,
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

    /// The answer over HTTP; `replayed` marks one that was stored earlier.
    #[must_use]
    pub fn into_response(self, replayed: bool) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.to_string()));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if replayed {
            response
                .headers_mut()
                .insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

/// Stripe's `error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something the caller sent.
    InvalidRequest,
    /// The idempotency key was used for something else, or is in use.
    Idempotency,
    /// A card could not be charged.
    Card,
    /// Ours.
    Api,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Idempotency => "idempotency_error",
            Self::Card => "card_error",
            Self::Api => "api_error",
        }
    }
}

fn reply(status: StatusCode, kind: Kind, code: Option<&str>, message: &str, executed: bool) -> Reply {
    let mut error = json!({ "type": kind.name(), "message": message });
    if let (Some(code), Some(fields)) = (code, error.as_object_mut()) {
        fields.insert("code".into(), code.into());
    }
    Reply {
        status,
        body: json!({ "error": error }),
        executed,
    }
}

/// A parameter is missing, unknown or malformed: nothing was begun.
#[must_use]
pub fn invalid(code: &str, param: &str, message: &str) -> Reply {
    let mut reply = reply(
        StatusCode::BAD_REQUEST,
        Kind::InvalidRequest,
        Some(code),
        message,
        false,
    );
    if let Some(error) = reply.body.get_mut("error").and_then(Value::as_object_mut) {
        error.insert("param".into(), param.into());
    }
    reply
}

/// No key, or a wrong one.
#[must_use]
pub fn unauthorized() -> Reply {
    reply(
        StatusCode::UNAUTHORIZED,
        Kind::InvalidRequest,
        None,
        "Invalid API Key provided.",
        false,
    )
}

/// No such object.
#[must_use]
pub fn missing(object: &str) -> Reply {
    reply(
        StatusCode::NOT_FOUND,
        Kind::InvalidRequest,
        Some("resource_missing"),
        &format!("No such {object}."),
        false,
    )
}

/// No such route.
#[must_use]
pub fn no_route() -> Reply {
    reply(
        StatusCode::NOT_FOUND,
        Kind::InvalidRequest,
        None,
        "Unrecognized request URL.",
        false,
    )
}

/// The key came before with other parameters.
#[must_use]
pub fn key_mismatch() -> Reply {
    reply(
        StatusCode::BAD_REQUEST,
        Kind::Idempotency,
        None,
        "Keys for idempotent requests can only be used with the parameters they were first used with.",
        false,
    )
}

/// A request with this key is running.
#[must_use]
pub fn key_in_use() -> Reply {
    reply(
        StatusCode::CONFLICT,
        Kind::Idempotency,
        Some("idempotency_key_in_use"),
        "Another request with this idempotency key is in progress.",
        false,
    )
}

/// The gateway is down, before anything was begun.
#[must_use]
pub fn outage() -> Reply {
    reply(
        StatusCode::SERVICE_UNAVAILABLE,
        Kind::Api,
        None,
        "The sandbox is in an outage.",
        false,
    )
}

/// What a kept-back answer ends with.
#[must_use]
pub fn gave_up() -> Reply {
    reply(
        StatusCode::GATEWAY_TIMEOUT,
        Kind::Api,
        None,
        "The answer was lost on purpose.",
        false,
    )
}

/// Something of ours failed; nothing was changed.
#[must_use]
pub fn internal(message: &str) -> Reply {
    reply(StatusCode::INTERNAL_SERVER_ERROR, Kind::Api, None, message, true)
}

/// The object is in a state that does not allow this.
#[must_use]
pub fn state(code: &str, message: &str, intent: &Value) -> Reply {
    with_intent(
        reply(
            StatusCode::BAD_REQUEST,
            Kind::InvalidRequest,
            Some(code),
            message,
            true,
        ),
        intent,
    )
}

/// The card was declined: 402, with the intent as it is now.
#[must_use]
pub fn declined(code: &str, decline_code: &str, message: &str, intent: &Value) -> Reply {
    let mut reply = reply(
        StatusCode::PAYMENT_REQUIRED,
        Kind::Card,
        Some(code),
        message,
        true,
    );
    if let Some(error) = reply.body.get_mut("error").and_then(Value::as_object_mut) {
        error.insert("decline_code".into(), decline_code.into());
    }
    with_intent(reply, intent)
}

fn with_intent(mut reply: Reply, intent: &Value) -> Reply {
    if let Some(error) = reply.body.get_mut("error").and_then(Value::as_object_mut) {
        error.insert("payment_intent".into(), intent.clone());
    }
    reply
}
