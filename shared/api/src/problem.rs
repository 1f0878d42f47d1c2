//! Defines problems: RFC 9457 documents with a stable code.
//!
//! A use case has its own error type and maps it to a [`Problem`] in one exhaustive match. The HTTP layer turns the
//! problem into a response. The log has the internal cause of a problem; the response does not.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $status:literal, $title:literal;)*) => {
        domain::named! {
            /// The kind of problem, as a stable text that programs may rely on. The codes are in the order of their
            /// statuses.
            pub enum Code {
                $($(#[doc = $doc])* $name = $code,)*
            }
        }

        impl Code {
            /// The HTTP status of the code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// A short description of the kind of problem, the same in every answer.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The meaning of the code in one sentence: the variant's doc comment.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*),)* }.trim()
            }
        }
    };
}

codes! {
    /// The request is malformed, or a field is invalid.
    InvalidRequest = "invalid_request", 400, "The request is not valid";
    /// The token is missing, forged, expired or for another audience.
    Unauthenticated = "unauthenticated", 401, "Sign in first";
    /// The token is valid, but not for this request.
    Forbidden = "forbidden", 403, "Not allowed";
    /// No resource has this identifier, or the resource belongs to another shopper.
    NotFound = "not_found", 404, "Not found";
    /// The drop exists, but no run of pre-scaling has checked it yet.
    NotPrepared = "not_prepared", 404, "Not prepared yet";
    /// The path exists, but does not accept this method.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    /// The drop has not started.
    NotOpen = "not_open", 409, "The drop is not open yet";
    /// Reservations are paused.
    Paused = "paused", 409, "The drop is paused";
    /// The drop is over or cancelled.
    Closed = "closed", 409, "The drop is over";
    /// No unit is free now; the member `availability` says whether units may return.
    SoldOut = "sold_out", 409, "Nothing is left";
    /// One reservation can get fewer units than were requested; the member `available` has the number of units.
    FewerLeft = "fewer_left", 409, "Fewer are left";
    /// The shopper has bought, or is buying, the largest allowed number of units.
    LimitReached = "limit_reached", 409, "The limit per shopper is reached";
    /// The shopper holds a reservation already; the member `reservation_id` names this reservation.
    ReservationExists = "reservation_exists", 409, "You hold a reservation already";
    /// An open order of the shopper prevents a further reservation until it has ended; `order_id` names the order.
    OrderInProgress = "order_in_progress", 409, "Your order is in progress";
    /// Reservations of the shopper expired unused; a further reservation is possible after `Retry-After`.
    HoldsUnused = "holds_unused", 409, "Reservations expired unused";
    /// The reservation can no longer be checked out.
    ReservationExpired = "reservation_expired", 409, "The reservation has expired";
    /// The state of the order, reservation or drop does not allow the request.
    WrongState = "wrong_state", 409, "Not possible in this state";
    /// Other requests change the same data at the same time; a repeat may succeed.
    Conflict = "conflict", 409, "Changed by somebody else";
    /// The body is larger than the API accepts.
    TooLarge = "too_large", 413, "The request is too large";
    /// The body is not JSON by its `Content-Type`.
    UnsupportedMediaType = "unsupported_media_type", 415, "The content type is not supported";
    /// The `Idempotency-Key` was used for a request with other contents.
    IdempotencyMismatch = "idempotency_mismatch", 422, "The key was used for another request";
    /// An error of the service, which a repeat of the request does not correct.
    Internal = "internal", 500, "Our mistake";
    /// The service is overloaded: repeat the same request later.
    Throttled = "throttled", 503, "Busy, try again";
}

schema_of_names! {
    /// The kind of problem, as a stable text that programs may rely on.
    CodeSchema = "Code", Code
}

/// An invalid field of a request, and the field's rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field: a path into the body (`skus[2].units`), or the name of a header or parameter.
    pub field: String,
    /// The rule that the field must satisfy.
    pub message: String,
}

/// A problem document (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// The URN of the kind of problem: `urn:stampede:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short description of the kind of problem, the same in every answer.
    pub title: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The stable code, for programs.
    #[schema(value_type = CodeSchema)]
    pub code: Code,
    /// The cause in this case, and what to do next.
    pub detail: String,
    /// The invalid fields of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// With `sold_out`: whether units may return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::drops::AvailabilitySchema>)]
    pub availability: Option<domain::status::Availability>,
    /// With `fewer_left`: the number of units that one reservation can get now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<u32>,
    /// With `reservation_exists`: the identifier of the reservation that the shopper holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<String>,
    /// With `order_in_progress`: the identifier of the shopper's open order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// The number of seconds until a repeat may succeed; also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

impl FieldProblem {
    /// An invalid field, and the field's rule.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        Self { field, message }
    }
}

impl Problem {
    /// The problem of a request with invalid query parameters, which the caller adds.
    #[must_use]
    pub fn of_parameters() -> Self {
        Self::new(Code::InvalidRequest, "Correct the parameters named.")
    }

    /// The problem of a request with invalid fields, which the caller adds.
    #[must_use]
    pub fn of_fields() -> Self {
        Self::new(
            Code::InvalidRequest,
            "Correct the fields named and send the request again.",
        )
    }

    /// A problem with this code. `detail` is the cause in this case, and what to do next.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:stampede:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            availability: None,
            available: None,
            reservation_id: None,
            order_id: None,
            retry_after_seconds: None,
        }
    }

    /// Adds an invalid field and its rule.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(FieldProblem::new(field, message));
        self
    }

    /// Adds invalid fields and their rules.
    #[must_use]
    pub fn fields(mut self, fields: impl IntoIterator<Item = FieldProblem>) -> Self {
        self.errors.extend(fields);
        self
    }

    /// Sets the number of seconds until a repeat may succeed.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_members_of_the_rfc() {
        let problem =
            Problem::new(Code::InvalidRequest, "Correct the fields named.").field("quantity", "at least 1");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:stampede:problem:invalid_request", "title": "The request is not valid", "status": 400,
                "code": "invalid_request", "detail": "Correct the fields named.",
                "errors": [{"field": "quantity", "message": "at least 1"}]
            })
        );
    }

    #[test]
    fn codes_are_distinct_and_spelt_as_they_serialize() {
        for (n, code) in Code::ALL.iter().enumerate() {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(Code::ALL[..n].iter().all(|other| other.as_str() != code.as_str()));
            assert!((400..600).contains(&code.status()));
        }
    }
}
