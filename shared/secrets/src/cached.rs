//! Caches a secret in the process.

use ports::renewed::{Limits, Renewed};
use ports::runtime::Runtime;
use ports::secrets::{ReadSecret, SecretError, SecretText};

/// How long a value is used before it is fetched again, in milliseconds. Each process subtracts up to a fifth at random,
/// so that processes that started together do not fetch together. While the store answers, a revoked secret that no
/// service refuses is used no longer than this time. A thousand processes make three fetches a second; Secrets Manager
/// allows 10,000 a second.
pub const LIFE_MS: i64 = 6 * 60_000;
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
    secret: Renewed<SecretText, SecretError>,
}

impl<F: FetchSecret, R: Runtime> CachedSecret<F, R> {
    /// Caches the secret of `store`. Nothing is fetched yet.
    pub fn new(store: F, runtime: R) -> Self {
        let limits = Limits {
            life_ms: LIFE_MS,
            stale_ms: STALE_MS,
            pause_ms: PAUSE_MS,
            pause_without_ms: PAUSE_MS,
        };
        Self {
            store,
            runtime,
            secret: Renewed::new(limits),
        }
    }
}

impl<F: FetchSecret, R: Runtime> ReadSecret for CachedSecret<F, R> {
    async fn read(&self) -> Result<SecretText, SecretError> {
        self.secret.get(&self.runtime, || self.store.fetch()).await
    }

    async fn refused(&self) {
        self.secret.doubt();
    }
}
