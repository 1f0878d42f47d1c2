//! Classifies failed calls to AWS services for all adapters, in one table.
//!
//! In doubt the kind is [`Kind::Unknown`]: to report a completed call as not done is the only dangerous mistake.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::causes::{Chain, never_connected};

/// The outcome of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The call was not done, since no request could be built. This is a bug.
    NotBuilt,
    /// The call was not done, since no connection was made.
    NotSent,
    /// The call was not done: the service throttles calls, or another write conflicted. A retry may succeed.
    Throttled,
    /// The call was not done: another change of the same resource is in progress, perhaps for minutes.
    InProgress,
    /// The call was not done, and a retry would be refused, too.
    Refused,
    /// The call may have been done.
    Unknown,
}

/// A failed call. Shows the service's error code and status, or why there was no answer. The service's message is left
/// out, since it may quote a key; [`Failure::logged`] logs the message where that is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    pub kind: Kind,
    what: String,
}

/// Error codes for [`Kind::Throttled`].
const THROTTLED: [&str; 17] = [
    "EC2ThrottledException",
    "LimitExceeded",
    "LimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ThrottledException",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyRequestsException",
    // Parameter Store sends this code while another write of the same parameter is in progress.
    "TooManyUpdates",
    "TransactionConflict",
    "TransactionConflictException",
];

/// Error codes for [`Kind::InProgress`].
const IN_PROGRESS: [&str; 7] = [
    "InvalidDBClusterStateFault",
    "InvalidDBInstanceState",
    "InvalidDBInstanceStateFault",
    "ResourceConflictException",
    "ResourceInUseException",
    // Lambda sends these codes while it prepares a function for its first call.
    "ResourceNotReadyException",
    "SnapStartNotReadyException",
];

/// Error codes with a status below 500 whose outcome is unknown. An earlier attempt with the same token may still be in
/// progress.
const UNKNOWN: [&str; 3] = [
    "RequestTimeout",
    "RequestTimeoutException",
    "TransactionInProgressException",
];

impl Failure {
    /// Classifies the SDK's error of `operation`.
    pub fn of<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (kind, what) = match error {
            SdkError::ConstructionFailure(_) => (Kind::NotBuilt, "no request could be built"),
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                (Kind::NotBuilt, "no request could be built")
            }
            SdkError::DispatchFailure(_) if never_connected(error) => (Kind::NotSent, "no connection"),
            SdkError::ServiceError(answer) => {
                return Self::of_answer(answer.err().code(), answer.raw().status().as_u16());
            }
            // These are time-outs, connections that broke after sending, unreadable answers, and variants that the SDK
            // may add.
            _ => {
                tracing::debug!(operation, error = %Chain(error), "an AWS call got no usable answer");
                (Kind::Unknown, "no answer; the outcome is unknown")
            }
        };
        let what = what.to_owned();
        Self { kind, what }
    }

    /// Classifies like [`Failure::of`] and logs a line: the failed `action`, its `resource` (a table, a queue, a
    /// secret), the service's request id for AWS support, and the service's message unless it may quote the request. A
    /// failure that a retry by the caller may solve is logged at debug level; the caller logs when it makes no further
    /// attempt.
    pub fn logged<E>(action: &'static str, resource: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let failure = Self::of(action, error);
        let answer = error.as_service_error();
        let code = answer.and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let message = answer
            .and_then(ProvideErrorMetadata::message)
            .filter(|_| !quotes_the_request(code));
        let aws_request_id = error.raw_response().and_then(request_id);
        match failure.kind {
            Kind::NotBuilt | Kind::Refused => {
                tracing::error!(action, resource, %failure, message, aws_request_id, "an AWS call failed, and a repeat fails too: check the permission, the resource and the values");
            }
            Kind::NotSent | Kind::Unknown => {
                tracing::warn!(action, resource, %failure, message, aws_request_id, "an AWS call got no connection, or its outcome is unknown; the code that made the call may repeat it");
            }
            Kind::Throttled | Kind::InProgress => {
                tracing::debug!(action, resource, %failure, message, aws_request_id, "an AWS service refused a call for the moment; a repeat may succeed");
            }
        }
        failure
    }

    /// Classifies an answer by its error code and status.
    fn of_answer(code: Option<&str>, status: u16) -> Self {
        let code = code.unwrap_or("no code");
        Self {
            kind: Self::kind_of(code, status),
            what: format!("{code} ({status})"),
        }
    }

    /// The kind of an error code that came with this status.
    #[must_use]
    pub fn kind_of(code: &str, status: u16) -> Kind {
        if THROTTLED.contains(&code) || status == 429 {
            Kind::Throttled
        } else if IN_PROGRESS.contains(&code) {
            Kind::InProgress
        } else if UNKNOWN.contains(&code) || !(400..500).contains(&status) {
            Kind::Unknown
        } else {
            Kind::Refused
        }
    }
}

/// Whether messages with this error code may quote keys or values of the request, as validation messages do.
fn quotes_the_request(code: &str) -> bool {
    const BEGINNINGS: [&str; 5] = [
        "Conditional",
        "Invalid",
        "Serialization",
        "Transaction",
        "Validation",
    ];
    BEGINNINGS.iter().any(|beginning| code.starts_with(beginning))
}

/// The service's request id, for AWS support.
#[must_use]
pub fn request_id(response: &HttpResponse) -> Option<&str> {
    let headers = response.headers();
    headers
        .get("x-amzn-requestid")
        .or_else(|| headers.get("x-amz-request-id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_they_leave_open() {
        for (code, status, kind) in [
            // These are codes of DynamoDB, of its cancelled transactions, of control planes, and unknown codes.
            ("ProvisionedThroughputExceededException", 400, Kind::Throttled),
            ("ThrottlingException", 400, Kind::Throttled),
            ("RequestLimitExceeded", 400, Kind::Throttled),
            ("LimitExceededException", 400, Kind::Throttled),
            ("TransactionConflictException", 400, Kind::Throttled),
            ("ReplicatedWriteConflictException", 400, Kind::Throttled),
            ("TransactionConflict", 400, Kind::Throttled),
            ("ProvisionedThroughputExceeded", 400, Kind::Throttled),
            ("ThrottlingError", 400, Kind::Throttled),
            ("Throttling", 400, Kind::Throttled),
            ("TooManyRequestsException", 429, Kind::Throttled),
            ("TooManyUpdates", 400, Kind::Throttled),
            ("RequestThrottled", 403, Kind::Throttled),
            ("EC2ThrottledException", 502, Kind::Throttled),
            ("anything", 429, Kind::Throttled),
            ("ResourceConflictException", 409, Kind::InProgress),
            ("ResourceInUseException", 400, Kind::InProgress),
            ("InvalidDBInstanceState", 400, Kind::InProgress),
            ("InvalidDBClusterStateFault", 400, Kind::InProgress),
            ("ResourceNotReadyException", 502, Kind::InProgress),
            ("SnapStartNotReadyException", 409, Kind::InProgress),
            ("RequestTimeout", 408, Kind::Unknown),
            ("RequestTimeoutException", 400, Kind::Unknown),
            ("TransactionInProgressException", 400, Kind::Unknown),
            ("InternalServerError", 500, Kind::Unknown),
            ("ServiceUnavailable", 503, Kind::Unknown),
            ("anything", 302, Kind::Unknown),
            ("ValidationException", 400, Kind::Refused),
            ("ValidationError", 400, Kind::Refused),
            ("AccessDeniedException", 400, Kind::Refused),
            ("AccessDenied", 403, Kind::Refused),
            ("ResourceNotFoundException", 400, Kind::Refused),
            ("DBClusterNotFoundFault", 404, Kind::Refused),
            ("QueueDoesNotExist", 400, Kind::Refused),
            ("anything", 400, Kind::Refused),
        ] {
            assert_eq!(Failure::kind_of(code, status), kind, "{code} {status}");
        }
        let failure = Failure::of_answer(Some("AccessDenied"), 403);
        assert_eq!(failure.to_string(), "AccessDenied (403)");
        assert_eq!(Failure::of_answer(None, 429).kind, Kind::Throttled);
        assert_eq!(Failure::of_answer(None, 400).kind, Kind::Refused);
    }

    #[test]
    fn only_messages_that_quote_nothing_of_the_request_are_logged() {
        for (code, quotes) in [
            ("AccessDeniedException", false),
            ("ResourceNotFoundException", false),
            ("QueueDoesNotExist", false),
            ("ThrottlingException", false),
            ("InternalServerError", false),
            ("ValidationException", true),
            ("SerializationException", true),
            ("InvalidParameterValue", true),
            ("InvalidMessageContents", true),
            ("ConditionalCheckFailedException", true),
            ("TransactionCanceledException", true),
        ] {
            assert_eq!(quotes_the_request(code), quotes, "{code}");
        }
    }

    #[test]
    fn without_an_answer_only_a_connection_that_never_was_is_not_sent() {
        use aws_smithy_runtime_api::client::result::ConnectorError;
        use aws_smithy_types::error::ErrorMetadata;
        use std::io::{Error, ErrorKind};
        let of = |error: SdkError<ErrorMetadata, HttpResponse>| Failure::of("Op", &error).kind;
        let io = |kind| SdkError::dispatch_failure(ConnectorError::io(Error::from(kind).into()));
        assert_eq!(of(SdkError::construction_failure("x")), Kind::NotBuilt);
        let user = ConnectorError::user("x".into());
        assert_eq!(of(SdkError::dispatch_failure(user)), Kind::NotBuilt);
        assert_eq!(of(io(ErrorKind::ConnectionRefused)), Kind::NotSent);
        assert_eq!(of(io(ErrorKind::ConnectionReset)), Kind::Unknown);
        assert_eq!(of(io(ErrorKind::BrokenPipe)), Kind::Unknown);
        assert_eq!(of(SdkError::timeout_error("x")), Kind::Unknown);
    }
}
