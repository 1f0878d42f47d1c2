//! Defines the port of the ledger: every version of every order, and the latest version of each.

use std::future::Future;

use events::OrderEvent;

use crate::retry::Transient;

/// Why an event was not written to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The database cannot be reached or is too busy, or the outcome is unknown. A repeat is harmless.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// The database gave no connection, so nothing was written.
    #[error("no connection to the ledger: {0}")]
    NoConnection(String),
    /// The database refuses this event at every attempt: it violates the constraint that is named.
    #[error("the ledger refuses the event: {0}")]
    Refused(String),
}

impl Transient for LedgerError {
    fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// The effect of an event on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projected {
    /// The event's version is now the order's latest version.
    Latest,
    /// The event's version was added to the history, but the ledger already had a later version.
    Late,
    /// The ledger already had the event's version, so nothing was changed.
    Known,
}

/// Writes order events to the ledger.
pub trait ProjectOrders: Send + Sync {
    /// Writes each event by itself, in one round trip where possible, and returns a result for each event in
    /// the same order. The row of an order never returns to an older version.
    fn project(
        &self,
        events: &[OrderEvent],
    ) -> impl Future<Output = Vec<Result<Projected, LedgerError>>> + Send;
}
