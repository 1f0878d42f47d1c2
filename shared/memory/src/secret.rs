//! Keeps a secret in memory, which tests change.

use ports::secrets::{ReadSecret, SecretError, SecretText};

use crate::shared::Shared;

/// A secret that is cached until it is refused, regardless of its age. Clones share the secret.
#[derive(Debug, Clone)]
pub struct MemorySecret(Shared<State>);

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
        Self(Shared::new(State {
            stored: Ok(SecretText::new(text.to_owned())),
            cached: None,
            refusals: 0,
        }))
    }

    /// Stores another text, which is read after the cached text was refused.
    pub fn rotate(&self, text: &str) {
        self.0.lock().stored = Ok(SecretText::new(text.to_owned()));
    }

    /// Makes reads without a cached value fail.
    pub fn fail(&self, error: SecretError) {
        self.0.lock().stored = Err(error);
    }

    /// The number of times that a caller reported the secret as refused.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.0.lock().refusals
    }
}

impl ReadSecret for MemorySecret {
    async fn read(&self) -> Result<SecretText, SecretError> {
        let mut state = self.0.lock();
        if let Some(text) = &state.cached {
            return Ok(text.clone());
        }
        let text = state.stored.clone()?;
        state.cached = Some(text.clone());
        Ok(text)
    }

    async fn refused(&self) {
        let mut state = self.0.lock();
        state.refusals += 1;
        state.cached = None;
    }
}
