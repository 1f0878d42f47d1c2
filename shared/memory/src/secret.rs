//! Keeps a secret in memory, which tests change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ports::secrets::{ReadSecret, SecretError, SecretText};

/// A secret that is cached until it is refused, regardless of its age. Clones share the secret.
#[derive(Debug, Clone)]
pub struct MemorySecret(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    stored: Result<SecretText, SecretError>,
    cached: Option<SecretText>,
    refusals: usize,
}

impl MemorySecret {
    /// A secret with the value `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::new(Mutex::new(State {
            stored: Ok(SecretText::new(text.to_owned())),
            cached: None,
            refusals: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores another text, which is read after the cached text was refused.
    pub fn rotate(&self, text: &str) {
        self.state().stored = Ok(SecretText::new(text.to_owned()));
    }

    /// Makes reads without a cached value fail.
    pub fn fail(&self, error: SecretError) {
        self.state().stored = Err(error);
    }

    /// The number of times that a caller reported the secret as refused.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.state().refusals
    }
}

impl ReadSecret for MemorySecret {
    async fn read(&self) -> Result<SecretText, SecretError> {
        let mut state = self.state();
        if let Some(text) = &state.cached {
            return Ok(text.clone());
        }
        let text = state.stored.clone()?;
        state.cached = Some(text.clone());
        Ok(text)
    }

    async fn refused(&self) {
        let mut state = self.state();
        state.refusals += 1;
        state.cached = None;
    }
}
