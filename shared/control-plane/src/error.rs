//! Maps the SDK's errors to outcomes for the caller: certainly not done, perhaps done, or permanently refused.

use std::error::Error;

use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use connector::{Failure, Kind, request_id};
use domain::drops::FieldError;
use ports::prescale::ControlError;

/// The error code for a missing resource.
pub(crate) const NOT_FOUND: &str = "ResourceNotFoundException";
/// The error code of a function without provisioned concurrency.
pub(crate) const NOTHING_PROVISIONED: &str = "ProvisionedConcurrencyConfigNotFoundException";

/// Converts the result of an SDK call into the port's result.
pub(crate) trait Answered<T>: Sized {
    /// The answer, or the port's error. A [`ControlError::Broken`] names `operation`.
    fn answered(self, operation: &'static str) -> Result<T, ControlError>;

    /// Like [`Answered::answered`], but `None` when the service answered with the error code `code`.
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
        // A control plane's message names the action and the resource, and contains no personal data.
        let (action, aws_request_id) = (operation, error.raw_response().and_then(request_id));
        match outcome {
            ControlError::Broken(_) => {
                tracing::error!(action, %failure, message, aws_request_id, "an AWS call failed, and a repeat fails too: check the permission, the resource and the values")
            }
            _ => tracing::debug!(action, %failure, message, aws_request_id, "an AWS call failed"),
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

/// Whether Lambda refused because the alias has weights. CodeDeploy and Lambda set weights while they shift traffic to
/// a new version: "Alias with weights can not be used with Provisioned Concurrency"
/// (`PutProvisionedConcurrencyConfig`). After the shift, Lambda accepts the request.
fn alias_shifts(code: Option<&str>, message: Option<&str>) -> bool {
    code == Some("InvalidParameterValueException")
        && message.is_some_and(|message| message.contains("weight"))
}

/// A mistake in a document, for the list of all mistakes.
pub(crate) fn mistake(field: &str, message: &str) -> FieldError {
    FieldError {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

/// A failure that a retry cannot solve.
pub(crate) fn broken(operation: &'static str, why: &str) -> ControlError {
    ControlError::Broken(format!("{operation}: {why}"))
}
