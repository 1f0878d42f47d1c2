//! Computes demand: the rates in the busiest second of a drop, and of drops with overlapping surges.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calendar::{CalendarDrop, Pace};
use super::documents::Documents;
use super::numbers::Share;
use super::phase::ByPhase;
use super::profile::{Group, TableUse, Through};

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

/// The rate of the busiest phase.
fn busiest(rates: ByPhase<f64>) -> f64 {
    rates.all().into_iter().fold(0.0, f64::max)
}

impl Demand {
    /// The whole demand of one drop.
    #[must_use]
    pub fn of(docs: &Documents, drop: &CalendarDrop) -> Self {
        let groups = &docs.profile.groups;
        let paces = paces(groups, drop);
        let rps =
            |group: &Group| ByPhase::each(|phase| paces.of(phase).rps(group.per, *group.weight.of(phase)));
        let rates: Vec<(&Group, ByPhase<f64>)> = groups.iter().map(|g| (g, rps(g))).collect();
        // The rate over all groups, in which each request of a group counts `each` times.
        let over_groups = |each: &dyn Fn(&Group) -> f64| {
            busiest(ByPhase::each(|phase| {
                let all = rates.iter().map(|(group, rps)| each(group) * rps.of(phase));
                all.sum()
            }))
        };
        let through_api = |group: &Group| match group.through {
            Through::Api => 1.0,
            Through::Events => 0.0,
        };
        let table = |used: &TableUse| UnitRates {
            write: (used.write_units_per_unit * paces.opening.units_per_second).max(0.0),
            read: over_groups(&|group| used.reads(group)),
        };
        let tables = docs.profile.tables.iter();
        Self {
            group_rps: (rates.iter())
                .map(|(group, rps)| (group.name.clone(), busiest(*rps)))
                .collect(),
            api_rps: over_groups(&through_api),
            tables: tables.map(|used| (used.table.clone(), table(used))).collect(),
            settled_units_per_second: f64::from(drop.units) / f64::from(drop.tail.seconds.max(1)),
        }
    }

    /// The demand whose parts `both` computes from those of two demands.
    fn merged(&self, other: &Self, both: fn(f64, f64) -> f64) -> Self {
        let units = |a: UnitRates, b: UnitRates| UnitRates {
            write: both(a.write, b.write),
            read: both(a.read, b.read),
        };
        Self {
            group_rps: merge(&self.group_rps, &other.group_rps, both),
            api_rps: both(self.api_rps, other.api_rps),
            tables: merge(&self.tables, &other.tables, units),
            settled_units_per_second: both(self.settled_units_per_second, other.settled_units_per_second),
        }
    }

    /// The demand of one drop if only `share` of it is admitted. The units are then sold over a longer time,
    /// so the queues' messages are processed over this time and the tail.
    #[must_use]
    pub fn at(docs: &Documents, drop: &CalendarDrop, share: Share) -> Self {
        let factor = share.factor();
        let sold = f64::from(drop.sold_within_seconds.max(1));
        let tail = f64::from(drop.tail.seconds.max(1));
        // The settled rate falls by the factor tail ÷ (tail + sold ÷ share - sold). This form does not divide
        // by a share of zero.
        let settling = factor * tail / (tail * factor + sold * (1.0 - factor));
        let mut demand = Self::of(docs, drop);
        for group in &docs.profile.groups {
            if let Some(rps) = demand.group_rps.get_mut(&group.name) {
                *rps *= match group.through {
                    Through::Api => factor,
                    Through::Events => settling,
                };
            }
        }
        for rates in demand.tables.values_mut() {
            rates.write *= factor;
            rates.read *= factor;
        }
        demand.api_rps *= factor;
        demand.settled_units_per_second *= settling;
        demand
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
            let sum = together.fold(Self::default(), |sum, (_, demand)| {
                sum.merged(demand, |a, b| a + b)
            });
            most = most.merged(&sum, f64::max);
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
