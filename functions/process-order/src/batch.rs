//! Processes a batch of SQS messages: decodes and drives each message separately, and returns the failed
//! ones.

use aws_lambda_events::sqs::SqsEvent;
use events::PaymentWork;
use futures_util::future::join_all;
use ports::calls::TakeCalls;
use ports::orders::{AdvanceOrder, NoteDecline, ReadOrder};
use ports::payment::PaymentGateway;
use ports::runtime::Runtime;
use startup::batch::{BatchReport, Decoded, WholeBatchFailed, work};
use startup::spans::{of_event, of_order};
use tracing::Instrument as _;

use crate::drive::{Driver, Patience};

/// Drives the orders of a batch concurrently, and returns the messages that must be redelivered.
///
/// # Errors
///
/// [`WholeBatchFailed`]
pub async fn handle<O, G, R>(
    driver: &Driver<O, G, R>,
    event: SqsEvent,
) -> Result<BatchReport, WholeBatchFailed>
where
    O: ReadOrder + AdvanceOrder + TakeCalls + NoteDecline,
    G: PaymentGateway,
    R: Runtime,
{
    let about = |work: &PaymentWork| match work {
        PaymentWork::Event(event) => of_event(event),
        PaymentWork::Hint(order) => of_order(order),
    };
    work(&event, PaymentWork::decode, about, |messages| {
        join_all(messages.into_iter().map(|message| {
            let span = message.span.clone();
            one(driver, message).instrument(span)
        }))
    })
    .await
}

/// Whether the message can be deleted.
async fn one<O, G, R>(driver: &Driver<O, G, R>, message: Decoded<'_, PaymentWork>) -> bool
where
    O: ReadOrder + AdvanceOrder + TakeCalls + NoteDecline,
    G: PaymentGateway,
    R: Runtime,
{
    let content = message.content;
    if !content.drives_payment() {
        return true;
    }
    let patience = if content.is_first() {
        Patience::Long
    } else {
        Patience::Short
    };
    let (order, next_due) = (content.order(), content.next_due());
    match driver.drive(order, next_due, patience).await {
        Ok(driven) => {
            tracing::info!(event = content.as_str(), ?driven, "payment driven");
            true
        }
        Err(error) => {
            tracing::warn!(%error, "not driven; it will come again");
            false
        }
    }
}
