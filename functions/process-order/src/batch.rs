//! Processes a batch of SQS messages: decodes each one, advances its payment, and returns the failed ones.

use aws_lambda_events::sqs::SqsEvent;
use events::PaymentWork;
use futures_util::future::join_all;
use ports::calls::TakeCalls;
use ports::invocation::{Handle, Invocation};
use ports::orders::{AdvanceOrder, NoteDecline, ReadOrder};
use ports::payment::PaymentGateway;
use ports::runtime::Runtime;
use startup::batch::{BatchReport, Decoded, WholeBatchFailed, work};
use startup::spans::{of_event, of_order};
use tracing::Instrument as _;

use crate::advance_payment::{Patience, PaymentSaga};

impl<O, G, R> Handle for PaymentSaga<O, G, R>
where
    O: ReadOrder + AdvanceOrder + TakeCalls + NoteDecline + 'static,
    G: PaymentGateway + 'static,
    R: Runtime,
{
    type Event = SqsEvent;
    type Answer = BatchReport;
    type Error = WholeBatchFailed;

    async fn handle(&self, event: SqsEvent, _: &Invocation) -> Result<BatchReport, WholeBatchFailed> {
        self.advance_batch(&event).await
    }
}

impl<O, G, R> PaymentSaga<O, G, R>
where
    O: ReadOrder + AdvanceOrder + TakeCalls + NoteDecline,
    G: PaymentGateway,
    R: Runtime,
{
    /// Advances the payments of a batch concurrently, and returns the messages that must be redelivered.
    ///
    /// # Errors
    ///
    /// [`WholeBatchFailed`]
    pub async fn advance_batch(&self, batch: &SqsEvent) -> Result<BatchReport, WholeBatchFailed> {
        let about = |work: &PaymentWork| match work {
            PaymentWork::Event(event) => of_event(event),
            PaymentWork::Hint(order) => of_order(order),
        };
        work(batch, PaymentWork::decode, about, |messages| {
            join_all(messages.into_iter().map(|message| {
                let span = message.span.clone();
                self.one(message).instrument(span)
            }))
        })
        .await
    }

    /// Processes one message. Returns whether the message can be deleted.
    async fn one(&self, message: Decoded<'_, PaymentWork>) -> bool {
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
        match self.advance_payment(order, next_due, patience).await {
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
}
