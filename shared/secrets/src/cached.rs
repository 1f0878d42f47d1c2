//! Caches a secret in the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::time::Timestamp;
use ports::runtime::Runtime;
use ports::secrets::{ReadSecret, SecretError, SecretText};

/// How long a value is used before it is fetched again, in milliseconds. Each process adds up to a fifth at random, so
/// that processes that started together do not fetch together. While the store answers, a revoked secret that no
/// service refuses is used no longer than this time plus a fifth. A thousand processes make three fetches a second;
/// Secrets Manager allows 10,000 a second.
pub const LIFE_MS: i64 = 5 * 60_000;
/// How long a value is used while the store does not answer, in milliseconds. An outage of the store therefore does not
/// stop payments immediately. The time is bounded, since a process without the store cannot learn that a secret was
/// revoked.
pub const STALE_MS: i64 = 60 * 60_000;
/// The shortest time between the end of a fetch and the next fetch, in milliseconds. With a wrong secret or an
/// unreachable store, each process makes one call in two seconds, whatever its load.
pub const PAUSE_MS: i64 = 2_000;

/// Fetches one secret from its store.
pub trait FetchSecret: Send + Sync {
    /// The secret as it is stored now. Takes a second at most and does not retry.
    fn fetch(&self) -> impl Future<Output = Result<SecretText, SecretError>> + Send;
}

/// A secret that `F` fetches, cached as [the crate's table](crate) says.
#[derive(Debug)]
pub struct CachedSecret<F, R> {
    store: F,
    runtime: R,
    kept: Mutex<Kept>,
    /// Locked during a fetch, so that a process has at most one fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

/// The last value of a secret, and the result of the last fetch.
#[derive(Debug, Default)]
struct Kept {
    /// The value that was fetched last.
    value: Option<Value>,
    /// The time at which the last fetch ended, and its error if it failed.
    tried: Option<(Timestamp, Option<SecretError>)>,
}

#[derive(Debug)]
struct Value {
    text: SecretText,
    fetched_at: Timestamp,
    life_ms: i64,
    /// Whether a service refused this value.
    refused: bool,
}

impl Value {
    /// Whether the value was fetched less than `ms` ago. A value with a fetch time in the future is not younger: the
    /// clock has moved back.
    fn is_younger_than(&self, ms: i64, now: Timestamp) -> bool {
        (0..ms).contains(&now.millis_since(self.fetched_at))
    }
}

impl Kept {
    /// The answer that needs no fetch, or the last result while no new fetch may begin. `None` if a fetch is needed.
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

    /// The last value until it is [`STALE_MS`] old, else `error`.
    fn stale(&self, now: Timestamp, error: SecretError) -> Result<SecretText, SecretError> {
        let value = self
            .value
            .as_ref()
            .filter(|value| value.is_younger_than(STALE_MS, now));
        value.map(|value| value.text.clone()).ok_or(error)
    }

    /// The last value until it is [`STALE_MS`] old, if no service refused it. Callers with this value need not wait for
    /// a fetch in progress.
    fn unrefused(&self, now: Timestamp) -> Option<SecretText> {
        let value = self.value.as_ref().filter(|value| !value.refused)?;
        value.is_younger_than(STALE_MS, now).then(|| value.text.clone())
    }
}

impl<F: FetchSecret, R: Runtime> CachedSecret<F, R> {
    /// Caches the secret of `store`. Nothing is fetched yet.
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
