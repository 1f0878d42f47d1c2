//! Time and randomness, passed in by the caller.

use std::fmt::Display;
use std::future::Future;

use domain::time::Timestamp;

/// The clock, the random numbers and the waits of a process: real in a deployment, virtual in a replay.
pub trait Edge: Clone + Send + Sync + 'static {
    /// The current time by this process's clock.
    fn now(&self) -> Timestamp;

    /// A random number, for jitter and for spreading reads. Not for secrets.
    fn random(&self) -> u64;

    /// Returns after `ms` milliseconds.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + Send;

    /// Writes a line of metrics, in CloudWatch's embedded metric format. Without a process that CloudWatch reads, nothing
    /// is written.
    fn put_metrics(&self, _line: impl Display) {}
}
