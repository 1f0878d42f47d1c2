//! Secrets that a function needs while it runs: the gateway's key, the database's password.
//!
//! A secret stands in a store of secrets and in no environment variable, so that it can be changed without a deployment: who
//! uses one reads it before each use, and says when it was refused. [`ReadSecret`] answers from a cache, so a read before each
//! use costs nothing.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::retry::Transient;

/// A secret's text. Neither `Debug` nor an error shows it; its memory is overwritten when the last copy is dropped.
#[derive(Clone)]
pub struct SecretText(Arc<Zeroizing<String>>);

impl SecretText {
    /// Takes over `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The text, to be given to whom it is meant for and to nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Why a secret cannot be read. No variant holds any of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The store of secrets does not answer, and nothing that was read before is young enough. Worth reading again.
    #[error("the store of secrets does not answer")]
    Unavailable,
    /// There is no such secret, or the function may not read it.
    #[error("there is no such secret, or the function may not read it")]
    Missing,
    /// The secret is there and is not what its name says: no JSON with this member, no text, empty.
    #[error("the secret is not in the form that its name says")]
    Malformed,
}

impl Transient for SecretError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

/// Reads one secret.
pub trait ReadSecret: Send + Sync {
    /// The secret as it was read last, or read anew when that is too long ago or [`ReadSecret::refused`] was called since.
    fn read(&self) -> impl Future<Output = Result<SecretText, SecretError>> + Send;

    /// Says that who was shown the secret refused it: it may have been changed, so the next [`ReadSecret::read`] fetches it.
    /// Calls shortly after each other cause one fetch, so that a wrong secret does not cause a fetch for each of its uses.
    fn refused(&self) -> impl Future<Output = ()> + Send;
}

impl<S: ReadSecret> ReadSecret for Arc<S> {
    fn read(&self) -> impl Future<Output = Result<SecretText, SecretError>> + Send {
        S::read(self)
    }

    fn refused(&self) -> impl Future<Output = ()> + Send {
        S::refused(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = SecretText::new("sk_live_1".to_owned());
        assert_eq!(secret.expose(), "sk_live_1");
        assert!(!format!("{secret:?}").contains("sk_live"));
    }
}
