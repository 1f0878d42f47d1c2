//! Compares the plan of a drop with its measured load.

use serde::{Deserialize, Serialize};

use super::super::calendar::CalendarDrop;
use super::super::demand::paces;
use super::super::measured::{Measured, float};
use super::super::need::LEAST_UNIT_MS;
use super::super::phase::Phase;
use super::super::profile::{ByPhase, CapacityProfile, Group, Per};
use super::evidence::{counted, requests};

/// One quantity of a drop: its planned and its measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// The name of the quantity, for example `function.reserve.concurrency`.
    pub what: String,
    /// The planned value, without headroom.
    pub planned: f64,
    /// The measured value.
    pub actual: f64,
    /// The measured value divided by the planned value: above 1 means more than planned. `None` if nothing
    /// was planned.
    pub ratio: Option<f64>,
    /// Whether capacity depends on the quantity directly. If not, the quantity is an input of another one
    /// (requests, times).
    pub sizes: bool,
}

/// The largest factor between plan and measurement, in either direction, over all quantities on which
/// capacity depends; 1 for a perfect plan, `None` if no quantity can be compared. A planned quantity that did
/// not occur at all, and an unplanned quantity that occurred, count as [`MOST_APART`].
#[must_use]
pub fn largest(gaps: &[Gap]) -> Option<f64> {
    let apart = |gap: &Gap| match (gap.planned > 0.0, gap.actual > 0.0) {
        (true, true) => (gap.actual / gap.planned)
            .max(gap.planned / gap.actual)
            .min(MOST_APART),
        (false, false) => 1.0,
        _ => MOST_APART,
    };
    gaps.iter().filter(|gap| gap.sizes).map(apart).reduce(f64::max)
}

/// The largest factor that [`largest`] reports.
pub const MOST_APART: f64 = 1_000.0;

/// Compares the plan of `profile` for `drop` with the measurements. A quantity that was not measured
/// is omitted.
///
/// Rates are those of the busiest second. Single seconds are not measured, so the ratio of the busiest second
/// to the mean is assumed to be as planned in each phase, and as for the shoppers' arrivals in a phase
/// without planned requests.
#[must_use]
pub fn gaps(profile: &CapacityProfile, drop: &CalendarDrop, measured: &Measured) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for group in &profile.groups {
        of_functions(&mut gaps, profile, drop, group, measured);
    }
    let units = f64::from(drop.units);
    for table in &profile.tables {
        let Some(seen) = measured.table(&table.table) else {
            continue;
        };
        let at = |what: &str| format!("table.{}.{what}", table.table);
        let written = units * table.write_units_per_unit;
        push(&mut gaps, at("write_units"), written, seen.write_units, true);
        let reads = profile.groups.iter().map(|group| {
            let planned = planned(profile, drop, group).all();
            let requests: f64 = planned.iter().map(|p| p.requests).sum();
            table.reads(group) * requests
        });
        push(&mut gaps, at("read_units"), reads.sum(), seen.read_units, true);
    }
    for queue in &profile.queues {
        let Some(seen) = measured.queue(&queue.source) else {
            continue;
        };
        let at = |what: &str| format!("queue.{}.{what}", queue.source);
        let (planned, planned_ms) = (units * queue.messages_per_unit, queue.handling_ms);
        let (messages, ms) = (seen.messages.map(float), seen.handling_p95_ms);
        push(&mut gaps, at("messages"), planned, messages, false);
        push(&mut gaps, at("handling_ms"), planned_ms, ms, false);
        let (work, planned) = (messages.zip(ms), planned * planned_ms / 1000.0);
        let work = work.map(|(messages, ms)| messages * ms / 1000.0);
        push(&mut gaps, at("seconds"), planned, work, true);
    }
    let what = "database.rows".to_owned();
    let rows = units * profile.database.rows_per_unit;
    push(&mut gaps, what, rows, measured.ledger_rows.map(float), true);
    gaps
}

fn push(gaps: &mut Vec<Gap>, what: String, planned: f64, actual: Option<f64>, sizes: bool) {
    if let Some(actual) = actual {
        gaps.push(Gap {
            what,
            planned,
            actual,
            ratio: (planned > 0.0).then(|| actual / planned),
            sizes,
        });
    }
}

/// The planned requests of a group in one phase.
#[derive(Debug, Clone, Copy)]
struct Planned {
    /// The requests a second in the busiest second.
    rps: f64,
    /// The number of requests in the whole phase.
    requests: f64,
    /// The ratio of the busiest second to the mean.
    steepness: f64,
}

fn planned(profile: &CapacityProfile, drop: &CalendarDrop, group: &Group) -> ByPhase<Planned> {
    let paces = paces(&profile.groups, drop);
    let stretches = drop.stretches();
    ByPhase::each(|phase| {
        let weight = *group.weight.of(phase);
        let rps = paces.of(phase).rps(group.per, weight);
        let stretch = stretches.of(phase);
        // At the opening, units have their own rate, and all of them are reserved when it ends. So their rate
        // does not give their number.
        let requests = if phase == Phase::Opening && group.per == Per::Unit {
            f64::from(drop.units) * weight
        } else {
            rps * f64::from(stretch.seconds) / stretch.peak_factor
        };
        Planned {
            rps,
            requests,
            steepness: stretch.peak_factor,
        }
    })
}

fn of_functions(
    gaps: &mut Vec<Gap>,
    profile: &CapacityProfile,
    drop: &CalendarDrop,
    group: &Group,
    measured: &Measured,
) {
    let planned = planned(profile, drop, group);
    // The result is in units of concurrency, computed as in `need`, but without headroom.
    let concurrency = |rps: f64, p95_ms: f64| rps * p95_ms.max(LEAST_UNIT_MS) / 1000.0;
    for (share, part) in group.parts() {
        let Some(seen) = measured.function(&share.function) else {
            continue;
        };
        let at = |what: &str| format!("function.{}.{what}", share.function);
        let expected = Phase::ALL.map(|phase| planned.of(phase).rps * part);
        let expected = expected.into_iter().fold(0.0, f64::max);
        let came = counted(group.through, seen).map(|came| {
            let rps = Phase::ALL.map(|phase| {
                let (planned, came) = (planned.of(phase), *came.of(phase));
                let seconds = *measured.seconds.of(phase);
                match (planned.requests > 0.0, seconds > 0.0) {
                    (true, _) => planned.rps * came / planned.requests,
                    (false, true) => came / seconds * planned.steepness,
                    (false, false) => 0.0,
                }
            });
            rps.into_iter().fold(0.0, f64::max)
        });
        push(gaps, at("requests_per_second"), expected, came, false);
        push(gaps, at("p95_ms"), share.p95_ms, seen.p95_ms, false);
        // Without a measured percentile, the planned percentile is used for the actual concurrency.
        let p95_ms = seen.p95_ms.unwrap_or(share.p95_ms);
        let came = came.map(|rps| concurrency(rps, p95_ms));
        let expected = concurrency(expected, share.p95_ms);
        push(gaps, at("concurrency"), expected, came, true);
    }
    let came = requests(group, measured).map(|came| came.all().iter().sum());
    let whole = planned.all().iter().map(|p| p.requests).sum();
    push(gaps, format!("group.{}.requests", group.name), whole, came, false);
}
