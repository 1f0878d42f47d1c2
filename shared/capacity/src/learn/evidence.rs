//! Derives the evidence of one measured drop: the values of the profile's numbers that it implies.

use super::super::measured::{FunctionMeasured, Measured, float};
use super::super::phase::Phase;
use super::super::profile::{ByPhase, CapacityProfile, Group, Per, TableUse, Through};
use super::number::{Number, Numbers};

/// The smallest number of values for a 95th percentile. With fewer values, the percentile is only the
/// largest value.
const LEAST_FOR_P95: u64 = 20;

/// The values that `measured` implies for numbers of `profile`. A number without evidence is absent.
///
/// A group's weights and parts need the invocations of *all* its functions. A drop without sales has no
/// evidence for the load of units. An opening without any shopper's request has no evidence for shoppers'
/// weights there, since a profile without such a weight cannot plan a drop.
#[must_use]
pub fn evidence(profile: &CapacityProfile, measured: &Measured) -> Numbers {
    let mut found = Numbers::new();
    for group in &profile.groups {
        for share in &group.functions {
            let Some(seen) = measured.function(&share.function) else {
                continue;
            };
            if seen.total().is_some_and(|total| total < LEAST_FOR_P95) {
                continue;
            }
            insert(&mut found, Number::p95(share), seen.p95_ms);
            insert(&mut found, Number::mean(share), seen.mean_ms);
        }
        weigh(&mut found, group, measured);
    }
    needs_shoppers(&mut found, profile);
    for table in &profile.tables {
        tabulate(&mut found, profile, table, measured);
    }
    let units = units(measured);
    for queue in &profile.queues {
        let Some(seen) = measured.queue(&queue.source) else {
            continue;
        };
        let source = || queue.source.clone();
        let messages = ratio(seen.messages.map(float), units);
        insert(&mut found, Number::Messages { source: source() }, messages);
        if seen.messages.is_none_or(|messages| messages >= LEAST_FOR_P95) {
            let handling_ms = seen.handling_p95_ms;
            insert(&mut found, Number::Handling { source: source() }, handling_ms);
        }
    }
    let rows = ratio(measured.ledger_rows.map(float), units);
    insert(&mut found, Number::Rows, rows);
    found
}

/// The requests of a group in each phase in which they count: requests that arrive over queues count in the
/// tail. `None` if a function of the group was not measured.
pub(super) fn requests(group: &Group, measured: &Measured) -> Option<ByPhase<f64>> {
    let mut sum = ByPhase::each(|_| 0.0);
    for share in &group.functions {
        let seen = counted(group.through, measured.function(&share.function)?)?;
        for phase in Phase::ALL {
            *sum.of_mut(phase) += seen.of(phase);
        }
    }
    Some(sum)
}

/// The requests of one function in each phase in which they count; `None` if its invocations were
/// not measured.
pub(super) fn counted(through: Through, seen: &FunctionMeasured) -> Option<ByPhase<f64>> {
    let invocations = seen.invocations?;
    Some(match through {
        Through::Api => ByPhase::each(|phase| float(*invocations.of(phase))),
        Through::Events => {
            let total = seen.total().map_or(0.0, float);
            ByPhase::each(|phase| if phase == Phase::Tail { total } else { 0.0 })
        }
    })
}

/// The number of sold units, or of units on sale if sales were not counted; `None` if nothing was sold.
fn units(measured: &Measured) -> Option<f64> {
    let units = f64::from(measured.sold.unwrap_or(measured.units));
    (units > 0.0).then_some(units)
}

fn weigh(found: &mut Numbers, group: &Group, measured: &Measured) {
    let Some(requests) = requests(group, measured) else {
        return;
    };
    let by = match group.per {
        Per::Shopper => Some(f64::from(measured.shoppers)),
        Per::Unit => units(measured),
    };
    for phase in Phase::ALL {
        let weight = ratio(Some(*requests.of(phase)), by);
        insert(found, Number::weight(group, phase), weight);
    }
    let whole: f64 = requests.all().iter().sum();
    if whole <= 0.0 {
        return;
    }
    for share in &group.functions {
        let seen = measured.function(&share.function);
        let total = seen.and_then(FunctionMeasured::total).map(float);
        insert(found, Number::part(share), ratio(total, Some(whole)));
    }
}

/// Removes evidence that would leave no group with shoppers' requests at the opening. The numbers of one drop
/// and the combined numbers of several drops both need this, since one drop may have no browse requests and
/// another no purchases.
pub(super) fn needs_shoppers(found: &mut Numbers, profile: &CapacityProfile) {
    let of_shoppers = || profile.groups.iter().filter(|g| g.per == Per::Shopper);
    let opening = |group: &Group| Number::weight(group, Phase::Opening);
    let some = of_shoppers().any(|g| found.get(&opening(g)).copied().unwrap_or(g.weight.opening) > 0.0);
    if !some {
        for group in of_shoppers() {
            found.remove(&opening(group));
        }
    }
}

fn tabulate(found: &mut Numbers, profile: &CapacityProfile, used: &TableUse, measured: &Measured) {
    let Some(seen) = measured.table(&used.table) else {
        return;
    };
    let (table, written) = (used.table.clone(), ratio(seen.write_units, units(measured)));
    insert(found, Number::WriteUnits { table }, written);
    let reads = |group: &Group| Number::reads(used, &group.name);
    let requested = |group: &Group| {
        let whole: f64 = requests(group, measured)?.all().iter().sum();
        (whole > 0.0).then_some(whole)
    };
    if let Some(by_function) = &seen.read_units_by_function {
        for group in &profile.groups {
            let read: f64 = (group.functions.iter())
                .map(|f| by_function.get(&f.function).copied().unwrap_or(0.0))
                .sum();
            if read > 0.0 || used.read_units_per_request.contains_key(&group.name) {
                insert(found, reads(group), ratio(Some(read), requested(group)));
            }
        }
        return;
    }
    // The readers of the units are unknown, so all readers in the profile are scaled by the same factor.
    let mut expected = 0.0;
    for group in &profile.groups {
        if let Some(units) = used.read_units_per_request.get(&group.name) {
            let Some(requested) = requested(group) else { return };
            expected += units * requested;
        }
    }
    if expected <= 0.0 {
        return;
    }
    for group in &profile.groups {
        if let (Some(units), Some(read)) = (used.read_units_per_request.get(&group.name), seen.read_units) {
            found.insert(reads(group), units * read / expected);
        }
    }
}

fn ratio(amount: Option<f64>, by: Option<f64>) -> Option<f64> {
    Some(amount? / by?)
}

fn insert(found: &mut Numbers, number: Number, value: Option<f64>) {
    if let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) {
        found.insert(number, value);
    }
}
