//! What the SDK's errors mean to a caller: certainly not done, perhaps done, or never to be done.

use std::error::Error;

use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use connector::{Failure, Kind};
use ports::prescale::ControlError;

/// The error code of a thing that is not there.
pub(crate) const NOT_FOUND: &str = "ResourceNotFoundException";
/// The error code of a function that has nothing provisioned.
pub(crate) const NOTHING_PROVISIONED: &str = "ProvisionedConcurrencyConfigNotFoundException";

/// What a call was answered.
pub(crate) trait Answered<T>: Sized {
    /// The answer, or the port's error for the SDK's; `operation` is named when it is broken.
    fn answered(self, operation: &'static str) -> Result<T, ControlError>;

    /// The same, but `None` when the service answered with the error code `code`.
    fn unless(self, code: &str, operation: &'static str) -> Result<Option<T>, ControlError>;
}

impl<T, E: ProvideErrorMetadata + Error + 'static> Answered<T> for Result<T, SdkError<E, HttpResponse>> {
    fn answered(self, operation: &'static str) -> Result<T, ControlError> {
        let error = match self {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let failure = Failure::of(operation, &error);
        let answer = error.as_service_error();
        let message = answer.and_then(ProvideErrorMetadata::message);
        let shifting = answer.is_some_and(|answer| alias_shifts(answer.code(), answer.message()));
        let outcome = match failure.kind {
            Kind::NotSent | Kind::Throttled => ControlError::Busy,
            Kind::InProgress => ControlError::InProgress,
            Kind::Refused if shifting => ControlError::AliasShifting,
            Kind::Unknown => ControlError::Unknown,
            Kind::NotBuilt | Kind::Refused => broken(operation, &failure.to_string()),
        };
        // The message of a control plane names the action and the resource, and no person.
        let request_id = error.raw_response().and_then(request_id);
        match outcome {
            ControlError::Broken(_) => {
                tracing::error!(operation, %failure, message, request_id, "the service refused a call")
            }
            _ => tracing::debug!(operation, %failure, message, request_id, "a call failed"),
        }
        Err(outcome)
    }

    fn unless(self, code: &str, operation: &'static str) -> Result<Option<T>, ControlError> {
        match &self {
            Err(error) if error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code) => {
                Ok(None)
            }
            _ => self.answered(operation).map(Some),
        }
    }
}

/// Whether Lambda refused because the alias has weights, as CodeDeploy and Lambda itself give it while a version moves: "Alias with
/// weights can not be used with Provisioned Concurrency" (`PutProvisionedConcurrencyConfig`). It passes when the shift ends.
fn alias_shifts(code: Option<&str>, message: Option<&str>) -> bool {
    code == Some("InvalidParameterValueException")
        && message.is_some_and(|message| message.contains("weight"))
}

/// The id under which the service knows a request; support asks for it.
fn request_id(response: &HttpResponse) -> Option<&str> {
    let headers = response.headers();
    headers
        .get("x-amzn-requestid")
        .or_else(|| headers.get("x-amz-request-id"))
}

/// A failure that repeating cannot mend.
pub(crate) fn broken(operation: &'static str, why: &str) -> ControlError {
    ControlError::Broken(format!("{operation}: {why}"))
}
