//! What the SDK's errors mean to a caller: certainly not done, perhaps done, or never to be done.
//!
//! In doubt a failure is [`ControlError::Unknown`]: claiming that something was not done is the only dangerous mistake.

use std::error::Error;

use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use connector::{Chain, never_connected};
use ports::prescale::ControlError;

/// Error codes that mean too many calls: nothing was done.
const BUSY: [&str; 10] = [
    "EC2ThrottledException",
    "LimitExceeded",
    "LimitExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Error codes that mean another change of the same thing: nothing was done.
const IN_PROGRESS: [&str; 7] = [
    "InvalidDBClusterStateFault",
    "InvalidDBInstanceState",
    "InvalidDBInstanceStateFault",
    "ResourceConflictException",
    "ResourceInUseException",
    // The function itself: it is being made ready for its first call.
    "ResourceNotReadyException",
    "SnapStartNotReadyException",
];

/// Error codes below 500 that leave the outcome open.
const UNKNOWN: [&str; 2] = ["RequestTimeout", "RequestTimeoutException"];

/// The port's error for the SDK's; `operation` is named when it is broken.
pub(crate) fn control_error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> ControlError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => broken(operation, "no request could be built"),
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            broken(operation, "no request could be built")
        }
        SdkError::DispatchFailure(_) if never_connected(error) => ControlError::Busy,
        SdkError::ServiceError(answer) => {
            let (code, status) = (answer.err().code(), answer.raw().status().as_u16());
            let sorted = of_answer(operation, code, status);
            tracing::debug!(
                operation,
                code,
                status,
                message = answer.err().message(),
                "refused"
            );
            sorted
        }
        // Time-outs, connections that broke after sending, answers that cannot be read, and what the SDK may add.
        _ => {
            tracing::debug!(operation, error = %Chain(error), "no answer from the control plane");
            ControlError::Unknown
        }
    }
}

/// A failure that repeating cannot mend.
pub(crate) fn broken(operation: &'static str, why: &str) -> ControlError {
    ControlError::Broken(format!("{operation}: {why}"))
}

/// Whether the service answered with this code.
pub(crate) fn is<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, code: &str) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code)
}

/// The port's error for an answer of a service.
fn of_answer(operation: &'static str, code: Option<&str>, status: u16) -> ControlError {
    let code = code.unwrap_or("no code");
    if BUSY.contains(&code) || status == 429 {
        ControlError::Busy
    } else if IN_PROGRESS.contains(&code) {
        ControlError::InProgress
    } else if UNKNOWN.contains(&code) || !(400..500).contains(&status) {
        ControlError::Unknown
    } else {
        broken(operation, &format!("{code} ({status})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_they_leave_open() {
        let of = |code, status| of_answer("Op", Some(code), status);
        for code in BUSY {
            assert_eq!(of(code, 400), ControlError::Busy, "{code}");
        }
        for code in IN_PROGRESS {
            assert_eq!(of(code, 409), ControlError::InProgress, "{code}");
        }
        for code in UNKNOWN {
            assert_eq!(of(code, 408), ControlError::Unknown, "{code}");
        }
        for (code, status) in [("ServiceException", 500), ("InternalFailure", 500), ("none", 503)] {
            assert_eq!(of(code, status), ControlError::Unknown, "{code}");
        }
        for code in ["ValidationException", "AccessDenied", "DBClusterNotFoundFault"] {
            assert_eq!(of(code, 403), ControlError::Broken(format!("Op: {code} (403)")));
        }
        assert_eq!(of_answer("Op", None, 429), ControlError::Busy);
    }
}
