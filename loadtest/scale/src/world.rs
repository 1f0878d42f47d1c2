//! Holds the state that all parts of a run share: virtual time, the tables' partitions, and the requests
//! and answers of each second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use domain::time::Timestamp;
use memory::TestRuntime;
use replay::chance::keyed;
use replay::timeline::{Sleep, Timeline};
use serde::Serialize;

use crate::lock;
use crate::settings::Settings;
use crate::tables::Tables;

/// The time from the beginning of a run to the opening, in virtual µs.
pub const LEAD_US: i64 = 60_000_000;

/// The requests, answers, refusals and waiting messages in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Requests that reached the API, or the CDN before it.
    pub requests: u64,
    /// Requests for a reservation.
    pub reservations: u64,
    /// Requests that the CDN answered.
    pub from_cdn: u64,
    /// Answers below 400.
    pub answered: u64,
    /// Answers 4xx except 429.
    pub refused: u64,
    /// Answers 429, which API Gateway's limit causes.
    pub too_many: u64,
    /// Answers 5xx.
    pub errors: u64,
    /// Requests that got no environment, or whose invocation reached its time limit.
    pub no_environment: u64,
    pub cold_starts: u64,
    /// Items that DynamoDB refused for lack of units.
    pub throttled_items: u64,
    /// Messages that wait in the queue `payments`.
    pub payments_waiting: u64,
    /// Messages that wait in the queue `ledger`.
    pub ledger_waiting: u64,
    /// Messages that wait in the queue `mail`.
    pub mail_waiting: u64,
}

/// A token bucket, which gains tokens at a rate up to a limit.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    rate: f64,
    most: f64,
    there: f64,
    at_us: i64,
}

impl Bucket {
    /// A full bucket of `most` tokens that gains `rate` tokens in each second.
    #[must_use]
    pub const fn full(rate: f64, most: f64) -> Self {
        Self {
            rate,
            most,
            there: most,
            at_us: 0,
        }
    }

    /// Takes a token, if one is left.
    pub fn take(&mut self, now_us: i64) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "µs of a run")]
        let seconds = (now_us - self.at_us).max(0) as f64 / 1e6;
        self.there = (self.there + seconds * self.rate).min(self.most);
        self.at_us = self.at_us.max(now_us);
        let any = self.there >= 1.0;
        if any {
            self.there -= 1.0;
        }
        any
    }
}

#[derive(Debug, Default)]
struct State {
    processes: u64,
    draws: u64,
    seconds: BTreeMap<i64, Second>,
    busy: u64,
    /// The time at which the conductor last began a step, and the longest time between two steps after the
    /// opening, in µs.
    step: (i64, i64),
}

/// The settings, the virtual time and the tables' partitions of a run, which all its parts share.
#[derive(Debug)]
pub struct World {
    /// The settings of the run.
    pub settings: Settings,
    /// Time and tasks.
    pub timeline: Arc<Timeline>,
    /// The tables' partitions.
    pub tables: Tables,
    state: Mutex<State>,
}

impl World {
    /// The state at the beginning of a run.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            tables: Tables::new(&settings, LEAD_US),
            timeline: Arc::default(),
            state: Mutex::default(),
            settings,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The true time, which no environment can read exactly.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        TestRuntime::START.plus_millis(self.timeline.now_us() / 1_000)
    }

    /// The time since the opening, in µs; negative before it.
    #[must_use]
    pub fn since_opening_us(&self) -> i64 {
        self.timeline.now_us() - LEAD_US
    }

    /// Records that the conductor begins a step.
    pub fn note_step(&self) {
        let now_us = self.timeline.now_us();
        let mut state = self.state();
        let (last_us, longest_us) = &mut state.step;
        if self.since_opening_us() > 0 && *last_us > 0 {
            *longest_us = (*longest_us).max(now_us - *last_us);
        }
        *last_us = now_us;
    }

    /// The longest time between two steps of the conductor after the opening, in ms.
    pub fn longest_step_ms(&self) -> i64 {
        self.state().step.1 / 1_000
    }

    /// The number of a new environment.
    pub fn next_process(&self) -> u64 {
        let mut state = self.state();
        state.processes += 1;
        state.processes
    }

    /// The next number of the seeded generator.
    pub fn draw(&self) -> u64 {
        let mut state = self.state();
        state.draws += 1;
        keyed(self.settings.seed ^ 0xd4a3, state.draws, 0)
    }

    /// A time between the two limits, drawn evenly, in µs.
    pub fn drawn_us(&self, [from, to]: [i64; 2]) -> i64 {
        let span = (to - from).max(0).unsigned_abs() + 1;
        from + i64::try_from(self.draw() % span).unwrap_or(0)
    }

    /// Waits for a time between the two limits, drawn evenly, in µs.
    pub fn takes(&self, us: [i64; 2]) -> Sleep {
        self.timeline.sleep(self.drawn_us(us))
    }

    /// Changes the numbers of requests, answers, throttled items or waiting messages in the present
    /// second.
    pub fn count(&self, count: impl FnOnce(&mut Second)) {
        let second = self.since_opening_us().div_euclid(1_000_000);
        count(self.state().seconds.entry(second).or_default());
    }

    /// The requests, answers, refusals and waiting messages in one second. Second 0 begins at the opening.
    #[must_use]
    pub fn second(&self, second: i64) -> Second {
        self.state().seconds.get(&second).copied().unwrap_or_default()
    }

    /// The requests, answers, refusals and waiting messages, by second. Second 0 begins at the opening.
    #[must_use]
    pub fn seconds(&self) -> BTreeMap<i64, Second> {
        self.state().seconds.clone()
    }

    /// Starts work in a task of its own. The drop is not drained before this work ends.
    pub fn start(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        self.state().busy += 1;
        let world = Arc::clone(self);
        self.timeline.spawn(None, async move {
            work.await;
            world.state().busy -= 1;
        });
    }

    /// Whether work is in progress.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.state().busy > 0
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_its_rate() {
        let mut bucket = Bucket::full(100.0, 10.0);
        assert_eq!((0..50).filter(|_| bucket.take(0)).count(), 10);
        let later = (0..1_000).filter(|ms| bucket.take(ms * 1_000)).count();
        assert!((98..=101).contains(&later), "{later}");
        assert_eq!((0..50).filter(|_| bucket.take(3_600_000_000)).count(), 10);
    }
}
