//! Tests properties that hold for every calendar, every account and every history of runs.

use std::collections::BTreeMap;

use capacity::amounts::Capacity;
use capacity::calendar::{CalendarDrop, CalendarState, NotReadyPolicy, Stretch};
use capacity::cost::usd_per_hour;
use capacity::documents::Documents;
use capacity::lead::window;
use capacity::need::warm_most;
use capacity::observed::{Observed, ObservedDatabase};
use capacity::quotas::Quotas;
use capacity::reconcile::reconcile;
use capacity::steps::Step;
use capacity::target::Warning;
use capacity::wanted::wanted;
use domain::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{at, at_baseline, documents, plenty, with_classes};

const RUN_SECONDS: i64 = 60;

fn drops() -> impl Strategy<Value = CalendarDrop> {
    let crowd = (
        1_000u32..2_000_000,
        1u32..20_000,
        proptest::option::of(100u32..300_000),
        1u32..300,
    );
    let shape = (1u32..900, 1u32..300, 1u32..900, 1.0f64..3.0);
    let state = prop_oneof![
        8 => Just(CalendarState::Scheduled),
        1 => Just(CalendarState::Cancelled),
        1 => Just(CalendarState::Drained),
    ];
    (20_000i64..30_000, 300i64..4_000, crowd, shape, state).prop_map(|(starts, open, crowd, shape, state)| {
        let (shoppers, units, peak_rps, sold_within_seconds) = crowd;
        let (before, opening, tail, peak_factor) = shape;
        let stretch = |seconds| Stretch { seconds, peak_factor };
        CalendarDrop {
            id: "d".parse().unwrap(),
            state,
            if_not_ready: NotReadyPolicy::AdmitFewer,
            starts_at: at(starts),
            ends_at: at(starts + open),
            shoppers,
            units,
            peak_rps,
            sold_within_seconds,
            before: stretch(before),
            opening: stretch(opening),
            sale_peak_factor: peak_factor,
            tail: stretch(tail),
        }
    })
}

fn accounts() -> impl Strategy<Value = Quotas> {
    let compute = (
        1_000u32..60_000,
        0u32..500,
        500u32..12_000,
        1_000u32..400_000,
        100u32..50_000,
    );
    let rest = (10_000u32..60_000, 10_000u32..60_000, 50u32..3_000);
    (compute, rest).prop_map(|(compute, rest)| Quotas {
        account_concurrency: compute.0,
        reserved_by_others: compute.1,
        provisioned_per_minute: compute.2,
        api_requests_per_second: compute.3,
        api_burst: compute.4,
        table_write_units: rest.0,
        table_read_units: rest.1,
        gateway_calls_per_second: rest.2,
    })
}

fn worlds() -> impl Strategy<Value = (Documents, Quotas)> {
    let calendar = proptest::collection::vec(drops(), 1..5).prop_map(|mut drops| {
        for (n, drop) in drops.iter_mut().enumerate() {
            drop.id = format!("drop-{n}").parse().unwrap();
        }
        drops
    });
    (calendar, accounts(), any::<bool>(), 1.0f64..300.0, 1.0f64..600.0).prop_map(
        |(calendar, quotas, classes, usd_per_hour, usd_per_drop)| {
            let mut docs = if classes {
                with_classes(calendar)
            } else {
                documents(calendar)
            };
            docs.budget.usd_per_hour = usd_per_hour;
            docs.budget.usd_per_drop = usd_per_drop;
            (docs, quotas)
        },
    )
}

/// Whether `more` is at least as large as `less` in every part.
fn covers(docs: &Documents, more: &Capacity, less: &Capacity) -> bool {
    let rank = |capacity: &Capacity| docs.baseline.database.rank(&capacity.database);
    less.functions
        .iter()
        .all(|(name, less)| more.function(name).max(*less) == more.function(name))
        && less
            .tables
            .iter()
            .all(|(name, less)| more.table(name).max(*less) == more.table(name))
        && less
            .queues
            .iter()
            .all(|(name, less)| more.queues[name].max(*less) == more.queues[name])
        && rank(more) >= rank(less)
}

/// The names of the drops that need capacity at `now`.
fn live(docs: &Documents, quotas: &Quotas, now: Timestamp) -> Vec<String> {
    let mut live: Vec<String> = (wanted(docs, quotas, now).drops.iter())
        .map(|drop| drop.drop.as_str().to_owned())
        .collect();
    live.sort();
    live
}

/// Times shortly before and after each change of a window. A proptest index chooses one of them.
fn moments(docs: &Documents, quotas: &Quotas) -> Vec<Timestamp> {
    let mut moments = Vec::new();
    for drop in &docs.calendar {
        let window = window(docs, quotas, drop);
        for edge in [
            window.begins_at,
            window.ready_by,
            window.starts_at,
            window.ends_at,
            window.released_at,
        ] {
            moments.extend([edge.plus_millis(-1), edge, edge.plus_seconds(7)]);
        }
    }
    moments
}

fn asked(capacity: &Observed) -> Vec<(String, capacity::amounts::Concurrency)> {
    capacity
        .functions
        .iter()
        .map(|(name, f)| (name.clone(), f.asked))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn wanted_capacity_is_within_limits_and_budget_and_covers_the_baseline(world in worlds(), when in any::<Index>()) {
        let (docs, quotas) = world;
        prop_assert_eq!(docs.mistakes(&quotas), vec![]);
        let now = *when.get(&moments(&docs, &quotas));
        let capacity = wanted(&docs, &quotas, now).capacity;
        let baseline = docs.baseline.capacity();
        prop_assert!(covers(&docs, &capacity, &baseline));
        prop_assert!(capacity.concurrency_taken() <= u64::from(quotas.concurrency_for_us()));
        let extra = usd_per_hour(&docs, &capacity) - usd_per_hour(&docs, &baseline);
        prop_assert!(extra <= docs.budget.usd_per_hour, "{} beyond {}", extra, docs.budget.usd_per_hour);
        for (name, warm) in &capacity.tables {
            prop_assert_eq!(warm.max(warm_most(&docs, &quotas, name)), warm_most(&docs, &quotas, name));
        }
        for function in capacity.functions.values() {
            prop_assert!(function.reserved.is_none_or(|reserved| reserved >= function.provisioned));
        }
    }

    #[test]
    fn wanted_capacity_never_falls_while_no_drop_ends(world in worlds(), one in any::<Index>(), other in any::<Index>()) {
        let (docs, quotas) = world;
        let moments = moments(&docs, &quotas);
        let (a, b) = (*one.get(&moments), *other.get(&moments));
        let (earlier, later) = (a.min(b), a.max(b));
        let still = live(&docs, &quotas, later);
        if live(&docs, &quotas, earlier).iter().all(|drop| still.contains(drop)) {
            let before = wanted(&docs, &quotas, earlier).capacity;
            let after = wanted(&docs, &quotas, later).capacity;
            prop_assert!(covers(&docs, &after, &before), "{:?} then {:?}", before, after);
        }
    }

    #[test]
    fn applying_a_plan_twice_changes_nothing(world in worlds(), when in any::<Index>(), recorded in any::<bool>(), allocates in any::<bool>()) {
        let (docs, quotas) = world;
        let now = *when.get(&moments(&docs, &quotas));
        let there = at_baseline(&docs);
        let previous = recorded.then(|| reconcile(&docs, &quotas, &there, None, now.plus_millis(-60_000)).record);
        let first = reconcile(&docs, &quotas, &there, previous.as_ref(), now);
        let mut then = first.steps.iter().fold(there.clone(), Observed::after);
        let late = first.warnings.iter().any(|w| matches!(w, Warning::LateConcurrency { .. }));
        // If time is short, an allocation that takes no time would leave time for more units, so the second
        // run would request more.
        if !allocates || late {
            // The units are requested but not allocated yet.
            for (name, function) in &mut then.functions {
                function.allocated = there.function(name).allocated;
            }
        }
        let second = reconcile(&docs, &quotas, &then, previous.as_ref(), now);
        prop_assert_eq!(second.steps, vec![]);
    }
}

/// For each run, whether it takes place, and how many of its steps it carries out before it dies.
fn luck() -> impl Strategy<Value = Vec<(bool, usize)>> {
    proptest::collection::vec((proptest::bool::weighted(0.9), 0usize..40), 20..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn runs_that_die_anywhere_reach_the_wanted_state_and_then_the_baseline(world in worlds(), luck in luck()) {
        let (docs, quotas) = world;
        let edges = moments(&docs, &quotas);
        let (first, last) = (*edges.iter().min().unwrap(), *edges.iter().max().unwrap());
        let mut there = at_baseline(&docs);
        let mut record = None;
        let mut running = Vec::new();
        let mut floor: BTreeMap<String, u32> = BTreeMap::new();
        let mut now = first.plus_seconds(0);
        let mut lucky = luck.iter().cycle();
        // From 600 s after the last drop on, runs no longer die, so that the final state can be checked.
        let calm = last.plus_seconds(600);
        let end = calm.plus_seconds(20 * 60);
        while now < end {
            let (runs, reaches) = if now < calm { *lucky.next().unwrap() } else { (true, usize::MAX) };
            if runs {
                let decision = reconcile(&docs, &quotas, &there, record.as_ref(), now);
                // A run ends after a step for which the next step must wait.
                for step in decision.steps.iter().take(reaches) {
                    there = there.after(step);
                    if step.is_waited_for() { break; }
                }
                if reaches > decision.steps.len() {
                    record = Some(decision.record);
                }
            }
            let alive = live(&docs, &quotas, now);
            let gone = running.iter().any(|drop| !alive.contains(drop));
            let wants = wanted(&docs, &quotas, now).capacity;
            let mut floors = BTreeMap::new();
            for (name, function) in &there.functions {
                let floor = floor.get(name).copied().unwrap_or(0);
                let provisioned = function.asked.provisioned;
                prop_assert!(gone || provisioned >= floor, "{} fell at {:?}", name, now);
                // Capacity of a drop that has ended may still be reduced, but not the capacity that other
                // drops need.
                floors.insert(name.clone(), provisioned.min(wants.function(name).provisioned));
            }
            (running, floor) = (alive, floors);
            now = now.plus_millis(RUN_SECONDS * 1000);
        }
        let baseline = at_baseline(&docs);
        prop_assert_eq!(asked(&there), asked(&baseline));
        prop_assert_eq!(&there.queues, &baseline.queues);
        match (&there.database, &baseline.database) {
            (ObservedDatabase::Provisioned { instances, .. }, ObservedDatabase::Provisioned { instances: declared, .. }) => {
                let classes = |all: &[capacity::observed::Instance]| -> Vec<(String, String)> {
                    all.iter().map(|i| (i.name.clone(), i.class.clone())).collect()
                };
                prop_assert_eq!(classes(instances), classes(declared));
                prop_assert_eq!(instances.iter().filter(|i| i.writer).count(), 1);
            }
            (there, declared) => prop_assert_eq!(there, declared),
        }
    }

    #[test]
    fn undisturbed_runs_are_ready_at_every_opening_that_was_published_in_time(world in worlds()) {
        let (mut docs, _) = world;
        let quotas = plenty();
        docs.budget.usd_per_hour = 1e6;
        docs.budget.usd_per_drop = 1e6;
        // Another drop may forbid the change of class that the first drop needs, so only the first drop stays
        // on the calendar.
        docs.calendar.truncate(1);
        docs.calendar[0].state = CalendarState::Scheduled;
        let window = window(&docs, &quotas, &docs.calendar[0]);
        let mut there = at_baseline(&docs);
        let mut record = None;
        let mut now = window.begins_at;
        let mut busy_until = now;
        while now <= window.ready_by {
            if now >= busy_until {
                let decision = reconcile(&docs, &quotas, &there, record.as_ref(), now);
                for step in &decision.steps {
                    there = there.after(step);
                    if step.is_waited_for() {
                        let lead = docs.profile.lead;
                        let failover = matches!(step, Step::FailOver { .. });
                        let seconds = if failover { lead.failover_seconds } else { lead.class_seconds };
                        busy_until = now.plus_seconds(seconds);
                        break;
                    }
                }
                record = Some(decision.record);
            }
            now = now.plus_millis(RUN_SECONDS * 1000);
        }
        let decision = reconcile(&docs, &quotas, &there, record.as_ref(), window.ready_by);
        prop_assert_eq!(decision.steps, vec![]);
        prop_assert_eq!(decision.warnings, vec![]);
    }
}
