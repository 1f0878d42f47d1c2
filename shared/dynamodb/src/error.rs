//! Maps the SDK's errors to outcomes for the caller: certainly not done, perhaps done, or permanently refused.

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use connector::{Failure, Kind};
use ports::{Conditional, StoreError};

use crate::item::Item;

/// The port's error for the SDK's error, which is logged with the `operation` and its `table`.
pub(crate) fn store_error<E>(
    operation: &'static str,
    table: &str,
    error: &SdkError<E, HttpResponse>,
) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let failure = Failure::logged(operation, table, error);
    match failure.kind {
        Kind::NotSent | Kind::Throttled | Kind::InProgress => StoreError::Busy,
        Kind::Unknown => StoreError::Unknown,
        Kind::NotBuilt | Kind::Refused => StoreError::Broken(format!("{operation}: {failure}")),
    }
}

/// Whether a conditional write of one item was done, or refused by its condition.
pub(crate) enum Written<T> {
    Done(T),
    /// The condition did not hold. The value is the existing item, if the write requested it.
    Refused(Option<Item>),
}

/// The error type of a conditional write, which includes the refusal by the condition.
pub(crate) trait Refusal: ProvideErrorMetadata + Error + Sized + 'static {
    /// The existing item that the refusal contains, if any.
    fn refused(self) -> Option<Item>;
    /// Whether the error is a refused condition.
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

/// Separates a refused condition from a failure.
pub(crate) fn written<T, E: Refusal>(
    operation: &'static str,
    table: &str,
    result: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Written<T>, StoreError> {
    match result {
        Ok(output) => Ok(Written::Done(output)),
        Err(SdkError::ServiceError(answer)) if answer.err().is_refusal() => {
            Ok(Written::Refused(answer.into_err().refused()))
        }
        Err(error) => Err(store_error(operation, table, &error)),
    }
}

/// Separates a refused condition from a failure as [`written`] does, without the item of the refusal.
pub(crate) fn conditional<T, E: Refusal>(
    operation: &'static str,
    table: &str,
    result: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Conditional<()>, StoreError> {
    Ok(match written(operation, table, result)? {
        Written::Done(_) => Conditional::Done,
        Written::Refused(_) => Conditional::Refused(()),
    })
}
