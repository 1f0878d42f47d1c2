//! Computes the capacity that a run requests: increases immediately, as far as they can be ready in time; reductions
//! only when two runs agree.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use domain::ids::DropId;
use domain::time::Timestamp;

use super::amounts::{Capacity, Concurrency, DatabaseSize, Polling, Target};
use super::documents::Documents;
use super::lead::database_seconds;
use super::numbers::{Share, share_out, units_down};
use super::observed::{Instance, Observed, ObservedDatabase};
use super::others::{LEFT_TO_OTHERS_MS, LastSet};
use super::quotas::Quotas;
use super::wanted::Wanted;

/// The shortest time between two runs that can confirm each other, in milliseconds. Two runs with less time
/// between them may be one repeated run.
pub const LEAST_BETWEEN_RUNS_MS: i64 = 30_000;
/// The longest time between two runs that can confirm each other, in milliseconds.
pub const MOST_BETWEEN_RUNS_MS: i64 = 180_000;

/// The record that a run stores for the next run: the capacity that it wanted, and the values that runs set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The time of the run.
    pub at: Timestamp,
    /// The capacity that the run wanted.
    pub wanted: Capacity,
    /// The values that runs set for the provisioned concurrency, by the name of the function.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, LastSet>,
}

impl Record {
    /// Records that Lambda has accepted `units` of provisioned concurrency for `function`.
    pub fn accepted(&mut self, function: &str, units: u32) {
        let last_set = LastSet::of([units]);
        self.set.insert(function.to_owned(), last_set);
    }
}

/// A warning of a run for operators.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// Not all provisioned concurrency can be ready when the next drop opens.
    LateConcurrency {
        /// The drop that opens next.
        drop: DropId,
        /// The number of units that are missing now.
        missing: u32,
        /// The number of missing units that can be ready in time.
        in_time: u32,
        /// The share of the needed units that will be ready, for the function that lacks the largest share.
        /// Requests beyond the ready units wait for cold starts, unless fewer shoppers are admitted.
        warm_share: Share,
    },
    /// A change of the database's class would still be in progress when a drop opens, so the database
    /// stays unchanged.
    LateDatabase {
        /// The drop whose opening is too close.
        drop: DropId,
        /// The time that the change would take, in seconds.
        seconds: u32,
    },
    /// A queue's event source has a setting of another kind than declared. The setting stays unchanged.
    OtherPolling {
        /// The event source, by its name in the baseline.
        source: String,
    },
    /// Another controller changes the provisioned concurrency of the same alias.
    ChangedByOthers {
        /// The function whose alias is changed, by its name in the baseline.
        function: String,
        /// The values that runs set, in units. There are two values while it is unknown whether Lambda
        /// accepted the last change.
        set: BTreeSet<u32>,
        /// The number of units that the run found instead.
        found: u32,
        /// The time at which a run first found another value.
        since: Timestamp,
    },
    /// The database has only one instance, so a change of its class interrupts the database.
    SingleInstance,
}

/// The target of a run that reads `observed` and wants `wanted`, and the run's warnings. `previous` is the
/// record of the run before.
#[must_use]
pub fn target(
    docs: &Documents,
    quotas: &Quotas,
    wanted: &Wanted,
    observed: &Observed,
    previous: Option<&Record>,
    now: Timestamp,
) -> (Target, Vec<Warning>) {
    let last_set = |name: &String| previous.and_then(|record| record.set.get(name));
    let between = LEAST_BETWEEN_RUNS_MS..=MOST_BETWEEN_RUNS_MS;
    let agreeing = previous
        .filter(|r| between.contains(&now.millis_since(r.at)))
        .map(|r| &r.wanted);
    let mut warnings = Vec::new();
    let mut functions = BTreeMap::new();
    for (name, want) in &wanted.capacity.functions {
        let there = observed.function(name).asked;
        let before = agreeing.map(|p| p.function(name));
        let mut to = agreed_concurrency(there, *want, before);
        let found = there.provisioned;
        let changed = last_set(name).and_then(|last| Some((last, last.changed_since(found, now)?)));
        if let Some((last, since)) = changed {
            warnings.push(Warning::ChangedByOthers {
                function: name.clone(),
                set: last.values.clone(),
                found,
                since,
            });
            if now.millis_since(since) < LEFT_TO_OTHERS_MS && to.provisioned < found {
                to = there;
            }
        }
        functions.insert(name.clone(), to);
    }
    limit_to_time(docs, quotas, wanted, observed, now, &mut functions, &mut warnings);

    let tables = wanted.capacity.tables.iter().map(|(name, want)| {
        let there = observed.tables.get(name).copied().unwrap_or_default();
        (name.clone(), want.max(there))
    });
    let mut queues = BTreeMap::new();
    for (name, want) in &wanted.capacity.queues {
        let Some(there) = observed.queues.get(name) else {
            continue;
        };
        let before = agreeing.and_then(|p| p.queues.get(name));
        match agreed_polling(*there, *want, before.copied()) {
            Some(polling) => drop(queues.insert(name.clone(), polling)),
            None => warnings.push(Warning::OtherPolling { source: name.clone() }),
        }
    }
    let target = Target {
        functions,
        database: database(docs, wanted, observed, agreeing, now, &mut warnings),
        tables: tables.collect(),
        queues,
    };
    (target, warnings)
}

/// An increase takes effect immediately. A reduction goes to the larger value of two runs; without a confirming run,
/// nothing is reduced.
fn agreed<T: Ord + Copy>(there: T, want: T, before: Option<T>) -> T {
    want.max(before.map_or(there, |before| before.min(there)))
}

fn agreed_concurrency(there: Concurrency, want: Concurrency, before: Option<Concurrency>) -> Concurrency {
    let provisioned = agreed(there.provisioned, want.provisioned, before.map(|b| b.provisioned));
    let reserved = agreed(there.reserved, want.reserved, before.map(|b| b.reserved));
    Concurrency {
        provisioned,
        reserved: reserved.map(|reserved| reserved.max(provisioned)),
    }
}

/// The polling setting to request; `None` when the event source has a setting of another kind than declared.
fn agreed_polling(there: Polling, want: Polling, before: Option<Polling>) -> Option<Polling> {
    let least = before.and_then(|before| before.merged(there, u32::min));
    want.merged(least.unwrap_or(there), u32::max)
}

/// Limits the increase of provisioned concurrency to the units that Lambda can allocate before the next drop opens,
/// and warns if these are too few: Lambda applies an increase only when all its units are allocated. If no unit can be
/// allocated in time, and no requested value is above its baseline yet, the whole increase is requested, since late
/// capacity is still useful. If no drop has yet to open, nothing is limited.
fn limit_to_time(
    docs: &Documents,
    quotas: &Quotas,
    wanted: &Wanted,
    observed: &Observed,
    now: Timestamp,
    functions: &mut BTreeMap<String, Concurrency>,
    warnings: &mut Vec<Warning>,
) {
    let ahead = wanted.drops.iter().filter(|d| d.window.starts_at > now);
    let Some(next) = ahead.min_by_key(|d| d.window.starts_at) else {
        return;
    };
    let more = |name: &String, to: &Concurrency| {
        to.provisioned
            .saturating_sub(observed.function(name).asked.provisioned)
    };
    let increases: Vec<u32> = functions.iter().map(|(name, to)| more(name, to)).collect();
    let missing = increases.iter().copied().fold(0, u32::saturating_add);
    let lead = &docs.profile.lead;
    let overhead_ms = i64::from(lead.preparation_seconds + lead.verification_seconds) * 1000;
    let left_ms = next.window.starts_at.millis_since(now);
    let left_ms = left_ms.saturating_sub(overhead_ms).max(0);
    let left_seconds = f64::from(u32::try_from(left_ms / 1000).unwrap_or(u32::MAX));
    let allocated = units_down(left_seconds * f64::from(quotas.provisioned_per_minute) / 60.0);
    let in_time = allocated.saturating_sub(observed.allocating());
    if missing <= in_time {
        return;
    }
    let baseline = docs.baseline.capacity();
    let asked_already = (observed.functions.iter())
        .any(|(name, there)| there.asked.provisioned > baseline.function(name).provisioned);
    let is_too_late = in_time == 0 && !asked_already;
    if !is_too_late {
        let parts = share_out(in_time, &increases);
        for ((to, increase), part) in functions.values_mut().zip(&increases).zip(parts) {
            to.provisioned -= increase.saturating_sub(part);
        }
    }
    let warm_shares = functions.iter().map(|(name, to)| {
        let warm = match is_too_late {
            true => observed.function(name).allocated,
            false => to.provisioned,
        };
        let wanted = wanted.capacity.function(name).provisioned;
        Share::of(f64::from(warm), f64::from(wanted))
    });
    warnings.push(Warning::LateConcurrency {
        drop: next.drop.clone(),
        missing,
        in_time,
        warm_share: warm_shares.min().unwrap_or(Share::WHOLE),
    });
}

fn database(
    docs: &Documents,
    wanted: &Wanted,
    observed: &Observed,
    previous: Option<&Capacity>,
    now: Timestamp,
    warnings: &mut Vec<Warning>,
) -> Option<DatabaseSize> {
    let declared = &docs.baseline.database;
    let want = &wanted.capacity.database;
    let there: Vec<DatabaseSize> = match &observed.database {
        ObservedDatabase::Serverless { minimum_acu } => vec![DatabaseSize::MinimumAcu(*minimum_acu)],
        ObservedDatabase::Provisioned { available: false, .. } => return None,
        ObservedDatabase::Provisioned { instances, .. } => {
            let class = |instance: &Instance| DatabaseSize::Class(instance.class.clone());
            instances.iter().map(class).collect()
        }
    };
    if matches!(there.as_slice(), [DatabaseSize::Class(_)]) && there.first() != Some(want) {
        warnings.push(Warning::SingleInstance);
    }
    let largest = there.into_iter().reduce(|a, b| declared.larger(&a, &b))?;
    if declared.rank(want) < declared.rank(&largest) {
        let agreed = declared.larger(want, &previous?.database);
        let down = declared.rank(&agreed) < declared.rank(&largest);
        return (down && !observed.orders_draining).then_some(agreed);
    }
    // A change of class causes a failover, so it must not happen just before or during a drop. An increase of
    // ACU causes no interruption.
    if matches!(want, DatabaseSize::Class(_)) {
        let seconds = database_seconds(docs, observed, want);
        let too_late = |starts_at: Timestamp| starts_at.millis_since(now) < i64::from(seconds) * 1000;
        let late = wanted.drops.iter().find(|d| too_late(d.window.starts_at));
        if let (Some(late), true) = (late, seconds > 0) {
            let drop = late.drop.clone();
            warnings.push(Warning::LateDatabase { drop, seconds });
            return None;
        }
    }
    Some(want.clone())
}
