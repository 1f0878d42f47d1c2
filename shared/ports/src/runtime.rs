//! Defines the ports of the clock, the random numbers and the metrics, which the caller supplies.

use std::fmt::Display;
use std::future::Future;

use domain::time::Timestamp;

/// A clock and its timers. The time is real in a deployment and virtual in a replay.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The present time by this process's clock.
    fn now(&self) -> Timestamp;

    /// Returns `ms` milliseconds later by this clock.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + Send;
}

/// Supplies random numbers: real ones in a deployment, and numbers from a seed in tests and replays.
pub trait Random {
    /// A random number, for jitter and for spreading reads. It must not be used for secrets.
    fn random(&self) -> u64;
}

/// The non-deterministic parts of a retry: a clock, and random numbers for the jitter.
pub trait Runtime: Clock + Random {}

impl<R: Clock + Random> Runtime for R {}

/// Writes metrics. Only a deployed function has a destination for them.
pub trait Metrics {
    /// Writes a line of metrics in CloudWatch's embedded metric format. By default nothing is written, since
    /// CloudWatch reads no output of a test or a replay.
    fn put_metrics(&self, _line: impl Display) {}
}
