//! Processes a batch of SQS messages: decodes each one, advances its payment, and returns the failed ones.

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

use crate::advance_payment::{Patience, PaymentSaga};

/// Advances the payments of a batch concurrently, and returns the messages that must be redelivered.
///
/// # Errors
///
/// [`WholeBatchFailed`]
pub async fn handle<O, G, R>(
    saga: &PaymentSaga<O, G, R>,
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
            one(saga, message).instrument(span)
        }))
    })
    .await
}

/// Processes one message. Returns whether the message can be deleted.
async fn one<O, G, R>(saga: &PaymentSaga<O, G, R>, message: Decoded<'_, PaymentWork>) -> bool
where
    O: ReadOrder + AdvanceOrder + TakeCalls + NoteDecline,
    G: PaymentGateway,
    R: Runtime,
{
    let content = message.content;
    if !content.advances_payment() {
        return true;
    }
    let patience = if content.is_first() {
        Patience::Long
    } else {
        Patience::Short
    };
    let (order, next_due) = (content.order(), content.next_due());
    match saga.advance_payment(order, next_due, patience).await {
        Ok(advanced) => {
            tracing::info!(event = content.as_str(), ?advanced, "payment message handled");
            true
        }
        Err(error) => {
            tracing::warn!(%error, "the order's payment could not be continued; the queue delivers the message again");
            false
        }
    }
}
