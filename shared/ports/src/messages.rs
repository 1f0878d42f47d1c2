//! Queues: order events for the workers, and a queue for records that could not be relayed.

use std::future::Future;

use events::{OrderEvent, PaymentHint};

use crate::retry::Transient;

/// Where an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To `process-order`, which advances the payment.
    Payments,
    /// To `project-ledger`, which writes the ledger.
    Ledger,
    /// To `notify-shopper`, which sends the shopper a mail.
    Mail,
}

/// An event was not accepted, or the outcome is unknown. Send it again, since consumers tolerate repeats.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue did not accept the message: {0}")]
pub struct SendError(pub String);

impl Transient for SendError {
    fn is_transient(&self) -> bool {
        true
    }
}

/// Sends order events.
pub trait SendEvents: Send + Sync {
    /// Sends `events` (any number) and returns a result for each, in the same order.
    fn send(
        &self,
        to: Destination,
        events: &[OrderEvent],
    ) -> impl Future<Output = Vec<Result<(), SendError>>> + Send;
}

/// Parks records that the relay cannot read.
pub trait ParkRecord: Send + Sync {
    /// Stores a raw stream record, as JSON text, where an engineer finds it.
    fn park(&self, raw: &str) -> impl Future<Output = Result<(), SendError>> + Send;
}

/// Sends hints to `process-order`.
pub trait SendHint: Send + Sync {
    /// Sends `hint`, to be received about a second later. By then the answer to the system's own call is
    /// stored with the order, and the gateway's event mostly repeats that answer, so no look-up is needed.
    fn hint(&self, hint: &PaymentHint) -> impl Future<Output = Result<(), SendError>> + Send;
}
