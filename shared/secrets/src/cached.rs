//! A cached secret.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::time::Timestamp;
use ports::runtime::Runtime;
use ports::secrets::{ReadSecret, SecretError, SecretText};

/// How long a value is used before it is fetched again, in milliseconds, plus up to a fifth at random, so that
/// processes that started together do not fetch together. A revoked secret that no service refuses stays in memory no
/// longer than this. A thousand processes make three fetches a second; Secrets Manager allows 10,000.
pub const LIFE_MS: i64 = 5 * 60_000;
/// How long a value is used while the store does not answer, in milliseconds. An outage of the store therefore does not
/// stop payments at once. The time is bounded, since a process without the store cannot learn that a secret was
/// revoked.
pub const STALE_MS: i64 = 60 * 60_000;
/// The shortest time between the end of a fetch and the next one, in milliseconds. With a wrong secret or an
/// unreachable store, each process makes one call in two seconds, whatever its load.
pub const PAUSE_MS: i64 = 2_000;

/// Fetches one secret from its store.
pub trait FetchSecret: Send + Sync {
    /// The secret as it is stored now. Takes a second at most and does not retry.
    fn fetch(&self) -> impl Future<Output = Result<SecretText, SecretError>> + Send;
}

/// A secret that `F` fetches and [the crate's table](crate) describes.
#[derive(Debug)]
pub struct CachedSecret<F, R> {
    store: F,
    runtime: R,
    kept: Mutex<Kept>,
    /// Locked during a fetch.
    fetching: tokio::sync::Mutex<()>,
}

/// The cached state of a secret.
#[derive(Debug, Default)]
struct Kept {
    /// The value that was fetched last.
    value: Option<Value>,
    /// When the last fetch ended, and its error if it failed.
    tried: Option<(Timestamp, Option<SecretError>)>,
}

#[derive(Debug)]
struct Value {
    text: SecretText,
    fetched_at: Timestamp,
    life_ms: i64,
    /// A service refused this value.
    refused: bool,
}

impl Value {
    /// Whether the value was fetched less than `ms` ago. A fetch time in the future, after the clock jumped back, does
    /// not count.
    fn is_younger_than(&self, ms: i64, now: Timestamp) -> bool {
        (0..ms).contains(&now.millis_since(self.fetched_at))
    }
}

impl Kept {
    /// The answer that needs no fetch, or that must do because no fetch may begin yet.
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

    /// The last value, if no service refused it, for callers that need not wait for a fetch in progress.
    fn unrefused(&self, now: Timestamp) -> Option<SecretText> {
        let value = self.value.as_ref().filter(|value| !value.refused)?;
        value.is_younger_than(STALE_MS, now).then(|| value.text.clone())
    }
}

impl<F: FetchSecret, R: Runtime> CachedSecret<F, R> {
    /// Caches the secret of `store`. It fetches nothing yet.
    pub fn new(store: F, runtime: R) -> Self {
        Self {
            store,
            runtime,
            kept: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<SecretText, SecretError> {
        let fetched = self.store.fetch().await;
        let now = self.runtime.now();
        let mut kept = self.kept();
        kept.tried = Some((now, fetched.as_ref().err().copied()));
        match fetched {
            Ok(text) => {
                let jitter_ms = (self.runtime.random() % (LIFE_MS.unsigned_abs() / 5)).cast_signed();
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

impl<F: FetchSecret, R: Runtime> ReadSecret for CachedSecret<F, R> {
    async fn read(&self) -> Result<SecretText, SecretError> {
        let now = self.runtime.now();
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
        // Another caller's fetch may have ended in the meantime.
        let known = self.kept().answer(self.runtime.now());
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
