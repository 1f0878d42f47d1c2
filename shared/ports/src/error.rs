//! The errors of database ports, and the outcomes of conditional writes.

/// An error that may pass.
pub trait Transient {
    /// Whether a repeat of the same call may succeed and is harmless.
    fn is_transient(&self) -> bool;

    /// The wait that the service requested, in milliseconds.
    fn wait_at_least_ms(&self) -> u64 {
        0
    }
}

/// Why a database port failed. A condition that did not hold is not an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Certainly not done: throttled, in conflict with another write, or never sent. A repeat may succeed
    /// soon.
    #[error("the database refused for the moment")]
    Busy,
    /// Sent without an answer: it may have been done. Repeat the same conditional write, or read the state.
    #[error("the outcome is unknown")]
    Unknown,
    /// A fault of this project that a repeat cannot correct: a missing permission or table, or an unreadable
    /// item.
    #[error("the database cannot do that: {0}")]
    Broken(String),
}

impl StoreError {
    /// [`StoreError::Broken`] with a description of the fault, which must not contain stored values.
    #[must_use]
    pub fn broken(what: impl ToString) -> Self {
        Self::Broken(what.to_string())
    }
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unknown)
    }
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditional<T> {
    /// It was written.
    Done,
    /// The condition did not hold and nothing was written. Contains the state that was found.
    Refused(T),
}

impl<T> Conditional<T> {
    /// The same outcome, with the result of `change` on the state that was found.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Conditional<U> {
        match self {
            Self::Done => Conditional::Done,
            Self::Refused(found) => Conditional::Refused(change(found)),
        }
    }

    /// Whether it was written.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}
