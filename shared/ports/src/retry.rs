//! Bounded retries with jitter, on the caller's clock.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::StoreError;
use crate::edge::Edge;

/// How often and how patiently a call is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Repeats after the first try.
    pub retries: usize,
    /// The first wait, in milliseconds; each further one is up to twice as long, plus jitter.
    pub first_ms: u64,
    /// The longest wait before jitter, in milliseconds.
    pub longest_ms: u64,
}

/// Within an API request: at most about half a second of waiting, far below the function's time-out.
pub const IN_REQUEST: Policy = Policy {
    retries: 4,
    first_ms: 15,
    longest_ms: 120,
};

/// In a worker that has time: at most some seconds.
pub const IN_WORKER: Policy = Policy {
    retries: 6,
    first_ms: 25,
    longest_ms: 800,
};

/// An error that may pass.
pub trait Transient {
    /// Whether repeating the same call may help, and does no harm.
    fn is_transient(&self) -> bool;
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        Self::is_transient(self)
    }
}

/// Calls `operation` until it succeeds, fails for good, or `policy` is used up; then the last error stands. The
/// operation must be one whose repeat is harmless: a read, or a write on a condition.
///
/// # Errors
/// The last one.
pub async fn retry<E, T, X, F>(edge: &E, policy: Policy, mut operation: impl FnMut() -> F) -> Result<T, X>
where
    E: Edge,
    X: Transient,
    F: Future<Output = Result<T, X>>,
{
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(policy.first_ms))
        .with_max_delay(Duration::from_millis(policy.longest_ms))
        .with_max_times(policy.retries)
        .with_jitter()
        .with_jitter_seed(edge.random())
        .build();
    loop {
        match operation().await {
            Err(error) if error.is_transient() => match waits.next() {
                Some(wait) => {
                    edge.sleep(u64::try_from(wait.as_millis()).unwrap_or(policy.longest_ms))
                        .await
                }
                None => return Err(error),
            },
            outcome => return outcome,
        }
    }
}
