//! Determines whether the capacity that a drop needs is ready, when it will be ready, and the consequence if
//! it is not.
//!
//! [`readiness`] compares the needed capacity, part by part, with the observed state ([`Seen`]) and with
//! measurements ([`Measured`]). A *requested* value does not count. Only concurrency that Lambda has
//! allocated, a size that the database has reached, and functions that have answered count.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use domain::ids::DropId;
use domain::time::Timestamp;

use super::amounts::DatabaseSize;
use super::calendar::{CalendarDrop, NotReadyPolicy};
use super::documents::Documents;
use super::lead::{allocation_seconds, database_seconds};
use super::numbers::Share;
use super::observed::{Allocation, Observed, ObservedDatabase};
use super::quotas::Quotas;
use super::wanted::WantedDrop;

/// The unit of a moved start, in milliseconds: a start is moved to a whole minute.
const MINUTE_MS: i64 = 60_000;

/// The state of the account's resources at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The capacity that was read.
    pub observed: Observed,
    /// Whether the database's cluster and instances are available, with no change in progress.
    pub database_available: bool,
    /// The names of tables that are not active or do not exist.
    pub inactive_tables: BTreeSet<String>,
    /// The names of event sources that do not poll or do not exist.
    pub inactive_sources: BTreeSet<String>,
}

/// Measurements that show whether the capacity really exists, in addition to the settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The ACU with which the Serverless v2 cluster now runs; `None` if there is no metric yet.
    pub reached_acu: Option<f64>,
    /// Whether each function answered a trial invocation, by its name. A function that was not invoked has
    /// no entry.
    pub answered: BTreeMap<String, bool>,
    /// The number of invocations beyond provisioned concurrency in the last minute, by the name of
    /// the function.
    pub spill_over: BTreeMap<String, u64>,
}

/// The kind of a part of the capacity, which determines the unit of its amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// The provisioned concurrency of a function's live alias, in units.
    Function,
    /// The ledger's database, in ACU, or in instances of the needed class or a larger one.
    Database,
    /// The warm throughput of a table, in write units.
    Table,
    /// The polling setting of a queue's event source, in concurrent invocations.
    Source,
    /// The answer of a function to a trial invocation: 1 for an answer, otherwise 0.
    Answer,
}

/// One part of the capacity that a drop needs, and whether it is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The part's kind.
    pub kind: PartKind,
    /// The function, table or event source, by its name in the baseline; `database` for the database.
    pub name: String,
    /// The needed amount, in the unit of the kind.
    pub wanted: f64,
    /// The existing amount, in the unit of the kind.
    pub there: f64,
    /// Whether the existing amount is enough, with no change in progress.
    pub ready: bool,
}

/// The consequence of the readiness for the drop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ruling", rename_all = "snake_case")]
pub enum Ruling {
    /// The drop opens as announced, for as many shoppers as its plan serves.
    AsPlanned,
    /// The drop opens as announced, but for fewer shoppers than its plan would serve.
    AdmitFewer,
    /// The drop must open later. A run moves its start, and the calendar follows.
    MoveStart {
        /// The new start, in ms since 1970.
        to: Timestamp,
    },
}

/// The readiness of a drop's capacity. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    /// The drop that needs the capacity.
    pub drop: DropId,
    /// The time at which the account was read.
    pub at: Timestamp,
    /// Whether all parts are ready.
    pub ready: bool,
    /// The time at which all parts must be ready.
    pub ready_by: Timestamp,
    /// The estimated time at which all parts will be ready; `at` if they are ready.
    pub estimated_at: Timestamp,
    /// Whether all parts will be ready in time by the estimate, or are ready now.
    pub on_course: bool,
    /// Each part of the capacity, with the needed and the existing amount.
    pub parts: Vec<Part>,
    /// The consequence for the drop.
    pub ruling: Ruling,
    /// The share of the drop's demand that may be admitted: the plan's share, or less if capacity is missing.
    pub share: Share,
    /// The number of shoppers a second that may be admitted at the opening.
    pub shoppers_per_second: f64,
    /// The number of invocations beyond provisioned concurrency in the last minute, over all functions.
    pub spill_over: u64,
}

/// The readiness of `drop` at `now`, from the observed state and the measurements.
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
    let mut parts = Vec::new();
    let mut add = |kind, name: &str, wanted: f64, there: f64, at_rest: bool| {
        parts.push(Part {
            kind,
            name: name.to_owned(),
            wanted,
            there,
            ready: at_rest && there >= wanted,
        });
    };
    let capacity = &wanted.capacity;
    for (name, want) in &capacity.functions {
        if want.provisioned > 0 {
            let there = seen.observed.function(name);
            let at_rest = there.allocation == Allocation::Ready && there.allocated == there.asked.provisioned;
            let (want, there) = (f64::from(want.provisioned), f64::from(there.allocated));
            add(PartKind::Function, name, want, there, at_rest);
        }
        if let Some(answered) = measured.answered.get(name) {
            let there = f64::from(u8::from(*answered));
            add(PartKind::Answer, name, 1.0, there, true);
        }
    }
    let (want, there) = match (&seen.observed.database, &capacity.database) {
        // The minimum is only a setting. The cluster must also run with at least this ACU.
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
    let at_rest = seen.database_available;
    add(PartKind::Database, "database", want, there, at_rest);
    for (name, want) in &capacity.tables {
        let there = seen.observed.tables.get(name).copied().unwrap_or_default();
        let at_rest = !seen.inactive_tables.contains(name) && there.read_units >= want.read_units;
        let (want, there) = (f64::from(want.write_units), f64::from(there.write_units));
        add(PartKind::Table, name, want, there, at_rest);
    }
    for (name, want) in &capacity.queues {
        let there = seen.observed.queues.get(name);
        let there = f64::from(there.map_or(0, |polling| polling.invocations()));
        let at_rest = !seen.inactive_sources.contains(name);
        let want = f64::from(want.invocations());
        add(PartKind::Source, name, want, there, at_rest);
    }
    parts
}

/// The time until all parts are ready, in seconds: the longest time of the parts, which are prepared
/// concurrently, plus the verification.
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
        // The minimum is set but not reached yet. Reaching it may take as long as after a new setting.
        if steps == 0 { lead.acu_seconds } else { steps }
    } else {
        0
    };
    let tables = waits(PartKind::Table).then_some(lead.table_seconds);
    concurrency.max(database).max(tables.unwrap_or(0)) + lead.verification_seconds
}

/// The share of the needed capacity that exists, over the parts that serve requests directly. The database
/// and the event sources process queues: if they lack capacity, orders wait, but no shopper is refused.
fn served(parts: &[Part]) -> Share {
    let on_the_way = |part: &&Part| matches!(part.kind, PartKind::Function | PartKind::Table);
    let share = |part: &Part| Share::of(part.there, part.wanted);
    let shares = parts.iter().filter(on_the_way).map(share);
    shares.min().unwrap_or(Share::WHOLE)
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
