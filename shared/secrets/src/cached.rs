//! A secret that is kept for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::time::Timestamp;
use ports::edge::Edge;
use ports::secrets::{ReadSecret, SecretError, SecretText};

/// How long a value is used before it is fetched again, in milliseconds, plus up to a fifth at random, so that processes that
/// started together do not fetch together. A revoked secret is in memory no longer than this if nobody refuses it; at
/// a thousand processes it makes three fetches a second, of the 10,000 that Secrets Manager allows.
pub const LIFE_MS: i64 = 5 * 60_000;
/// How long a value is used while the store does not answer, in milliseconds: an outage of the store does not stop payments at
/// once. It is bounded, since a process that cannot reach the store for so long cannot learn that a secret was withdrawn.
pub const STALE_MS: i64 = 60 * 60_000;
/// How long after a fetch another one may begin at the earliest, in milliseconds: a wrong secret, or a store that does not
/// answer, causes a call in two seconds for each process, whatever its load.
pub const PAUSE_MS: i64 = 2_000;

/// Fetches one secret from where it is stored.
pub trait FetchSecret: Send + Sync {
    /// The secret as it is stored now. Takes a second at most and repeats nothing by itself.
    fn fetch(&self) -> impl Future<Output = Result<SecretText, SecretError>> + Send;
}

/// A secret, fetched by `F` when it is needed and kept by [the crate's table](crate).
#[derive(Debug)]
pub struct CachedSecret<F, E> {
    store: F,
    edge: E,
    kept: Mutex<Kept>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

/// What is known of a secret.
#[derive(Debug, Default)]
struct Kept {
    /// The value that was fetched last.
    value: Option<Value>,
    /// When the last fetch ended and how, if not with a value.
    tried: Option<(Timestamp, Option<SecretError>)>,
}

#[derive(Debug)]
struct Value {
    text: SecretText,
    fetched_at: Timestamp,
    life_ms: i64,
    /// Who was shown it refused it.
    refused: bool,
}

impl Value {
    /// Whether it was fetched less than `ms` ago. A value from the future, after a clock jumped back, was not.
    fn is_younger_than(&self, ms: i64, now: Timestamp) -> bool {
        (0..ms).contains(&now.millis_since(self.fetched_at))
    }
}

impl Kept {
    /// The answer for which no fetch is needed, or may be made yet.
    fn answer(&self, now: Timestamp) -> Option<Result<SecretText, SecretError>> {
        if let Some(value) = &self.value
            && !value.refused
            && value.is_younger_than(value.life_ms, now)
        {
            return Some(Ok(value.text.clone()));
        }
        let (tried_at, error) = self.tried?;
        let just_tried = (0..PAUSE_MS).contains(&now.millis_since(tried_at));
        just_tried.then(|| self.stale(now, error.unwrap_or(SecretError::Unavailable)))
    }

    /// The last value while it may be used without a newer one, else `error`.
    fn stale(&self, now: Timestamp, error: SecretError) -> Result<SecretText, SecretError> {
        let value = self
            .value
            .as_ref()
            .filter(|value| value.is_younger_than(STALE_MS, now));
        value.map(|value| value.text.clone()).ok_or(error)
    }

    /// The last value, for those who need not wait until a fetch under way ends.
    fn unrefused(&self, now: Timestamp) -> Option<SecretText> {
        let value = self.value.as_ref().filter(|value| !value.refused)?;
        value.is_younger_than(STALE_MS, now).then(|| value.text.clone())
    }
}

impl<F: FetchSecret, E: Edge> CachedSecret<F, E> {
    /// The secret that `store` fetches. Nothing is fetched yet.
    pub fn new(store: F, edge: E) -> Self {
        Self {
            store,
            edge,
            kept: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<SecretText, SecretError> {
        let fetched = self.store.fetch().await;
        let now = self.edge.now();
        let mut kept = self.kept();
        kept.tried = Some((now, fetched.as_ref().err().copied()));
        match fetched {
            Ok(text) => {
                let jitter_ms = (self.edge.random() % (LIFE_MS.unsigned_abs() / 5)).cast_signed();
                kept.value = Some(Value {
                    text: text.clone(),
                    fetched_at: now,
                    life_ms: LIFE_MS + jitter_ms,
                    refused: false,
                });
                Ok(text)
            }
            Err(error) => kept.stale(now, error),
        }
    }
}

impl<F: FetchSecret, E: Edge> ReadSecret for CachedSecret<F, E> {
    async fn read(&self) -> Result<SecretText, SecretError> {
        let now = self.edge.now();
        if let Some(answer) = self.kept().answer(now) {
            return answer;
        }
        let _mine = match self.fetching.try_lock() {
            Ok(mine) => mine,
            Err(_) => {
                if let Some(text) = self.kept().unrefused(now) {
                    return Ok(text);
                }
                self.fetching.lock().await
            }
        };
        // Someone else's fetch may have ended meanwhile.
        let known = self.kept().answer(self.edge.now());
        match known {
            Some(answer) => answer,
            None => self.fetch().await,
        }
    }

    async fn refused(&self) {
        if let Some(value) = &mut self.kept().value {
            value.refused = true;
        }
    }
}
