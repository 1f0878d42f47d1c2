//! Defines the ports of queues: order events for the workers, and records that could not be relayed.

use std::future::Future;

use events::{OrderEvent, PaymentHint};

use crate::retry::Transient;

/// The queue to which an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// The queue of `process-order`, which advances the payment.
    Payments,
    /// The queue of `project-ledger`, which writes the ledger.
    Ledger,
    /// The queue of `notify-shopper`, which sends mails to shoppers.
    Mail,
}

/// The queue did not accept a message, or the outcome is unknown. The message must be sent again, since
/// consumers tolerate repeats.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue did not accept the message: {0}")]
pub struct SendError(pub String);

impl Transient for SendError {
    fn is_transient(&self) -> bool {
        true
    }
}

/// Sends order events to the workers' queues.
pub trait SendEvents: Send + Sync {
    /// Sends `events` (any number), and returns a result for each event in the same order.
    fn send(
        &self,
        to: Destination,
        events: &[OrderEvent],
    ) -> impl Future<Output = Vec<Result<(), SendError>>> + Send;
}

/// Stores records that the relay cannot read, so that they are not lost.
pub trait ParkRecord: Send + Sync {
    /// Sends a raw stream record, as JSON text, to the queue in which engineers look for such records.
    fn park(&self, raw: &str) -> impl Future<Output = Result<(), SendError>> + Send;
}

/// The delivery delay of a hint, in seconds.
pub const HINT_DELAY_SECONDS: i32 = 1;

/// Sends payment hints to `process-order`.
pub trait SendHint: Send + Sync {
    /// Sends `hint` so that it is received about [`HINT_DELAY_SECONDS`] later. By then the order contains the
    /// answer to the system's own call. The gateway's event mostly repeats that answer, so no look-up is needed.
    fn hint(&self, hint: &PaymentHint) -> impl Future<Output = Result<(), SendError>> + Send;
}
