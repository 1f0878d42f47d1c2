//! Project order events into the PostgreSQL ledger, by version.
//!
//! A batch from the queue is decoded record by record, written in one round trip, and answered record by record: what was
//! not written comes again, what the ledger refuses for good ends in the dead-letter queue, and one bad message never
//! holds up another. Repeats and late versions change nothing (`ports::ledger` says how).
//!
//! This is the only function that talks to PostgreSQL, and it talks to nothing else, so the database's size and
//! moods never reach a shopper.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use events::OrderEvent;
use ports::ledger::{LedgerError, ProjectOrders};

/// Writes a batch to the ledger and answers which records must come again.
pub async fn handle<L: ProjectOrders>(ledger: &L, batch: SqsEvent) -> SqsBatchResponse {
    let mut readable = Vec::new();
    let mut failed = Vec::new();
    for record in batch.records {
        let message = record.message_id.unwrap_or_default();
        match OrderEvent::decode(record.body.as_deref().unwrap_or_default()) {
            Ok(event) => readable.push((message, event)),
            Err(error) => {
                // Nothing of its contents: they may be personal. It ends in the dead-letter queue, where it can be read.
                tracing::error!(message, %error, "a record cannot be decoded");
                failed.push(message);
            }
        }
    }
    let events: Vec<OrderEvent> = readable.iter().map(|(_, event)| event.clone()).collect();
    let mut answers = ledger.project(&events).await.into_iter();
    for (message, event) in readable {
        let (order, version) = (&event.data.order_id, event.data.version);
        match answers.next() {
            Some(Ok(projected)) => tracing::debug!(message, %order, version, ?projected, "projected"),
            Some(Err(LedgerError::Refused(why))) => {
                tracing::error!(message, %order, version, why, "the ledger refuses an event");
                failed.push(message);
            }
            Some(Err(LedgerError::Unavailable(why))) => {
                tracing::warn!(message, %order, version, why, "not projected; it will come again");
                failed.push(message);
            }
            None => failed.push(message),
        }
    }
    let mut response = SqsBatchResponse::default();
    let name = |message| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = message;
        failure
    };
    response.batch_item_failures = failed.into_iter().map(name).collect();
    response
}
