//! How a database port fails, and how a conditional write ends.

use crate::retry::Transient;

/// Why a database port did not answer. A condition that did not hold is not among these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Certainly not done: throttled, in conflict with another write, or never sent. Worth repeating shortly.
    #[error("the database refused for the moment")]
    Busy,
    /// Sent, and no answer came: it may have been done. Repeat the same conditional write, or look.
    #[error("the outcome is unknown")]
    Unknown,
    /// A mistake of ours that repeating cannot mend: a missing permission or table, an item that cannot be read.
    #[error("the database cannot do that: {0}")]
    Broken(String),
}

impl StoreError {
    /// [`StoreError::Broken`] with a statement of what is wrong. It must not quote what was stored.
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
    /// The condition did not hold; nothing was written. With what was found instead.
    Refused(T),
}

impl<T> Conditional<T> {
    /// The same outcome, with `change` made of what was found instead.
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
