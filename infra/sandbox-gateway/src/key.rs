//! Checks the secret API key of callers.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use subtle::ConstantTimeEq as _;

/// The only accepted secret key. A call with another key is answered 401.
pub struct ApiKey(Mutex<String>);

impl ApiKey {
    /// Accepts `key` until [`Self::replace`].
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(Mutex::new(key.into()))
    }

    /// Accepts `key` from now on, and no longer the former key.
    pub fn replace(&self, key: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = key.into();
    }

    pub(crate) fn accepts(&self, given: &str) -> bool {
        let key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        key.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}
