//! The ledger: every version of every order, and the latest.

use std::future::Future;

use events::OrderEvent;

use crate::retry::Transient;

/// Why an event is not in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The database cannot be reached or is too busy, or the outcome is unknown. Repeating is harmless.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// The database gave no connection, so nothing was written.
    #[error("no connection to the ledger: {0}")]
    NoConnection(String),
    /// The database refuses this event whatever happens: a constraint, by name.
    #[error("the ledger refuses the event: {0}")]
    Refused(String),
}

impl Transient for LedgerError {
    fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// What writing an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projected {
    /// The order is now at this version.
    Latest,
    /// The version is new to the history, but a later one had arrived before.
    Late,
    /// The version was known: nothing changed.
    Known,
}

/// Writes the ledger.
pub trait ProjectOrders: Send + Sync {
    /// Writes each event by itself, in one round trip where possible, and answers for each in the same order. An
    /// order's row never goes back to an older version.
    fn project(
        &self,
        events: &[OrderEvent],
    ) -> impl Future<Output = Vec<Result<Projected, LedgerError>>> + Send;
}
