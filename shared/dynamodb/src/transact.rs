//! Makes transactions: all writes or none, with the reasons of a cancellation.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, Put, TransactWriteItem, Update};
use connector::{Failure, Kind};
use ports::{Conditional, StoreError};

use crate::error::store_error;
use crate::item::Item;

const OPERATION: &str = "TransactWriteItems";

/// The reason that DynamoDB gives for one write of a cancelled transaction.
#[derive(Debug, PartialEq)]
pub(crate) enum Reason {
    /// This write was no reason for the cancellation.
    Fine,
    /// The condition did not hold. The value is the existing item, if the write requested it.
    Condition(Option<Item>),
    /// Another write conflicted, or the table was throttled.
    Busy,
    /// The write can never succeed.
    Broken(String),
}

#[derive(Debug)]
pub(crate) enum Transacted {
    /// All writes were done.
    Done,
    /// No write was done. The value has one reason for each write, in the order of the writes.
    Cancelled(Vec<Reason>),
}

pub(crate) fn put(put: Result<Put, BuildError>) -> Result<TransactWriteItem, StoreError> {
    let put = put.map_err(|_| unbuilt())?;
    Ok(TransactWriteItem::builder().put(put).build())
}

pub(crate) fn update(update: Result<Update, BuildError>) -> Result<TransactWriteItem, StoreError> {
    let update = update.map_err(|_| unbuilt())?;
    Ok(TransactWriteItem::builder().update(update).build())
}

fn unbuilt() -> StoreError {
    StoreError::Broken(format!("{OPERATION}: no request could be built"))
}

/// Sends a transaction once. A failure is logged with `table`, the table of the first write.
///
/// The request's `ClientRequestToken` is a random token from the SDK. DynamoDB remembers a token for ten minutes. With
/// a token made of the order, a repeat would be answered as done where the port promises a refusal with the order, and
/// a repeat with a later deadline would be refused as a different request. The conditions alone make a repeat harmless.
pub(crate) async fn transact(
    client: &Client,
    table: &str,
    writes: Vec<TransactWriteItem>,
) -> Result<Transacted, StoreError> {
    let result = client
        .transact_write_items()
        .set_transact_items(Some(writes))
        .send()
        .await;
    match result {
        Ok(_) => Ok(Transacted::Done),
        Err(SdkError::ServiceError(answer)) if answer.err().is_transaction_canceled_exception() => {
            match answer.into_err() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    let reasons = cancelled.cancellation_reasons.unwrap_or_default();
                    Ok(Transacted::Cancelled(
                        reasons.into_iter().map(Reason::from).collect(),
                    ))
                }
                _ => Err(StoreError::Unknown),
            }
        }
        Err(error) => Err(store_error(OPERATION, table, &error)),
    }
}

impl From<CancellationReason> for Reason {
    fn from(reason: CancellationReason) -> Self {
        match reason.code.as_deref() {
            None | Some("None") => Self::Fine,
            Some("ConditionalCheckFailed") => Self::Condition(reason.item.filter(|item| !item.is_empty())),
            Some(code) if Failure::kind_of(code, 400) == Kind::Throttled => Self::Busy,
            Some(code) => Self::Broken(format!("{OPERATION}: {code}")),
        }
    }
}

/// The error of a transaction that was cancelled for other reasons than its conditions: a permanent failure before a
/// temporary failure. `None` if there are only conditions.
///
/// If any write conflicted, the other reasons are unreliable: a transaction in progress appears as a conflict on one
/// item and as a changed condition on another.
pub(crate) fn not_conditions(reasons: &[Reason]) -> Option<StoreError> {
    reasons
        .iter()
        .find_map(|reason| match reason {
            Reason::Broken(what) => Some(StoreError::Broken(what.clone())),
            _ => None,
        })
        .or_else(|| reasons.contains(&Reason::Busy).then_some(StoreError::Busy))
}

/// Sends a transaction once. All its conditions have the same meaning, so the result does not say which of them
/// refused.
pub(crate) async fn conditional(
    client: &Client,
    table: &str,
    writes: Vec<TransactWriteItem>,
) -> Result<Conditional<()>, StoreError> {
    match transact(client, table, writes).await? {
        Transacted::Done => Ok(Conditional::Done),
        Transacted::Cancelled(reasons) => match not_conditions(&reasons) {
            Some(error) => Err(error),
            None => Ok(Conditional::Refused(())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: &str) -> Reason {
        CancellationReason::builder().code(code).build().into()
    }

    #[test]
    fn what_may_pass_goes_before_conditions_and_what_may_not_before_all() {
        assert_eq!(
            not_conditions(&[reason("None"), reason("ConditionalCheckFailed")]),
            None
        );
        for busy in [
            "TransactionConflict",
            "ProvisionedThroughputExceeded",
            "ThrottlingError",
        ] {
            let reasons = [reason("ConditionalCheckFailed"), reason(busy)];
            assert_eq!(not_conditions(&reasons), Some(StoreError::Busy), "{busy}");
        }
        let reasons = [reason("TransactionConflict"), reason("ValidationError")];
        let expected = StoreError::Broken("TransactWriteItems: ValidationError".to_owned());
        assert_eq!(not_conditions(&reasons), Some(expected));
    }
}
