//! Defines how processes are started on demand, the limits over all functions, and the limits of Lambda's rates for
//! starts and for requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::processor::IdleCores;

/// How many provisioned processes start at a time. More would take cores from processes that already serve.
const STARTING_AHEAD: usize = 4;

/// How processes are started for requests that find no idle process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDemand {
    /// Few processes, since there are few cores: a request waits briefly for a busy process before another process is
    /// started.
    #[default]
    Sparing,
    /// As on Lambda: each request that finds no idle process immediately starts one, at most at the rate [`STARTS`].
    /// One process serves at most [`REQUESTS_PER_PROCESS`] a second.
    AsLambda {
        /// The platform's work before a process exists (placement, loading code, starting a micro-VM), which a local
        /// machine cannot measure. The stack sleeps for this time and reports it separately from measured time.
        platform_share: Duration,
    },
}

impl OnDemand {
    /// The time that the platform adds to each start on demand.
    #[must_use]
    pub const fn platform_share(self) -> Duration {
        match self {
            Self::Sparing => Duration::ZERO,
            Self::AsLambda { platform_share } => platform_share,
        }
    }

    /// Whether Lambda's limits for the rates of starts and requests apply.
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

/// The places that the processes of all functions share.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// One permit for each provisioned process that may start at the same time.
    pub(super) starting: Arc<Semaphore>,
    on_demand: Arc<Semaphore>,
    idle_cores: Arc<Mutex<IdleCores>>,
}

impl Places {
    /// Places for so many processes on demand.
    pub(super) fn new(on_demand: usize) -> Self {
        Self {
            starting: Arc::new(Semaphore::new(STARTING_AHEAD)),
            on_demand: Arc::new(Semaphore::new(on_demand)),
            idle_cores: Arc::new(Mutex::new(IdleCores::new(Instant::now()))),
        }
    }

    /// A place for a process on demand, which is free again when the permit is dropped; `None` if all are taken.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.on_demand).try_acquire_owned().ok()
    }

    /// Books a start on idle cores. Returns false if the cores are busy.
    pub(super) fn take_idle_cores(&self, now: Instant) -> bool {
        let idle_cores = self.idle_cores.lock();
        idle_cores.unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

/// A token bucket, which limits a rate and allows short bursts.
#[derive(Debug)]
pub(super) struct Bucket {
    left: f64,
    most: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket that holds up to `most` tokens and gains `per_second` tokens a second.
    pub(super) fn new(most: f64, per_second: f64, now: Instant) -> Self {
        Self {
            left: most,
            most,
            per_second,
            at: now,
        }
    }

    /// The bucket for Lambda's limit of the start rate.
    pub(super) fn of_starts(now: Instant) -> Self {
        let most = f64::from(STARTS);
        Self::new(most, most / 10.0, now)
    }

    /// The bucket for the request rate of one process. It holds the tokens of one second.
    pub(super) fn of_requests(now: Instant) -> Self {
        let most = f64::from(REQUESTS_PER_PROCESS);
        Self::new(most, most, now)
    }

    /// Takes one token. Returns false if no token is left.
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
        // Unused tokens do not accumulate beyond one second.
        assert_eq!(served(&mut bucket, 60_000), 10);
        // A clock that jumps back removes no tokens.
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
