//! Defines the port of secrets that a function needs at run time: the gateway's key, the database's
//! password.
//!
//! A secret is in a secret store and in no environment variable, so that it can be changed without a
//! deployment. A user of a secret reads it before each use, and reports a refusal of it. [`ReadSecret`]
//! answers from a cache, so a read before each use is cheap.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::retry::Transient;

/// The text of a secret. Neither `Debug` nor an error shows the text, and its memory is overwritten when the
/// last copy is dropped.
#[derive(Clone)]
pub struct SecretText(Arc<Zeroizing<String>>);

impl SecretText {
    /// Takes ownership of `text`, so that its memory is overwritten later.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The text. It must only be passed to the service that accepts the secret.
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

/// Why a secret cannot be read. No variant contains any part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The secret store does not answer, and no cached value is young enough. A later read may succeed.
    #[error("the store of secrets does not answer")]
    Unavailable,
    /// The secret does not exist, or the function may not read it.
    #[error("there is no such secret, or the function may not read it")]
    Missing,
    /// The secret has another form than its name implies: it is no JSON with this member, no text, or empty.
    #[error("the secret is not in the form that its name says")]
    Malformed,
}

impl Transient for SecretError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

/// Reads one secret from a cache or from the secret store.
pub trait ReadSecret: Send + Sync {
    /// The cached secret, or a newly fetched secret if the cached one is too old or was reported
    /// by [`ReadSecret::refused`].
    fn read(&self) -> impl Future<Output = Result<SecretText, SecretError>> + Send;

    /// Reports that a service refused the secret, which may have been replaced. So the next
    /// [`ReadSecret::read`] fetches it. Several reports within a short time cause only one fetch, so that a
    /// wrong secret does not cause a fetch for each use.
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
