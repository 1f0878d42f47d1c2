//! Defines the ports of the issuers that may sign tokens: stored documents with the issuers' keys, and the
//! shop's parameters that the documents follow from.
//!
//! This crate treats a document as a text; the crate `tokens` reads and writes its contents.

use std::future::Future;

use crate::retry::Transient;
use crate::{Conditional, StoreError};

domain::named! {
    /// A list of issuers, by the kind of user whose tokens they sign. Its name is used in keys and logs.
    pub enum IssuerList {
        /// The issuers of shoppers' tokens.
        Shoppers = "shoppers",
        /// The issuers of operators' tokens.
        Operators = "operators",
    }
}

/// A list's document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuersDocument {
    /// The number of times that the document was stored, from 1.
    pub version: u64,
    /// The contents of the document. They have at most 110 KB, which the crate `tokens` asserts for the
    /// largest document.
    pub text: String,
}

/// The number of stored copies of each document. Each process reads one copy when it starts: 20,000 starts in
/// one second are 560 reads of each copy. The copies are in random partitions, and a partition gives 3,000
/// read units a second.
pub const ISSUER_COPIES: u8 = 36;

/// Reads the documents of the lists of issuers.
pub trait ReadIssuers: Send + Sync {
    /// One copy (0 to [`ISSUER_COPIES`] - 1) of a list's document, eventually consistent; `None` before the
    /// first document was stored.
    fn issuers(
        &self,
        list: IssuerList,
        copy: u8,
    ) -> impl Future<Output = Result<Option<IssuersDocument>, StoreError>> + Send;
}

/// Stores the documents of the lists of issuers.
pub trait StoreIssuers: Send + Sync {
    /// Stores the document in all its copies, or in none, if the stored version is the one before, or as a
    /// new document at version 1. Refused: another change came first, and nothing was written.
    fn store_issuers(
        &self,
        list: IssuerList,
        document: &IssuersDocument,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Why a parameter cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The parameter store does not answer. A later read may succeed.
    #[error("the store of parameters does not answer")]
    Unavailable,
    /// The parameter does not exist, or the function may not read it.
    #[error("there is no such parameter, or the function may not read it")]
    Missing,
}

impl Transient for ParameterError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

/// Reads parameters of the shop's configuration.
pub trait ReadParameter: Send + Sync {
    /// The current value of the parameter `name`.
    fn parameter(&self, name: &str) -> impl Future<Output = Result<String, ParameterError>> + Send;
}
