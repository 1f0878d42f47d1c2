//! How processes come into being: for requests that find none idle, and ahead of requests.

use std::time::{Duration, Instant};

/// How processes are started for requests that find none idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDemand {
    /// Few, as few cores are: a request waits a moment for one that is busy before another one is started.
    #[default]
    Sparing,
    /// As Lambda does it: at once, for each that finds none, no faster than [`STARTS`]; and one process, started on demand or
    /// ahead, serves no more than [`REQUESTS_PER_PROCESS`].
    AsLambda {
        /// What the platform does before a process is even there (finding a place, loading code, starting a machine), which
        /// no machine of one's own can measure. It is slept, and told apart from what was measured.
        platform_share: Duration,
    },
}

impl OnDemand {
    /// What the platform adds to each start on demand.
    #[must_use]
    pub const fn platform_share(self) -> Duration {
        match self {
            Self::Sparing => Duration::ZERO,
            Self::AsLambda { platform_share } => platform_share,
        }
    }

    /// Whether Lambda's rates hold.
    #[must_use]
    pub const fn is_as_lambda(self) -> bool {
        matches!(self, Self::AsLambda { .. })
    }
}

/// How many processes one function may add in ten seconds.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html>
pub const STARTS: u32 = 1_000;
/// How many requests a second one process serves, however short they are.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>, requests for each execution environment.
pub const REQUESTS_PER_PROCESS: u32 = 10;

/// A token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    left: f64,
    most: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(most: f64, per_second: f64, now: Instant) -> Self {
        Self {
            left: most,
            most,
            per_second,
            at: now,
        }
    }

    /// Lambda's bucket of starts.
    pub(super) fn of_starts(now: Instant) -> Self {
        let most = f64::from(STARTS);
        Self::new(most, most / 10.0, now)
    }

    /// The bucket of requests of one process: a second's worth.
    pub(super) fn of_requests(now: Instant) -> Self {
        let most = f64::from(REQUESTS_PER_PROCESS);
        Self::new(most, most, now)
    }

    /// Takes one out, if one is left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + passed * self.per_second).min(self.most);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_serves_ten_requests_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::of_requests(start);
        let served = |bucket: &mut Bucket, at: u64| {
            let now = start + Duration::from_millis(at);
            (0..100).filter(|_| bucket.take(now)).count()
        };
        assert_eq!(served(&mut bucket, 0), 10);
        assert_eq!(served(&mut bucket, 500), 5);
        assert_eq!(served(&mut bucket, 500), 0);
        // It does not save up.
        assert_eq!(served(&mut bucket, 60_000), 10);
        // A clock that seems to go back takes nothing away.
        assert_eq!(served(&mut bucket, 0), 0);
        assert_eq!(served(&mut bucket, 61_000), 10);
    }

    #[test]
    fn a_function_adds_a_thousand_processes_in_ten_seconds() {
        let start = Instant::now();
        let mut bucket = Bucket::of_starts(start);
        let starts = |bucket: &mut Bucket, at: u64| {
            let now = start + Duration::from_secs(at);
            (0..5_000).filter(|_| bucket.take(now)).count()
        };
        assert_eq!(starts(&mut bucket, 0), 1_000);
        assert_eq!(starts(&mut bucket, 1), 100);
        assert_eq!(starts(&mut bucket, 11), 1_000);
    }
}
