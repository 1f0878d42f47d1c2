//! Queues: order events to the workers, and a place for what could not be relayed.

use std::future::Future;

use events::{OrderEvent, PaymentHint};

use crate::retry::Transient;

/// Where an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To `process-order`, which drives the payment.
    Payments,
    /// To `project-ledger`, which writes the ledger.
    Ledger,
    /// To `notify-shopper`, which tells the shopper by mail.
    Mail,
}

/// An event was not accepted, or nobody knows whether it was: send it again, since consumers bear repeats.
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
    /// Sends `events` (any number) and answers for each, in the same order.
    fn send(
        &self,
        to: Destination,
        events: &[OrderEvent],
    ) -> impl Future<Output = Vec<Result<(), SendError>>> + Send;
}

/// Keeps what the relay could not make sense of.
pub trait ParkRecord: Send + Sync {
    /// Stores a raw stream record, as JSON text, where an engineer finds it.
    fn park(&self, raw: &str) -> impl Future<Output = Result<(), SendError>> + Send;
}

/// Sends hints to `process-order`.
pub trait SendHint: Send + Sync {
    /// Sends `hint`, to be received about a second later: by then the answer to our own call, which the gateway's event mostly
    /// reports once more, is stored with the order, and no look-up is made for it.
    fn hint(&self, hint: &PaymentHint) -> impl Future<Output = Result<(), SendError>> + Send;
}
