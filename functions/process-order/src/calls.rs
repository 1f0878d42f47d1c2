//! When the gateway may be called: at the rate that all workers share, and not while it asks to be left alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::limits::payment_workers;
use domain::rate::{CallRate, CallsWanted, Turn, from_micros, micros};
use domain::time::Timestamp;
use ports::calls::TakeCalls;
use ports::edge::Edge;
use ports::payment::GatewayError;
use ports::retry::{Policy, retry};

use crate::{DEFAULT_CALLS_PER_SECOND, WORKERS};

/// Attempts to take turns before this process goes on alone: a call's turn is not worth waiting longer for.
const TAKING: Policy = Policy::new(2, 10, 40);
/// The longest random wait after the gateway asked to be left alone, in milliseconds: not all processes come back at once.
const SPREAD_MS: u64 = 250;

/// How fast the gateway may be called, and by how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The rate that all workers share.
    pub rate: CallRate,
    /// How many workers there are at most.
    pub workers: u32,
}

impl Pace {
    /// The pace at a rate: with as many workers as `prescale` may set for it, and no fewer than there are without.
    #[must_use]
    pub fn of(rate: CallRate) -> Self {
        Self {
            rate,
            workers: payment_workers(rate.per_second()).max(WORKERS),
        }
    }

    /// Says so if there are more workers than can wait for their turns.
    pub fn warn(&self) {
        let calls_per_second = self.rate.per_second();
        if self.workers > payment_workers(calls_per_second) {
            tracing::warn!(
                calls_per_second,
                least = DEFAULT_CALLS_PER_SECOND,
                "so low a rate of the payment gateway makes payments wait for the sweeper's reminders"
            );
        }
    }
}

/// What a process knows of the rate by itself.
#[derive(Debug, Default)]
struct Own {
    /// Until when the gateway asked this process to be left alone.
    quiet_until: Timestamp,
    /// This process's own line, in microseconds, while the shared one does not answer.
    line: Option<i64>,
}

/// Turns for one process. Clones share what it knows.
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

    /// The gateway asks to be left alone for `ms` milliseconds.
    pub(crate) fn slow_down(&self, edge: &impl Edge, ms: u64) {
        let ms = ms.saturating_add(edge.random() % SPREAD_MS);
        let until = edge.now().plus_millis(i64::try_from(ms).unwrap_or(i64::MAX));
        let mut own = self.own();
        own.quiet_until = own.quiet_until.max(until);
    }

    /// Waits for the turns of `calls` calls, or for nothing but the gateway's wish if that is 0. How long it waited, in milliseconds.
    ///
    /// # Errors
    /// [`GatewayError::Throttled`], without a wait, when they begin after `latest`.
    pub(crate) async fn turn<E: Edge>(
        &self,
        line: &impl TakeCalls,
        edge: &E,
        calls: u32,
        latest: Timestamp,
    ) -> Result<u64, GatewayError> {
        let now = edge.now();
        let quiet_until = self.own().quiet_until;
        let from = now.max(quiet_until);
        let turn = if calls == 0 || from > latest {
            Turn::From(from)
        } else {
            let rate = self.pace.rate;
            let drawn = edge.random() % u64::from(rate.lines());
            let wanted = CallsWanted {
                line: u8::try_from(drawn).unwrap_or(0),
                rate: rate.of_line(),
                calls,
                now: from,
                latest,
            };
            match retry(edge, TAKING.until(latest), || line.take_calls(wanted)).await {
                Ok(turn) => turn,
                Err(error) => {
                    tracing::warn!(%error, "the shared rate of the payment gateway cannot be read; this process keeps to its own share");
                    self.own_share(&wanted)
                }
            }
        };
        let wait = |at: Timestamp| u64::try_from(at.millis_since(edge.now())).unwrap_or(0);
        match turn {
            Turn::From(at) if at <= latest => {
                let ms = wait(at);
                if ms > 0 {
                    edge.sleep(ms).await;
                }
                Ok(ms)
            }
            Turn::From(at) | Turn::Later(at) => Err(GatewayError::Throttled {
                retry_after_ms: wait(at),
            }),
        }
    }

    /// A turn of this process's own line: as if each of all workers had an equal share of the rate. All together are never faster than the
    /// rate; a payment that waited for the database to answer again would wait for nothing that it needs.
    fn own_share(&self, wanted: &CallsWanted) -> Turn {
        let calls = wanted.calls.saturating_mul(self.pace.workers.max(1));
        let mut own = self.own();
        // Not `take`'s: one share's span may be longer than a line may stand ahead.
        let begins = own.line.unwrap_or(i64::MIN).max(micros(wanted.now));
        if begins > micros(wanted.latest) {
            return Turn::Later(from_micros(begins));
        }
        own.line = Some(begins.saturating_add(self.pace.rate.span_us(calls)));
        Turn::From(from_micros(begins))
    }
}
