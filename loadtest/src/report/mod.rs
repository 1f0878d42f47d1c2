//! Makes the report: one JSON document for programs, and one page for people.

pub mod charts;
mod html;
mod summary;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::{Findings, Promise};
use crate::facts::{DropFacts, Ending, Entry, Sampled};
use crate::faults::FaultReport;
use crate::gateway::GatewayFigures;
use crate::measure::{Endpoint, Measured, Percentiles, Sample, percentiles};
use crate::usage::Usage;

pub use html::{STYLE, key, render};

/// The largest allowed lateness of arrivals at the 99th percentile, in ms. Above this limit a run without faults is
/// void, since late arrivals make latencies wrong.
pub const LATE_LIMIT_MS: f64 = 20.0;

/// The machine and the revision of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Machine {
    pub cores: usize,
    /// The git revision of the sources; `None` if git does not answer.
    pub git_revision: Option<String>,
}

/// The facts of a run that its measurements and its audit do not contain.
#[derive(Debug, Clone, Serialize)]
pub struct RunFacts {
    pub drop_file: String,
    pub title: String,
    /// The seed of all random numbers.
    pub seed: u64,
    pub shoppers: u64,
    #[serde(skip)]
    pub drop: DropFacts,
    pub machine: Machine,
    /// The time from publishing to the end of the drain, in s.
    pub duration_s: f64,
    /// The time from the end of the last visit to the end of the drain, in s.
    pub drain_s: f64,
    /// The work that was left at the drain's time limit; empty if no work was left.
    pub left_undone: Vec<String>,
    /// Shoppers whose visit had not ended when the run was stopped.
    #[serde(rename = "unfinished_shoppers")]
    pub unfinished: u64,
    /// Answers that the API does not promise, with their counts.
    pub surprises: BTreeMap<String, u64>,
    /// The number of samples of the shards that failed.
    #[serde(skip)]
    pub failed_samples: u64,
    /// The injected faults and their counts.
    pub faults: FaultReport,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ByPhase {
    /// Latency of requests intended before the opening, by endpoint.
    pub before_opening: BTreeMap<&'static str, Percentiles>,
    /// Latency of requests intended after the opening, by endpoint.
    pub open: BTreeMap<&'static str, Percentiles>,
}

/// The content of `report.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether every promise was kept, every figure exists, and the generator was on time.
    pub ok: bool,
    /// The reasons why `ok` is false; empty otherwise.
    pub failures: Vec<String>,
    pub drop_id: String,
    #[serde(flatten)]
    pub run: RunFacts,
    /// The audit's units, promises and explanations.
    #[serde(flatten)]
    pub findings: Findings,
    pub endings: BTreeMap<Ending, u64>,
    #[serde(flatten)]
    pub rates: Rates,
    /// The time from the opening to the first sample in which no unit of any SKU was free, in ms; `None` if there
    /// is no such sample. Samples are 500 ms apart.
    pub sold_out_after_ms: Option<i64>,
    /// The time from the opening to the first sample in which every unit was sold, in ms; `None` if there is no
    /// such sample.
    pub all_paid_after_ms: Option<i64>,
    /// Latency from the intended start, by endpoint, in ms.
    pub latency_ms: BTreeMap<&'static str, Percentiles>,
    /// Latency from the intended start before and after the opening, by endpoint, in ms.
    pub latency_ms_by_phase: ByPhase,
    /// Requests by endpoint, status and problem code.
    pub status_counts: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// The 99th percentile of the lateness of arrivals, in ms.
    pub generator_late_ms_p99: f64,
    /// The percentiles of the lateness of arrivals, in ms.
    pub generator_late_ms: Percentiles,
    /// The percentiles of the lateness of requests after a think time, in ms.
    pub step_late_ms: Percentiles,
    /// The number and the rate of the calls to the payment gateway.
    pub gateway: GatewayFigures,
    /// The usage of tables, queues and functions, and its cost, by the stack's meter.
    #[serde(flatten)]
    pub usage: Usage,
    /// The number of samples of the shards during the run.
    pub samples: u64,
}

/// The rates of API requests, by second and over the whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Rates {
    /// API requests intended per second between the first and the last arrival.
    pub offered_rps: f64,
    /// API requests answered per second between the first and the last arrival.
    pub achieved_rps: f64,
    /// API requests intended in the busiest second.
    pub peak_rps: u64,
    pub requests: u64,
}

impl Rates {
    fn of(measured: &Measured) -> Self {
        let api = measured.samples.iter().filter(|s| s.endpoint != Endpoint::Bank);
        let arrivals = measured.arrivals_ms.iter().map(|ms| i64::from(*ms));
        let window = arrivals.clone().min().zip(arrivals.max());
        let within = |at_ms: i64| window.is_some_and(|(from, to)| (from..=to).contains(&at_ms));
        let seconds = window.map_or(0.0, |(from, to)| float(to - from) / 1e3);
        let rate = |count: usize| match seconds > 0.0 {
            true => float(i64::try_from(count).unwrap_or(i64::MAX)) / seconds,
            false => 0.0,
        };
        let answered = |s: &&Sample| measured.outcome(s).starts_with(|c: char| c.is_ascii_digit());
        let ended = |s: &Sample| i64::from(s.intended_ms) + i64::from(s.latency_us / 1_000);
        let offered = api.clone().filter(|s| within(i64::from(s.intended_ms)));
        let achieved = api.clone().filter(answered).filter(|s| within(ended(s)));
        let mut by_second: BTreeMap<i32, u64> = BTreeMap::new();
        for sample in api.clone() {
            *by_second.entry(sample.intended_ms.div_euclid(1_000)).or_default() += 1;
        }
        Self {
            offered_rps: rate(offered.count()),
            achieved_rps: rate(achieved.count()),
            peak_rps: by_second.values().copied().max().unwrap_or(0),
            requests: by_second.values().sum(),
        }
    }
}

fn endings(journal: &[Entry]) -> BTreeMap<Ending, u64> {
    let mut endings = BTreeMap::new();
    for entry in journal {
        if let Entry::Ended(ended) = entry {
            *endings.entry(ended.ending).or_default() += 1;
        }
    }
    endings
}

impl Report {
    #[must_use]
    pub fn new(
        run: RunFacts,
        findings: Findings,
        measured: &Measured,
        journal: &[Entry],
        usage: Usage,
    ) -> Self {
        let samples: Vec<&Sampled> = samples(journal).collect();
        let starts_at_ms = run.drop.starts_at_ms;
        let open = |s: &&Sampled| s.at_ms >= starts_at_ms && !s.skus.is_empty();
        let first = |done: fn(&Sampled) -> bool| {
            let done = samples.iter().copied().filter(open).filter(|s| done(s));
            done.map(|s| s.at_ms - starts_at_ms).min()
        };
        let named = |found: BTreeMap<Endpoint, Percentiles>| {
            found.into_iter().map(|(e, p)| (e.as_str(), p)).collect()
        };
        let counts = measured.counts().into_iter();
        let late = percentiles(&measured.late_arrivals_us);
        let mut report = Self {
            ok: false,
            failures: Vec::new(),
            drop_id: run.drop.drop_id.clone(),
            sold_out_after_ms: first(|s| s.skus.iter().all(|u| u.free == 0)),
            all_paid_after_ms: first(|s| s.skus.iter().all(|u| u.sold == u.total())),
            run,
            findings,
            endings: endings(journal),
            rates: Rates::of(measured),
            latency_ms: named(measured.latencies()),
            latency_ms_by_phase: ByPhase {
                before_opening: named(measured.latencies_of_phase(false)),
                open: named(measured.latencies_of_phase(true)),
            },
            status_counts: counts.map(|(e, counts)| (e.as_str(), counts)).collect(),
            generator_late_ms_p99: late.p99,
            generator_late_ms: late,
            step_late_ms: percentiles(&measured.late_steps_us),
            gateway: GatewayFigures::default(),
            usage,
            samples: u64::try_from(samples.len()).unwrap_or(u64::MAX),
        };
        report.failures = report.judge();
        report.ok = report.failures.is_empty();
        report
    }

    /// The reasons why the run failed or is void.
    fn judge(&self) -> Vec<String> {
        let (f, run) = (&self.findings, &self.run);
        let mut failures = Vec::new();
        for (promise, figure, _) in f.figures().into_iter().filter(|(_, figure, _)| *figure > 0) {
            failures.push(match promise {
                Promise::Inconsistencies => format!("the stores disagree in {figure} places"),
                promise => format!("{promise} is {figure}"),
            });
        }
        if !run.left_undone.is_empty() {
            failures.push(format!("not drained: {}", run.left_undone.join(", ")));
        }
        let late = self.generator_late_ms_p99;
        // Late arrivals make latencies wrong. No conclusion is drawn from latencies under faults, so a run with
        // faults may be late.
        if late > LATE_LIMIT_MS && !run.faults.any() {
            failures.push(format!(
                "the generator was {late:.1} ms late (p99), {LATE_LIMIT_MS} ms are allowed"
            ));
        }
        if run.unfinished > 0 {
            failures.push(format!("{} visits were cut short", run.unfinished));
        }
        let ended: u64 = self.endings.values().sum();
        if ended != run.shoppers {
            failures.push(format!("{ended} of {} shoppers came to an end", run.shoppers));
        }
        let unexpected: u64 = run.surprises.values().sum();
        if unexpected > 0 {
            failures.push(format!("{unexpected} answers were not what the API promises"));
        }
        let dead = self.answered_for_functions();
        if dead > 0 && !run.faults.is_deadly() {
            failures.push(format!(
                "{dead} requests were answered 500 in a function's place, and no fault explains that"
            ));
        }
        let idle = run.faults.idle();
        failures.extend(idle.map(|fault| format!("the fault {fault} never struck")));
        let missing = self.missing().into_iter();
        failures.extend(missing.map(|figure| format!("{figure} is missing")));
        failures
    }

    /// Requests that API Gateway answered in place of a function: 500, with a body that is not a problem document.
    fn answered_for_functions(&self) -> u64 {
        let bank = Endpoint::Bank.as_str();
        let api = self.status_counts.iter().filter(|(name, _)| **name != bank);
        api.filter_map(|(_, counts)| counts.get("500")).sum()
    }

    /// The figures that every run must have, as far as this run lacks them.
    fn missing(&self) -> Vec<&'static str> {
        let (f, u, run) = (&self.findings, &self.usage, &self.run);
        let (reserved, ordered, paid) = (f.reserved > 0, f.ordered > 0, f.paid > 0);
        let metered = u.functions.iter().any(|f| f.route.contains("/reservations"));
        let status = self.latency_ms.contains_key("show_status");
        let timed = self.generator_late_ms.count == run.shoppers;
        let reads = u.read_units_per_reservation;
        let sampled = self.samples > 0 && run.failed_samples * 10 <= self.samples;
        let if_any = |some: bool, figure: Option<f64>| !some || figure.is_some();
        let figures = [
            (timed, "the lateness of every arrival"),
            (sampled, "the shard samples"),
            (status, "latency_ms of the status"),
            (reserved, "any reservation"),
            (if_any(reserved, u.wcu_per_reservation), "wcu_per_reservation"),
            (if_any(reserved, reads), "read_units_per_reservation"),
            (if_any(paid, u.stock_wcu_per_sold_unit), "stock_wcu_per_sold_unit"),
            (f.sold_share.is_some(), "sold_share"),
            (if_any(ordered, u.usd_per_order), "usd_per_order"),
            (!reserved || metered, "the meter's row of reservations"),
        ];
        let missing = figures.into_iter().filter(|(there, _)| !there);
        missing.map(|(_, figure)| figure).collect()
    }
}

pub(crate) fn samples(journal: &[Entry]) -> impl Iterator<Item = &Sampled> {
    journal.iter().filter_map(|entry| match entry {
        Entry::Sampled(sampled) => Some(sampled),
        _ => None,
    })
}

#[allow(
    clippy::cast_precision_loss,
    reason = "times and counts of a drop, far below 2^53"
)]
fn float(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
