//! A batch of SQS messages: each decoded and driven by itself, the failed ones answered.

use aws_lambda_events::sqs::SqsEvent;
use events::OrderEvent;
use futures_util::future::join_all;
use ports::edge::Edge;
use ports::orders::{AdvanceOrder, ReadOrder};
use ports::payment::{GatewayError, PaymentGateway};
use startup::batch::{BatchReport, Decoded, WholeBatchFailed, work};

use crate::drive::{Driver, NotDriven};

/// Drives the orders of a batch, at the same time, and answers which messages must come again.
///
/// # Errors
/// [`WholeBatchFailed`]
pub async fn handle<O, G, E>(
    driver: &Driver<O, G, E>,
    event: SqsEvent,
) -> Result<BatchReport, WholeBatchFailed>
where
    O: ReadOrder + AdvanceOrder,
    G: PaymentGateway,
    E: Edge,
{
    work(&event, OrderEvent::decode, |messages| {
        join_all(messages.into_iter().map(|message| one(driver, message)))
    })
    .await
}

/// Whether the message is done with.
async fn one<O, G, E>(driver: &Driver<O, G, E>, message: Decoded<'_, OrderEvent>) -> bool
where
    O: ReadOrder + AdvanceOrder,
    G: PaymentGateway,
    E: Edge,
{
    let Decoded { id, content, .. } = message;
    if !content.kind.drives_payment() {
        return true;
    }
    let order = &content.data.order_id;
    match driver.drive(order).await {
        Ok(driven) => {
            tracing::debug!(message_id = id, %order, ?driven, "driven");
            true
        }
        Err(error @ NotDriven::Gateway(GatewayError::NoKey | GatewayError::WrongMode)) => {
            tracing::error!(
                message_id = id, %order, %error,
                "not driven; it will come again: put the gateway's valid key, of the mode that GATEWAY_MODE names, into the secret that GATEWAY_SECRET names"
            );
            false
        }
        Err(error) => {
            tracing::warn!(message_id = id, %order, %error, "not driven; it will come again");
            false
        }
    }
}
