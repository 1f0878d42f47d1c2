//! A batch of SQS records: each decoded and driven by itself, the failed ones answered.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use events::{EventType, OrderEvent};
use futures_util::future::join_all;
use ports::edge::Edge;
use ports::orders::{AdvanceOrder, ReadOrder};
use ports::payment::PaymentGateway;

use crate::drive::Driver;

/// Drives the orders of a batch, at the same time, and answers which records must come again.
pub async fn handle<O, G, E>(driver: &Driver<O, G, E>, event: SqsEvent) -> SqsBatchResponse
where
    O: ReadOrder + AdvanceOrder,
    G: PaymentGateway,
    E: Edge,
{
    let done = join_all(event.records.iter().map(|record| one(driver, record))).await;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = event
        .records
        .into_iter()
        .zip(done)
        .filter(|(_, done)| !done)
        .map(|(record, _)| {
            let mut failure = BatchItemFailure::default();
            // Without an id the record cannot be named; an empty one fails the whole batch, which is the safe reading.
            failure.item_identifier = record.message_id.unwrap_or_default();
            failure
        })
        .collect();
    response
}

/// Whether the record is done with.
async fn one<O, G, E>(driver: &Driver<O, G, E>, record: &SqsMessage) -> bool
where
    O: ReadOrder + AdvanceOrder,
    G: PaymentGateway,
    E: Edge,
{
    let message = record.message_id.as_deref().unwrap_or_default();
    let event = match OrderEvent::decode(record.body.as_deref().unwrap_or_default()) {
        Ok(event) => event,
        Err(error) => {
            // Nothing of its contents: they may be personal. It ends in the dead-letter queue, where it can be read.
            tracing::error!(message, %error, "a record cannot be decoded");
            return false;
        }
    };
    if !begins_something(event.kind) {
        return true;
    }
    let order = &event.data.order_id;
    match driver.drive(order).await {
        Ok(driven) => {
            tracing::debug!(message, %order, ?driven, "driven");
            true
        }
        Err(error) => {
            tracing::warn!(message, %order, %error, "not driven; it will come again");
            false
        }
    }
}

/// Whether somebody has to act on such an event. The others report what was done here or needs nothing from here.
fn begins_something(kind: EventType) -> bool {
    match kind {
        EventType::Placed | EventType::CancelRequested | EventType::Due => true,
        EventType::Updated
        | EventType::ActionRequired
        | EventType::Paid
        | EventType::Declined
        | EventType::Cancelled
        | EventType::Refunded => false,
    }
}
