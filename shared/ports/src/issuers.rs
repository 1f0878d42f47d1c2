//! Who may sign tokens: the documents of issuers with their keys, and the shop's configuration that they follow from.
//!
//! A document is a text here; the crate `tokens` reads and writes it.

use std::future::Future;

use crate::retry::Transient;
use crate::{Conditional, StoreError};

/// A list of issuers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssuerList {
    /// Whose tokens make shoppers.
    Shoppers,
    /// Whose tokens make operators.
    Operators,
}

impl IssuerList {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Shoppers, Self::Operators];

    /// The list's name in keys and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shoppers => "shoppers",
            Self::Operators => "operators",
        }
    }
}

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuersDocument {
    /// How many times it was stored, from 1.
    pub version: u64,
    /// The document; at most 110 KB, which the crate `tokens` asserts of the largest one.
    pub text: String,
}

/// How many copies of each document are stored. Each process of a crowd reads one when it starts: 20,000 starts in one second are 560 reads
/// of each copy. Copies lie in partitions by chance, and a partition gives 3,000 read units a second.
pub const ISSUER_COPIES: u8 = 36;

/// Reads the documents.
pub trait ReadIssuers: Send + Sync {
    /// One copy of a list's document, below [`ISSUER_COPIES`], eventually consistent; `None` before the first one was stored.
    fn issuers(
        &self,
        list: IssuerList,
        copy: u8,
    ) -> impl Future<Output = Result<Option<IssuersDocument>, StoreError>> + Send;
}

/// Stores the documents.
pub trait StoreIssuers: Send + Sync {
    /// Stores the document in all copies at once, over the version before its own, or as a new one at version 1. Refused: another change came first.
    fn store_issuers(
        &self,
        list: IssuerList,
        document: &IssuersDocument,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Why a parameter cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The store of parameters does not answer. Worth reading again.
    #[error("the store of parameters does not answer")]
    Unavailable,
    /// There is no such parameter, or the function may not read it.
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
    /// The value of the parameter `name` as it is now.
    fn parameter(&self, name: &str) -> impl Future<Output = Result<String, ParameterError>> + Send;
}
