//! Computes demand: the rates in the busiest second of a drop, and of drops with overlapping surges.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calendar::{CalendarDrop, Pace};
use super::documents::Documents;
use super::numbers::Share;
use super::profile::{ByPhase, Group, Through};

/// The number of phases: before, opening, sale and tail.
const PHASES: usize = 4;

/// The rates at which a table's units are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct UnitRates {
    /// The write units a second.
    pub write: f64,
    /// The read units a second.
    pub read: f64,
}

/// The rates in the busiest second of a drop. Each rate is that of its own busiest second.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Demand {
    /// Requests a second, by the name of the group.
    pub group_rps: BTreeMap<String, f64>,
    /// Requests a second through the API, over all groups in the same second.
    pub api_rps: f64,
    /// The unit rates, by the name of the table.
    pub tables: BTreeMap<String, UnitRates>,
    /// The number of sold units a second that must be processed, so that all orders are complete at the end
    /// of the tail.
    pub settled_units_per_second: f64,
}

/// The rates of shoppers and units in each phase of a drop.
#[must_use]
pub fn paces(groups: &[Group], drop: &CalendarDrop) -> ByPhase<Pace> {
    let stretches = drop.stretches();
    ByPhase {
        before: drop.pace(stretches.before),
        opening: drop.opening_pace(groups),
        sale: drop.pace(stretches.sale),
        tail: drop.pace(stretches.tail),
    }
}

impl<T: Copy> ByPhase<T> {
    /// The values of the four phases in chronological order.
    pub fn all(self) -> [T; PHASES] {
        [self.before, self.opening, self.sale, self.tail]
    }
}

/// The requests a second of a group in each phase, at the rates `paces`.
#[must_use]
pub fn group_rps(group: &Group, paces: ByPhase<Pace>) -> ByPhase<f64> {
    let w = group.weight;
    ByPhase {
        before: paces.before.rps(group.per, w.before),
        opening: paces.opening.rps(group.per, w.opening),
        sale: paces.sale.rps(group.per, w.sale),
        tail: paces.tail.rps(group.per, w.tail),
    }
}

impl Demand {
    /// The whole demand of one drop.
    #[must_use]
    pub fn of(docs: &Documents, drop: &CalendarDrop) -> Self {
        let paces = paces(&docs.profile.groups, drop);
        let rates: Vec<(&Group, [f64; PHASES])> = docs
            .profile
            .groups
            .iter()
            .map(|g| (g, group_rps(g, paces).all()))
            .collect();
        let busiest = |rates: &[f64; PHASES]| rates.iter().copied().fold(0.0, f64::max);
        let mut demand = Self {
            group_rps: rates.iter().map(|(g, r)| (g.name.clone(), busiest(r))).collect(),
            settled_units_per_second: f64::from(drop.units) / f64::from(drop.tail.seconds.max(1)),
            ..Self::default()
        };
        for phase in 0..PHASES {
            let rate = |r: &[f64; PHASES]| r.get(phase).copied().unwrap_or(0.0);
            let api = rates.iter().filter(|(g, _)| g.through == Through::Api);
            let api_rps: f64 = api.map(|(_, r)| rate(r)).sum();
            demand.api_rps = demand.api_rps.max(api_rps);
            for table in &docs.profile.tables {
                let reads = rates.iter().map(|(g, r)| {
                    table.read_units_per_request.get(&g.name).copied().unwrap_or(0.0) * rate(r)
                });
                let read: f64 = reads.sum();
                let entry = demand.tables.entry(table.table.clone()).or_default();
                entry.read = entry.read.max(read);
                entry.write = entry
                    .write
                    .max(table.write_units_per_unit * paces.opening.units_per_second);
            }
        }
        demand
    }

    /// The sum of both demands, for drops with overlapping surges.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            group_rps: merge(&self.group_rps, &other.group_rps, |a, b| a + b),
            api_rps: self.api_rps + other.api_rps,
            tables: merge(&self.tables, &other.tables, |a, b| UnitRates {
                write: a.write + b.write,
                read: a.read + b.read,
            }),
            settled_units_per_second: self.settled_units_per_second + other.settled_units_per_second,
        }
    }

    /// The larger of both demands in each part, for drops without overlapping surges.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self {
            group_rps: merge(&self.group_rps, &other.group_rps, f64::max),
            api_rps: self.api_rps.max(other.api_rps),
            tables: merge(&self.tables, &other.tables, |a, b| UnitRates {
                write: a.write.max(b.write),
                read: a.read.max(b.read),
            }),
            settled_units_per_second: self.settled_units_per_second.max(other.settled_units_per_second),
        }
    }

    /// The demand of one drop if only `share` of it is admitted. The units are then sold over a longer time,
    /// so the queues' messages are processed over this time and the tail.
    #[must_use]
    pub fn at(docs: &Documents, drop: &CalendarDrop, share: Share) -> Self {
        let whole = Self::of(docs, drop);
        let factor = share.factor();
        let sold = f64::from(drop.sold_within_seconds.max(1));
        let tail = f64::from(drop.tail.seconds.max(1));
        // The settled rate falls by the factor tail ÷ (tail + sold ÷ share - sold). This form does not divide
        // by a share of zero.
        let settling = factor * tail / (tail * factor + sold * (1.0 - factor));
        let mut group_rps = whole.group_rps;
        for group in &docs.profile.groups {
            let slower = match group.through {
                Through::Api => factor,
                Through::Events => settling,
            };
            group_rps
                .entry(group.name.clone())
                .and_modify(|rps| *rps *= slower);
        }
        let mut tables = whole.tables;
        for rates in tables.values_mut() {
            *rates = UnitRates {
                write: rates.write * factor,
                read: rates.read * factor,
            };
        }
        Self {
            group_rps,
            api_rps: whole.api_rps * factor,
            tables,
            settled_units_per_second: whole.settled_units_per_second * settling,
        }
    }

    /// The demand of several drops together: in each part the sum where surges overlap, otherwise the largest
    /// value. Surges overlap when the arrivals of one drop begin before the surge of another drop has ended.
    #[must_use]
    pub fn of_all(each: &[(&CalendarDrop, Self)]) -> Self {
        let mut most = Self::default();
        for (first, _) in each {
            let moment = first.gathers_at();
            let together = each
                .iter()
                .filter(|(d, _)| d.gathers_at() <= moment && moment < d.rush_ends_at());
            let sum = together.fold(Self::default(), |sum, (_, demand)| sum.plus(demand));
            most = most.max(&sum);
        }
        most
    }
}

fn merge<T: Copy + Default>(
    one: &BTreeMap<String, T>,
    other: &BTreeMap<String, T>,
    both: impl Fn(T, T) -> T,
) -> BTreeMap<String, T> {
    let mut merged = one.clone();
    for (name, value) in other {
        let mine = merged.entry(name.clone()).or_default();
        *mine = both(*mine, *value);
    }
    merged
}
