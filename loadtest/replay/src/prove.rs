//! Replays many seeds on all cores until a limit is reached.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use loadtest::audit::{Promise, share};
use serde::Serialize;

use crate::draw::Subject;
use crate::faults::Fault;
use crate::run::{Options, run};
use crate::sabotage::Sabotage;
use crate::tokens::Keys;
use crate::world::Tallies;

/// The number of failing seeds that are kept with their broken promises.
const MOST_FAILURES: usize = 20;

/// The seeds to replay and the limits.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub first_seed: u64,
    /// The largest number of drops.
    pub drops: u64,
    /// The time limit; `None` for no limit.
    pub within: Option<Duration>,
    /// The number of threads.
    pub threads: usize,
    /// Whether to stop at the first broken promise.
    pub stop_at_first: bool,
    /// The deliberate bug; `None` for none.
    pub sabotage: Option<Sabotage>,
    /// The kind of plan that is drawn from each seed.
    pub subject: Subject,
}

/// A seed that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Failure {
    pub seed: u64,
    pub promise: Promise,
    /// The description of the seed's first violation.
    pub what: String,
}

/// The totals of all replayed drops.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// The number of replayed drops.
    pub drops: u64,
    /// The number of steps of all tasks.
    pub steps: u64,
    /// The number of strokes of all faults.
    pub faults_injected: u64,
    /// Broken promises; must be 0.
    pub violations: u64,
    /// The duration, in seconds.
    pub seconds: f64,
    pub drops_per_second: f64,
    /// The time of one thread for each drop, in milliseconds.
    pub thread_ms_per_drop: f64,
    /// Virtual time of all drops, in seconds.
    pub virtual_seconds: u64,
    /// Units in paid orders.
    pub paid: u64,
    /// Units that could have been sold without faults and cancellations.
    pub sellable: u64,
    /// `paid` ÷ `sellable`; `None` if `sellable` is 0.
    pub sold_share: Option<f64>,
    /// Accepted orders that ended by their payment deadline.
    pub endings_by_deadline: u64,
    /// Answers 201 to a key that had been answered 201 before, while the first reservation was still held.
    pub repeats: u64,
    /// Repeats whose answer named another reservation than the first answer.
    pub repeats_elsewhere: u64,
    /// `repeats_elsewhere` ÷ `repeats`; `None` without repeats.
    pub repeats_not_found: Option<f64>,
    pub first_seed: u64,
    pub last_seed: u64,
    /// The number of threads.
    pub threads: usize,
    /// The number of strokes of each fault.
    pub faults: BTreeMap<&'static str, u64>,
    /// The number of occurrences of each situation.
    pub situations: BTreeMap<&'static str, u64>,
    /// The number of drops in which each situation occurred.
    pub drops_with_situation: BTreeMap<&'static str, u64>,
    /// The first seeds that broke a promise.
    pub failures: Vec<Failure>,
}

impl Summary {
    fn add(&mut self, seed: u64, tallies: &Tallies) {
        self.drops += 1;
        self.steps += tallies.steps;
        self.virtual_seconds += u64::try_from(tallies.virtual_ms / 1000).unwrap_or(0);
        self.last_seed = self.last_seed.max(seed);
        self.paid += tallies.findings.paid;
        self.sellable += tallies.findings.sellable;
        self.endings_by_deadline += tallies.findings.endings_by_deadline;
        self.repeats += tallies.findings.repeats;
        self.repeats_elsewhere += tallies.findings.repeats_elsewhere;
        for (fault, times) in &tallies.struck {
            self.faults_injected += times;
            *self.faults.entry(fault.name()).or_default() += times;
        }
        for (situation, times) in &tallies.situations {
            *self.situations.entry(situation).or_default() += times;
            *self.drops_with_situation.entry(situation).or_default() += 1;
        }
        self.violations += tallies.violations.len() as u64;
        if let Some(first) = tallies.violations.first()
            && self.failures.len() < MOST_FAILURES
        {
            self.failures.push(Failure {
                seed,
                promise: first.promise,
                what: first.what.clone(),
            });
        }
    }

    fn merge(&mut self, other: Self) {
        self.drops += other.drops;
        self.steps += other.steps;
        self.faults_injected += other.faults_injected;
        self.violations += other.violations;
        self.virtual_seconds += other.virtual_seconds;
        self.last_seed = self.last_seed.max(other.last_seed);
        self.paid += other.paid;
        self.sellable += other.sellable;
        self.endings_by_deadline += other.endings_by_deadline;
        self.repeats += other.repeats;
        self.repeats_elsewhere += other.repeats_elsewhere;
        for (name, times) in other.faults {
            *self.faults.entry(name).or_default() += times;
        }
        for (name, times) in other.situations {
            *self.situations.entry(name).or_default() += times;
        }
        for (name, times) in other.drops_with_situation {
            *self.drops_with_situation.entry(name).or_default() += times;
        }
        self.failures.extend(other.failures);
        self.failures.sort();
        self.failures.truncate(MOST_FAILURES);
    }
}

/// Replays one seed after the other. `stop` ends the work after the drops in progress. `told` is called for every
/// finished drop, with 1 and the number of its violations.
#[must_use]
pub fn prove(
    extent: &Extent,
    keys: &Arc<Keys>,
    stop: &AtomicBool,
    told: &(dyn Fn(u64, u64) + Sync),
) -> Summary {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let violations = AtomicU64::new(0);
    let whole = Mutex::new(Summary {
        first_seed: extent.first_seed,
        threads: extent.threads,
        ..Summary::default()
    });
    for fault in Fault::ALL {
        let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.faults.insert(fault.name(), 0);
    }
    std::thread::scope(|scope| {
        for _ in 0..extent.threads {
            scope.spawn(|| {
                let mut mine = Summary::default();
                loop {
                    let late = extent.within.is_some_and(|within| began.elapsed() >= within);
                    let broken = extent.stop_at_first && violations.load(Ordering::Relaxed) > 0;
                    if late || broken || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= extent.drops {
                        break;
                    }
                    let seed = extent.first_seed.wrapping_add(nth);
                    let options = Options {
                        sabotage: extent.sabotage,
                        telling: false,
                    };
                    let tallies = run(&extent.subject.plan(seed), keys, options);
                    mine.add(seed, &tallies);
                    let broken = tallies.violations.len() as u64;
                    violations.fetch_add(broken, Ordering::Relaxed);
                    told(1, broken);
                }
                whole.lock().unwrap_or_else(PoisonError::into_inner).merge(mine);
            });
        }
    });
    let mut whole = whole.into_inner().unwrap_or_else(PoisonError::into_inner);
    whole.sold_share = share(whole.paid, whole.sellable);
    whole.repeats_not_found = share(whole.repeats_elsewhere, whole.repeats);
    whole.seconds = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    if whole.drops > 0 {
        whole.drops_per_second = whole.drops as f64 / whole.seconds.max(1e-9);
        whole.thread_ms_per_drop = 1e3 * whole.seconds * whole.threads as f64 / whole.drops as f64;
    }
    whole
}
