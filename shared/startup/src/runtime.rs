//! Provides the real clock, randomness and sleep. No other module of the functions may use the system's
//! clock, randomness or sleep.

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::time::Timestamp;
use ports::runtime::{Clock, Metrics, Random};

/// The clock, the random numbers and the metrics of a running process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRuntime;

impl Clock for SystemRuntime {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as zero: such a process must not decide anything by its clock.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    #[allow(clippy::disallowed_methods)]
    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

impl Random for SystemRuntime {
    fn random(&self) -> u64 {
        fastrand::u64(..)
    }
}

impl Metrics for SystemRuntime {
    /// Bypasses the log format: CloudWatch reads metrics only from a line that holds nothing else.
    fn put_metrics(&self, line: impl Display) {
        writeln!(std::io::stdout().lock(), "{line}").ok();
    }
}
