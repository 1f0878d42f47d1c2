//! Replays many seeds on all cores until a limit is reached.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loadtest::audit::{Findings, Promise, share};
use serde::Serialize;

use crate::draw::Subject;
use crate::faults::Fault;
use crate::lock::lock;
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
    #[serde(flatten)]
    pub sales: Sales,
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
        self.sales.add(&tallies.findings);
        for (fault, times) in &tallies.struck {
            self.faults_injected += times;
            *self.faults.entry(fault.name()).or_default() += times;
        }
        for (situation, times) in &tallies.situations {
            *self.situations.entry(situation).or_default() += times;
            *self.drops_with_situation.entry(situation).or_default() += 1;
        }
        self.violations += tallies.violations.len() as u64;
        if let Some(first) = tallies.violations.first() {
            self.failures.push(Failure {
                seed,
                promise: first.promise,
                what: first.what.clone(),
            });
            self.failures.sort();
            self.failures.truncate(MOST_FAILURES);
        }
    }
}

/// The sales figures of drops, which are no promises.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sales {
    /// Units in paid orders.
    pub paid: u64,
    /// Units that could have been sold without faults and cancellations.
    pub sellable: u64,
    /// `paid` ÷ `sellable`; `None` if `sellable` is 0.
    pub sold_share: Option<f64>,
    /// Accepted orders that ended by their payment deadline.
    pub endings_by_deadline: u64,
    /// Answers 201 to requests that were sent after the same key had been answered 201, while that reservation was still
    /// held.
    pub repeats: u64,
    /// Repeats whose answer named another reservation than the first answer.
    pub repeats_elsewhere: u64,
    /// Reservations whose repeats were refused, and answered 201 by no later repeat while the reservation was held.
    pub repeats_refused: u64,
    /// The share of the repeats that were answered with another reservation or refused; `None` without repeats.
    pub repeats_not_found: Option<f64>,
    /// Second answers 201 to requests with the same key that were sent at the same time.
    pub double_clicks: u64,
    /// Double clicks whose answers named two reservations.
    pub double_clicks_elsewhere: u64,
}

impl Sales {
    /// Adds the figures of one drop.
    pub fn add(&mut self, found: &Findings) {
        self.paid += found.paid;
        self.sellable += found.sellable;
        self.sold_share = share(self.paid, self.sellable);
        self.endings_by_deadline += found.endings_by_deadline;
        self.repeats += found.repeats;
        self.repeats_elsewhere += found.repeats_elsewhere;
        self.repeats_refused += found.repeats_refused;
        let (missed, all) = self.repeats_missed();
        self.repeats_not_found = share(missed, all);
        self.double_clicks += found.double_clicks;
        self.double_clicks_elsewhere += found.double_clicks_elsewhere;
    }
}

impl Sales {
    /// The number of repeats that did not find their reservation, and of all repeats.
    const fn repeats_missed(&self) -> (u64, u64) {
        (
            self.repeats_elsewhere + self.repeats_refused,
            self.repeats + self.repeats_refused,
        )
    }
}

impl std::fmt::Display for Sales {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let percent = self.sold_share.map_or("-".to_owned(), percent);
        let Self { paid, sellable, .. } = self;
        let by_deadline = self.endings_by_deadline;
        let (missed, repeats) = self.repeats_missed();
        let (two, clicks) = (self.double_clicks_elsewhere, self.double_clicks);
        write!(
            f,
            "{paid} of the {sellable} units sold that could be ({percent}); {by_deadline} orders ended by their \
             deadline; {missed} of {repeats} repeats did not find their reservation, {two} of {clicks} double \
             clicks made two"
        )
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
    let whole = Mutex::new(Summary {
        first_seed: extent.first_seed,
        threads: extent.threads,
        faults: Fault::ALL.map(|fault| (fault.name(), 0)).into(),
        ..Summary::default()
    });
    let prove_next = || {
        let late = extent.within.is_some_and(|within| began.elapsed() >= within);
        let broken = extent.stop_at_first && lock(&whole).violations > 0;
        if late || broken || stop.load(Ordering::Relaxed) {
            return false;
        }
        let nth = next.fetch_add(1, Ordering::Relaxed);
        if nth >= extent.drops {
            return false;
        }
        let seed = extent.first_seed.wrapping_add(nth);
        let options = Options {
            sabotage: extent.sabotage,
            telling: false,
        };
        let tallies = run(&extent.subject.plan(seed), keys, options);
        lock(&whole).add(seed, &tallies);
        told(1, tallies.violations.len() as u64);
        true
    };
    std::thread::scope(|scope| {
        for _ in 0..extent.threads {
            scope.spawn(|| while prove_next() {});
        }
    });
    let mut whole = lock(&whole).clone();
    whole.seconds = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    if whole.drops > 0 {
        whole.drops_per_second = whole.drops as f64 / whole.seconds.max(1e-9);
        whole.thread_ms_per_drop = 1e3 * whole.seconds * whole.threads as f64 / whole.drops as f64;
    }
    whole
}
