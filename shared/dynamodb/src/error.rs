//! What the SDK's errors mean to a caller: certainly not done, perhaps done, or never to be done.
//!
//! In doubt a failure is [`StoreError::Unknown`]: claiming that something was not done is the only dangerous mistake.
//! Texts never carry what the service says about the request, since that may quote a key.

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use connector::{Chain, never_connected};
use ports::{Conditional, StoreError};

use crate::item::Item;

/// Error codes after which nothing was done.
const BUSY: [&str; 7] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TransactionConflictException",
];

/// Error codes below 500 that leave the outcome open. An earlier attempt with the same token may be on its way.
const UNKNOWN: [&str; 2] = ["RequestTimeoutException", "TransactionInProgressException"];

/// The port's error for the SDK's; `operation` is named when it is broken.
pub(crate) fn store_error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => {
            StoreError::Broken(format!("{operation}: no request could be built"))
        }
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            StoreError::Broken(format!("{operation}: no request could be built"))
        }
        SdkError::DispatchFailure(_) if never_connected(error) => StoreError::Busy,
        SdkError::ServiceError(answer) => {
            of_answer(operation, answer.err().code(), answer.raw().status().as_u16())
        }
        // Time-outs, connections that broke after sending, answers that cannot be read, and what the SDK may add.
        _ => {
            tracing::debug!(operation, error = %Chain(error), "no answer from the database");
            StoreError::Unknown
        }
    }
}

/// The port's error for an answer of the service.
fn of_answer(operation: &'static str, code: Option<&str>, status: u16) -> StoreError {
    let code = code.unwrap_or("no code");
    if BUSY.contains(&code) || status == 429 {
        StoreError::Busy
    } else if UNKNOWN.contains(&code) || !(400..500).contains(&status) {
        StoreError::Unknown
    } else {
        StoreError::Broken(format!("{operation}: {code} ({status})"))
    }
}

/// How a conditional write of one item ended.
pub(crate) enum Written<T> {
    /// It was written.
    Done(T),
    /// The condition did not hold; the item as it is, if it is there and was asked for.
    Refused(Option<Item>),
}

impl<T> Written<T> {
    /// The port's outcome, of which only whether it was written matters.
    pub(crate) fn outcome(self) -> Conditional<()> {
        match self {
            Self::Done(_) => Conditional::Done,
            Self::Refused(_) => Conditional::Refused(()),
        }
    }
}

/// An operation's error that may be the refusal of a condition.
pub(crate) trait Refusal: ProvideErrorMetadata + Error + Sized + 'static {
    /// The item that the refusal shows.
    fn refused(self) -> Option<Item>;
    /// Whether it is a refusal.
    fn is_refusal(&self) -> bool;
}

macro_rules! refusal {
    ($error:ty) => {
        impl Refusal for $error {
            fn refused(self) -> Option<Item> {
                match self {
                    Self::ConditionalCheckFailedException(refused) => {
                        refused.item.filter(|item| !item.is_empty())
                    }
                    _ => None,
                }
            }

            fn is_refusal(&self) -> bool {
                self.is_conditional_check_failed_exception()
            }
        }
    };
}

refusal!(UpdateItemError);
refusal!(PutItemError);

/// Tells a refused condition from a failure.
pub(crate) fn written<T, E: Refusal>(
    operation: &'static str,
    result: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Written<T>, StoreError> {
    match result {
        Ok(output) => Ok(Written::Done(output)),
        Err(SdkError::ServiceError(answer)) if answer.err().is_refusal() => {
            Ok(Written::Refused(answer.into_err().refused()))
        }
        Err(error) => Err(store_error(operation, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_they_leave_open() {
        let of = |code, status| of_answer("Op", Some(code), status);
        for code in BUSY {
            assert_eq!(of(code, 400), StoreError::Busy, "{code}");
        }
        for code in UNKNOWN {
            assert_eq!(of(code, 400), StoreError::Unknown, "{code}");
        }
        assert_eq!(of("InternalServerError", 500), StoreError::Unknown);
        assert_eq!(of("ServiceUnavailable", 503), StoreError::Unknown);
        for code in [
            "ValidationException",
            "AccessDeniedException",
            "ResourceNotFoundException",
        ] {
            assert_eq!(of(code, 400), StoreError::Broken(format!("Op: {code} (400)")));
        }
        assert_eq!(of_answer("Op", None, 429), StoreError::Busy);
    }
}
