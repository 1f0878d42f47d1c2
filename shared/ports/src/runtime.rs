//! Time, random numbers and metrics, passed in by the caller.

use std::fmt::Display;
use std::future::Future;

use domain::time::Timestamp;

/// A clock and its timers: real in a deployment, virtual in a replay.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The present time by this process's clock.
    fn now(&self) -> Timestamp;

    /// Returns after `ms` milliseconds.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + Send;
}

/// A source of random numbers.
pub trait Random {
    /// A random number, for jitter and for spreading reads. Not for secrets.
    fn random(&self) -> u64;
}

/// Everything non-deterministic that a retry needs: a clock, and random numbers for the jitter.
pub trait Runtime: Clock + Random {}

impl<R: Clock + Random> Runtime for R {}

/// A destination of metrics.
pub trait Metrics {
    /// Writes a line of metrics, in CloudWatch's embedded metric format. Without a process that CloudWatch reads, nothing
    /// is written.
    fn put_metrics(&self, _line: impl Display) {}
}
