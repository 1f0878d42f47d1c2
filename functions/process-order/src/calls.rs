//! Decides when the gateway may be called: at the rate that all workers share, and not during a pause that
//! the gateway requested.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::limits::payment_workers;
use domain::rate::{CallRate, CallsWanted, Turn, from_micros, micros};
use domain::time::Timestamp;
use ports::calls::TakeCalls;
use ports::payment::GatewayError;
use ports::retry::{Policy, retry};
use ports::runtime::Runtime;

use crate::{DEFAULT_CALLS_PER_SECOND, WORKERS};

/// Repeats of a request for call slots in the database, after which this process uses its own line. The repeats are
/// few, so that a payment does not wait for the database.
const TAKING: Policy = Policy::new(2, 10, 40);
/// The longest random wait after a pause that the gateway requested, in milliseconds. It keeps the processes
/// from resuming at the same moment.
const SPREAD_MS: u64 = 250;

/// The rate of gateway calls, and the number of workers that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The rate that all workers share.
    pub rate: CallRate,
    /// The largest number of concurrent workers.
    pub workers: u32,
}

impl Pace {
    /// The pace at a rate. The number of workers is the largest that `prescale` may set for this rate, and at
    /// least the number without `prescale`.
    #[must_use]
    pub fn of(rate: CallRate) -> Self {
        Self {
            rate,
            workers: payment_workers(rate.per_second()).max(WORKERS),
        }
    }

    /// Logs a warning if there are more workers than can wait for their call slots.
    pub fn warn(&self) {
        let calls_per_second = self.rate.per_second();
        if self.workers > payment_workers(calls_per_second) {
            tracing::warn!(
                calls_per_second,
                least = DEFAULT_CALLS_PER_SECOND,
                "the payment gateway's rate is below `least`, so some payments wait for the sweeper's reminders"
            );
        }
    }
}

/// The state of the rate limit that one process keeps.
#[derive(Debug, Default)]
struct Own {
    /// The end of the pause that the gateway requested from this process.
    quiet_until: Timestamp,
    /// The time from which this process's own line has free slots, in microseconds since 1970. The line is used while
    /// the database does not answer; `None` before its first use.
    line: Option<i64>,
}

/// Grants slots for the gateway calls of one process. Clones share the state.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pace: Pace,
    own: Arc<Mutex<Own>>,
}

impl Calls {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            own: Arc::default(),
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the gateway requested a pause of `ms` milliseconds.
    pub(crate) fn slow_down(&self, runtime: &impl Runtime, ms: u64) {
        let ms = ms.saturating_add(runtime.random() % SPREAD_MS);
        let until = runtime.now().plus_millis(i64::try_from(ms).unwrap_or(i64::MAX));
        let mut own = self.own();
        own.quiet_until = own.quiet_until.max(until);
    }

    /// Waits for the slots of `calls` calls. With 0 calls it waits only for the end of a pause that the gateway
    /// requested. Returns the waiting time in milliseconds.
    ///
    /// # Errors
    ///
    /// [`GatewayError::Throttled`], without a wait, when the slots begin after `latest`.
    pub(crate) async fn turn<R: Runtime>(
        &self,
        line: &impl TakeCalls,
        runtime: &R,
        calls: u32,
        latest: Timestamp,
    ) -> Result<u64, GatewayError> {
        let now = runtime.now();
        let quiet_until = self.own().quiet_until;
        let from = now.max(quiet_until);
        let turn = if calls == 0 || from > latest {
            Turn::From(from)
        } else {
            let rate = self.pace.rate;
            let drawn = runtime.random() % u64::from(rate.lines());
            let wanted = CallsWanted {
                line: u8::try_from(drawn).unwrap_or(0),
                rate: rate.of_line(),
                calls,
                now: from,
                latest,
            };
            match retry(runtime, TAKING.until(latest), || line.take_calls(wanted)).await {
                Ok(turn) => turn,
                Err(error) => {
                    tracing::warn!(%error, "no call slots of the payment gateway's rate could be taken; this process calls at one worker's share of the rate, so payments are slower");
                    self.own_share(&wanted)
                }
            }
        };
        let wait = |at: Timestamp| u64::try_from(at.millis_since(runtime.now())).unwrap_or(0);
        match turn {
            Turn::From(at) if at <= latest => {
                let ms = wait(at);
                if ms > 0 {
                    runtime.sleep(ms).await;
                }
                Ok(ms)
            }
            Turn::From(at) | Turn::Later(at) => Err(GatewayError::Throttled {
                retry_after_ms: wait(at),
            }),
        }
    }

    /// Takes slots of this process's own line, whose rate is one worker's equal share. So all workers together never
    /// exceed the rate. A payment must not wait only because the shared line cannot be read.
    fn own_share(&self, wanted: &CallsWanted) -> Turn {
        let calls = wanted.calls.saturating_mul(self.pace.workers.max(1));
        let mut own = self.own();
        // `take` cannot be used here: the span of one share may be longer than the largest lead of a line.
        let begins = own.line.unwrap_or(i64::MIN).max(micros(wanted.now));
        if begins > micros(wanted.latest) {
            return Turn::Later(from_micros(begins));
        }
        own.line = Some(begins.saturating_add(self.pace.rate.span_us(calls)));
        Turn::From(from_micros(begins))
    }
}
