//! Whether the capacity that a drop wants is there, when it will be, and what follows if it is not.
//!
//! [`readiness`] compares what a drop wants with what was [`Seen`] part by part: what was *asked for* is not yet there,
//! so only what Lambda has allocated, the database has reached and a function has answered counts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::DropId;
use crate::time::Timestamp;

use super::calendar::{CalendarDrop, NotReadyPolicy};
use super::capacity::DatabaseSize;
use super::documents::Documents;
use super::lead::{allocation_seconds, database_seconds};
use super::numbers::Share;
use super::observed::{Allocation, Observed, ObservedDatabase};
use super::quotas::Quotas;
use super::wanted::WantedDrop;

/// A start is moved to a whole minute.
const MINUTE_MS: i64 = 60_000;

/// What one look at the account shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The capacity.
    pub observed: Observed,
    /// Whether cluster and instances are available, with no change under way.
    pub database_available: bool,
    /// Tables that are not active, or that the account does not have.
    pub inactive_tables: BTreeSet<String>,
    /// Event sources that do not poll, or that the account does not have.
    pub inactive_sources: BTreeSet<String>,
}

/// What was measured of capacity beyond how it is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// ACU that the Serverless v2 cluster runs with; none if there is no figure yet.
    pub reached_acu: Option<f64>,
    /// Each function's answer to a call made to see whether it answers; those not called are absent.
    pub answered: BTreeMap<String, bool>,
    /// Invocations beyond provisioned concurrency in the last minute, by function.
    pub spill_over: BTreeMap<String, u64>,
}

/// What a part of the capacity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// Provisioned concurrency of a function's live alias, in units.
    Function,
    /// The ledger's database, in ACU, or in instances of the wanted class or a larger one.
    Database,
    /// A table's warm throughput, in write units.
    Table,
    /// A queue's event source, in invocations at a time.
    Source,
    /// A function's answer to a call: 1.
    Answer,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Which one.
    pub name: String,
    /// How much is wanted.
    pub wanted: f64,
    /// How much is there.
    pub there: f64,
    /// Whether that is enough, and at rest.
    pub ready: bool,
}

/// What follows for the drop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ruling", rename_all = "snake_case")]
pub enum Ruling {
    /// It opens as announced, for as many as its plan serves.
    AsPlanned,
    /// It opens as announced, for fewer than its plan would serve.
    AdmitFewer,
    /// It must open later; its operator moves it, and the calendar follows.
    MoveStart {
        /// To when, in ms since 1970.
        to: Timestamp,
    },
}

/// How ready a drop is. Moments are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    /// Which drop.
    pub drop: DropId,
    /// When one looked.
    pub at: Timestamp,
    /// Whether all parts are.
    pub ready: bool,
    /// When all must be there.
    pub ready_by: Timestamp,
    /// When all will be there, as far as can be told; `at` if it is.
    pub estimated_at: Timestamp,
    /// Whether that is in time.
    pub on_course: bool,
    /// Each part.
    pub parts: Vec<Part>,
    /// What follows.
    pub ruling: Ruling,
    /// The share of its demand that may be admitted: that of the plan, or less.
    pub share: Share,
    /// Shoppers a second who may be admitted at the opening.
    pub shoppers_per_second: f64,
    /// Invocations beyond provisioned concurrency in the minute before.
    pub spill_over: u64,
}

/// How ready `drop` is at `now`, by what one look and the measurements showed.
#[must_use]
pub fn readiness(
    docs: &Documents,
    quotas: &Quotas,
    drop: &CalendarDrop,
    wanted: &WantedDrop,
    seen: &Seen,
    measured: &Measured,
    now: Timestamp,
) -> Readiness {
    let parts = parts(docs, wanted, seen, measured);
    let ready = parts.iter().all(|part| part.ready);
    let ready_by = wanted.window.ready_by;
    let estimated_at = if ready {
        now
    } else {
        now.plus_seconds(seconds_to_go(docs, quotas, wanted, seen, &parts))
    };
    let ruling = ruling(drop, ready, ready_by, estimated_at, now);
    let there = if ruling == Ruling::AdmitFewer {
        served(&parts)
    } else {
        Share::WHOLE
    };
    let spill_over = measured.spill_over.values().copied().fold(0, u64::saturating_add);
    Readiness {
        drop: drop.id.clone(),
        at: now,
        ready,
        ready_by,
        estimated_at,
        on_course: estimated_at <= ready_by || (ready && now > ready_by),
        ruling,
        share: Share::of(wanted.share.factor() * there.factor(), 1.0),
        shoppers_per_second: wanted.shoppers_per_second * there.factor(),
        spill_over,
        parts,
    }
}

fn parts(docs: &Documents, wanted: &WantedDrop, seen: &Seen, measured: &Measured) -> Vec<Part> {
    let part = |kind, name: &str, wanted: f64, there: f64, at_rest: bool| Part {
        kind,
        name: name.to_owned(),
        wanted,
        there,
        ready: at_rest && there >= wanted,
    };
    let mut parts = Vec::new();
    let capacity = &wanted.capacity;
    for (name, want) in &capacity.functions {
        if want.provisioned > 0 {
            let there = seen.observed.function(name);
            let at_rest = there.allocation == Allocation::Ready && there.allocated == there.asked.provisioned;
            let (want, there) = (f64::from(want.provisioned), f64::from(there.allocated));
            parts.push(part(PartKind::Function, name, want, there, at_rest));
        }
        if let Some(answered) = measured.answered.get(name) {
            let there = f64::from(u8::from(*answered));
            parts.push(part(PartKind::Answer, name, 1.0, there, true));
        }
    }
    let (want, there) = match (&seen.observed.database, &capacity.database) {
        // The minimum is a promise; what counts is that the cluster runs with it.
        (ObservedDatabase::Serverless { minimum_acu }, DatabaseSize::MinimumAcu(acu)) => {
            (*acu, measured.reached_acu.unwrap_or(0.0).min(*minimum_acu))
        }
        (ObservedDatabase::Provisioned { instances, .. }, size @ DatabaseSize::Class(_)) => {
            let declared = &docs.baseline.database;
            let large =
                |class: &String| declared.rank(&DatabaseSize::Class(class.clone())) >= declared.rank(size);
            let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
            let enough = instances.iter().filter(|i| large(&i.class)).count();
            (count(instances.len()), count(enough))
        }
        _ => (1.0, 0.0),
    };
    parts.push(part(
        PartKind::Database,
        "database",
        want,
        there,
        seen.database_available,
    ));
    for (name, want) in &capacity.tables {
        let there = seen.observed.tables.get(name).copied().unwrap_or_default();
        let at_rest = !seen.inactive_tables.contains(name) && there.read_units >= want.read_units;
        let (want, there) = (f64::from(want.write_units), f64::from(there.write_units));
        parts.push(part(PartKind::Table, name, want, there, at_rest));
    }
    for (name, want) in &capacity.queues {
        let there = seen
            .observed
            .queues
            .get(name)
            .map_or(0, |polling| polling.invocations());
        let at_rest = !seen.inactive_sources.contains(name);
        let want = f64::from(want.invocations());
        parts.push(part(PartKind::Source, name, want, f64::from(there), at_rest));
    }
    parts
}

/// How long until all is there. Its parts are made at the same time, so the longest counts, and the verification after it.
fn seconds_to_go(docs: &Documents, quotas: &Quotas, wanted: &WantedDrop, seen: &Seen, parts: &[Part]) -> u32 {
    let lead = &docs.profile.lead;
    let mut units: u32 = 0;
    let mut prepares = false;
    for (name, want) in &wanted.capacity.functions {
        let there = seen.observed.function(name);
        let missing = want.provisioned.saturating_sub(there.allocated);
        units = units.saturating_add(missing);
        let declared = docs.baseline.function(name).map_or(0, |f| f.provisioned);
        prepares |= missing > 0 && there.allocated <= declared;
    }
    let preparation = if prepares { lead.preparation_seconds } else { 0 };
    let concurrency = preparation + allocation_seconds(quotas, units);
    let waits = |kind| parts.iter().any(|part| part.kind == kind && !part.ready);
    let database = if waits(PartKind::Database) {
        let steps = database_seconds(docs, &seen.observed, &wanted.capacity.database);
        // Set already, and not reached: it may take as long as when it is set.
        if steps == 0 { lead.acu_seconds } else { steps }
    } else {
        0
    };
    let tables = if waits(PartKind::Table) {
        lead.table_seconds
    } else {
        0
    };
    concurrency.max(database).max(tables) + lead.verification_seconds
}

/// The share of what is wanted that is there, of what lies on the way of a request. The database and the event sources
/// lie behind queues: without them orders wait, and nobody is refused.
fn served(parts: &[Part]) -> Share {
    let on_the_way = |part: &&Part| matches!(part.kind, PartKind::Function | PartKind::Table);
    let share = |part: &Part| Share::of(part.there, part.wanted);
    parts
        .iter()
        .filter(on_the_way)
        .map(share)
        .min()
        .unwrap_or(Share::WHOLE)
}

fn ruling(
    drop: &CalendarDrop,
    ready: bool,
    ready_by: Timestamp,
    estimated_at: Timestamp,
    now: Timestamp,
) -> Ruling {
    if ready || now < ready_by {
        return Ruling::AsPlanned;
    }
    if let NotReadyPolicy::MoveStart { at_most_seconds } = drop.if_not_ready
        && now < drop.starts_at
    {
        let late_ms = estimated_at.millis_since(ready_by).max(1);
        let to = drop.starts_at.as_millis().saturating_add(late_ms);
        let to = Timestamp::from_millis(to.saturating_add(MINUTE_MS - 1).div_euclid(MINUTE_MS) * MINUTE_MS);
        if to <= drop.starts_at.plus_seconds(at_most_seconds) {
            return Ruling::MoveStart { to };
        }
    }
    Ruling::AdmitFewer
}
