//! Defines the errors of database ports, and the outcomes of conditional writes.

/// Distinguishes the errors after which a repeat of the call may succeed.
pub trait Transient {
    /// Whether a repeat of the same call may succeed and is harmless.
    fn is_transient(&self) -> bool;

    /// The shortest wait before a repeat that the service requested, in milliseconds; 0 if it requested none.
    fn wait_at_least_ms(&self) -> u64 {
        0
    }
}

/// Why a call of a database port failed. A condition that does not hold is not an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The call certainly had no effect: it was throttled, in conflict with another write, or never sent. A
    /// repeat may succeed soon.
    #[error("the database refused for the moment")]
    Busy,
    /// The call was sent without an answer, so it may have had an effect. The caller must repeat the same
    /// conditional write, or read the state.
    #[error("the outcome is unknown")]
    Unknown,
    /// A fault of this project that a repeat cannot correct: a permission or table is missing, or an item
    /// is unreadable.
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

/// The outcome of a conditional write: done, or refused because the condition did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditional<T> {
    /// The condition held, and the write was made.
    Done,
    /// The condition did not hold, and nothing was written. Contains the state that was found.
    Refused(T),
}

impl<T> Conditional<T> {
    /// The same outcome, with `change` applied to the state that was found.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Conditional<U> {
        match self {
            Self::Done => Conditional::Done,
            Self::Refused(found) => Conditional::Refused(change(found)),
        }
    }

    /// Whether the write was made.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}
