//! Transactions: all writes or none, and why none.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, Put, TransactWriteItem, Update};
use connector::{Failure, Kind};
use ports::StoreError;

use crate::error::store_error;
use crate::item::Item;

const OPERATION: &str = "TransactWriteItems";

/// What one write of a cancelled transaction had to do with it.
#[derive(Debug, PartialEq)]
pub(crate) enum Reason {
    /// Nothing, as far as was looked.
    Fine,
    /// Its condition did not hold; the item as it is, if it is there and was asked for.
    Condition(Option<Item>),
    /// Another write was in the way, or there was no capacity left.
    Busy,
    /// It can never be done.
    Broken(String),
}

/// How a transaction ended.
#[derive(Debug)]
pub(crate) enum Transacted {
    /// Everything was written.
    Done,
    /// Nothing was written; a reason for each write, in the order of the writes.
    Cancelled(Vec<Reason>),
}

/// A write that is a put.
pub(crate) fn put(put: Result<Put, BuildError>) -> Result<TransactWriteItem, StoreError> {
    let put = put.map_err(|_| unbuilt())?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A write that is an update.
pub(crate) fn update(update: Result<Update, BuildError>) -> Result<TransactWriteItem, StoreError> {
    let update = update.map_err(|_| unbuilt())?;
    Ok(TransactWriteItem::builder().update(update).build())
}

fn unbuilt() -> StoreError {
    StoreError::Broken(format!("{OPERATION}: no request could be built"))
}

/// Sends a transaction once; a failure names `table`, that of the first write.
///
/// Its `ClientRequestToken` is the SDK's random one. A token made of the order would be remembered for ten minutes: a
/// repeat would be told that it was done when the port promises a refusal that shows the order, and a repeat with a
/// later deadline would be refused as a contradiction. The conditions make a repeat harmless by themselves.
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

/// The error of a cancelled transaction in which no condition tells more: what can never be done before what may pass.
///
/// Where anything was busy, the other reasons are not the last word: a transaction that is just being applied shows as
/// a conflict on one item and as a changed condition on another.
pub(crate) fn not_conditions(reasons: &[Reason]) -> Option<StoreError> {
    reasons
        .iter()
        .find_map(|reason| match reason {
            Reason::Broken(what) => Some(StoreError::Broken(what.clone())),
            _ => None,
        })
        .or_else(|| reasons.contains(&Reason::Busy).then_some(StoreError::Busy))
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
