//! Tests of learning from measured drops: cases computed by hand, and properties for every profile and drop.

use std::collections::BTreeMap;

use capacity::learn::{Number, Pace, calibrate, evidence, gaps, largest, numbers, update};
use capacity::measured::{FunctionMeasured, Measured, QueueMeasured, TableMeasured};
use capacity::phase::Phase;
use capacity::profile::{ByPhase, CapacityProfile, Per, Through};
use proptest::prelude::*;

use crate::support::{documents, plenty, reference, small};

/// The tolerance for the rounding of numbers to four digits, of shares, and of requests to whole numbers.
const CLOSE: f64 = 0.005;

fn profile() -> CapacityProfile {
    documents(vec![]).profile
}

fn whole(count: f64) -> u64 {
    format!("{count:.0}").parse().unwrap()
}

/// The load that a drop causes by the numbers of `profile`, if all its units are sold.
fn caused(profile: &CapacityProfile, shoppers: u32, units: u32) -> Measured {
    let mut functions = Vec::new();
    let mut requests: BTreeMap<&str, f64> = BTreeMap::new();
    for group in &profile.groups {
        let count = f64::from(match group.per {
            Per::Shopper => shoppers,
            Per::Unit => units,
        });
        let whole_drop: f64 = group.weight.all().iter().sum();
        requests.insert(&group.name, whole_drop * count);
        for (share, part) in group.parts() {
            let mut invocations = ByPhase::each(|phase| whole(group.weight.of(phase) * part * count));
            if group.through == Through::Events {
                // Requests over queues arrive when they arrive: here a third of them before the end of
                // the drop.
                let early = invocations.tail / 3;
                invocations.sale += early;
                invocations.tail -= early;
            }
            functions.push(FunctionMeasured {
                function: share.function.clone(),
                invocations: Some(invocations),
                p95_ms: Some(share.p95_ms),
                mean_ms: Some(share.mean_ms),
            });
        }
    }
    let tables = profile.tables.iter().map(|table| TableMeasured {
        table: table.table.clone(),
        write_units: Some(table.write_units_per_unit * f64::from(units)),
        read_units: Some(
            (table.read_units_per_request.iter())
                .map(|(group, each)| each * requests[group.as_str()])
                .sum(),
        ),
        read_units_by_function: None,
    });
    let queues = profile.queues.iter().map(|queue| QueueMeasured {
        source: queue.source.clone(),
        messages: Some(whole(queue.messages_per_unit * f64::from(units))),
        handling_p95_ms: Some(queue.handling_ms),
    });
    Measured {
        source: "computed from a profile".to_owned(),
        drop: "spike".parse().unwrap(),
        shoppers,
        units,
        sold: Some(units),
        seconds: ByPhase {
            before: 600.0,
            opening: 60.0,
            sale: 3_540.0,
            tail: 125.0,
        },
        functions,
        tables: tables.collect(),
        queues: queues.collect(),
        ledger_rows: Some(whole(profile.database.rows_per_unit * f64::from(units))),
    }
}

fn function<'a>(measured: &'a mut Measured, name: &str) -> &'a mut FunctionMeasured {
    measured
        .functions
        .iter_mut()
        .find(|f| f.function == name)
        .unwrap()
}

fn close(one: f64, other: f64, tolerance: f64) -> bool {
    (one - other).abs() <= tolerance * one.abs().max(other.abs()).max(1e-9)
}

fn weight(group: &str, phase: Phase) -> Number {
    Number::Weight {
        group: group.to_owned(),
        phase,
    }
}

fn check(profile: &CapacityProfile) {
    let mut docs = documents(vec![]);
    docs.profile = profile.clone();
    assert_eq!(docs.mistakes(&plenty()), vec![]);
}

/// The load of 1,000 shoppers and 100 units, of which 80 are sold.
fn by_hand() -> Measured {
    let mut measured = caused(&profile(), 1_000, 100);
    measured.sold = Some(80);
    function(&mut measured, "reserve").invocations = Some(ByPhase {
        before: 50,
        opening: 6_000,
        sale: 500,
        tail: 0,
    });
    let order = |opening, sale, tail| {
        Some(ByPhase {
            before: 0,
            opening,
            sale,
            tail,
        })
    };
    function(&mut measured, "checkout").invocations = order(80, 20, 0);
    function(&mut measured, "get-order").invocations = order(160, 120, 20);
    function(&mut measured, "process-order").invocations = order(100, 60, 40);
    function(&mut measured, "process-order").p95_ms = Some(640.0);
    measured.tables[0].write_units = Some(480.0);
    measured.tables[0].read_units_by_function = Some(BTreeMap::from([("reserve".to_owned(), 655.0)]));
    measured.queues[0].messages = Some(160);
    measured.ledger_rows = Some(400);
    measured
}

#[test]
fn one_run_by_hand() {
    let found = evidence(&profile(), &by_hand());
    let of = |number: Number| found.get(&number).copied();
    // 1,000 shoppers send 6,000 requests.
    assert_eq!(of(weight("buy", Phase::Opening)), Some(6.0));
    assert_eq!(of(weight("buy", Phase::Before)), Some(0.05));
    // 80 + 160 requests belong to 80 sold units.
    assert_eq!(of(weight("order", Phase::Opening)), Some(3.0));
    // All 200 requests arrive over queues, so they count in the tail.
    assert_eq!(of(weight("settle", Phase::Tail)), Some(2.5));
    assert_eq!(of(weight("settle", Phase::Opening)), Some(0.0));
    // The function serves 100 of the group's 400 requests.
    let part = |function: &str| {
        of(Number::Part {
            function: function.to_owned(),
        })
    };
    assert_eq!(part("checkout"), Some(0.25));
    assert_eq!(part("get-order"), Some(0.75));
    let stock = || "stock".to_owned();
    assert_eq!(of(Number::WriteUnits { table: stock() }), Some(6.0));
    // 6,550 requests read 655 units.
    let buy = "buy".to_owned();
    assert_eq!(
        of(Number::ReadUnits {
            table: stock(),
            group: buy
        }),
        Some(0.1)
    );
    let source = "payments".to_owned();
    assert_eq!(of(Number::Messages { source }), Some(2.0));
    assert_eq!(of(Number::Rows), Some(5.0));
}

#[test]
fn calibrating_takes_the_median_of_runs_and_the_largest_percentile() {
    let run = |opening: u64, p95_ms: f64| {
        let mut run = by_hand();
        let reserve = function(&mut run, "reserve");
        reserve.invocations.as_mut().unwrap().opening = opening;
        reserve.p95_ms = Some(p95_ms);
        run
    };
    let runs = [run(5_000, 33.0), run(9_000, 21.0), run(6_000, 20.0)];
    let calibrated = calibrate(&profile(), &runs);
    check(&calibrated.profile);
    let found = |name: &str| {
        let found = calibrated.spread.iter().find(|s| s.number == name);
        found
            .map(|s| (s.old, s.new, s.least, s.median, s.largest, s.runs))
            .unwrap()
    };
    assert_eq!(
        found("group.buy.weight.opening"),
        (Some(8.0), 6.0, 5.0, 6.0, 9.0, 3)
    );
    assert_eq!(
        found("function.reserve.p95_ms"),
        (Some(20.0), 33.0, 20.0, 21.0, 33.0, 3)
    );
    assert_eq!(calibrated.kept, Vec::<String>::new());
    assert!(calibrated.profile.source.starts_with("measured: computed"));
    // Headroom and lead times are set by hand, so a calibration keeps them.
    assert_eq!(
        calibrated.profile.groups[1].headroom,
        profile().groups[1].headroom
    );
    assert_eq!(calibrated.profile.lead, profile().lead);
    // The shares keep their sum of 10: they become 2.5 and 7.5.
    let shares: Vec<f64> = calibrated.profile.groups[2]
        .functions
        .iter()
        .map(|f| f.share)
        .collect();
    assert_eq!(shares, [2.5, 7.5]);
}

#[test]
fn what_was_not_measured_stays_and_is_named() {
    let mut run = by_hand();
    run.functions.retain(|f| f.function != "get-order");
    run.tables.clear();
    run.ledger_rows = None;
    function(&mut run, "reserve").p95_ms = None;
    let calibrated = calibrate(&profile(), &[run]);
    check(&calibrated.profile);
    let mut kept = calibrated.kept.clone();
    kept.sort();
    assert_eq!(
        kept,
        [
            "database.rows_per_unit",
            "function.checkout.share",
            "function.get-order.mean_ms",
            "function.get-order.p95_ms",
            "function.get-order.share",
            "function.reserve.p95_ms",
            "group.order.weight.before",
            "group.order.weight.opening",
            "group.order.weight.sale",
            "group.order.weight.tail",
            "table.stock.read_units_per_request.buy",
            "table.stock.write_units_per_unit",
        ]
    );
    assert_eq!(calibrated.profile.groups[2].weight, profile().groups[2].weight);
    assert_eq!(calibrated.profile.tables, profile().tables);
    assert!(
        calibrated
            .profile
            .source
            .contains("12 numbers as before: made up for tests")
    );
}

#[test]
fn a_drop_that_says_nothing_changes_nothing() {
    let silent = Measured {
        functions: vec![],
        tables: vec![],
        queues: vec![],
        ledger_rows: None,
        ..by_hand()
    };
    assert_eq!(
        calibrate(&profile(), std::slice::from_ref(&silent)).profile,
        profile()
    );
    assert_eq!(calibrate(&profile(), &[]).profile, profile());
    let updated = update(&profile(), &silent, Pace::default());
    assert_eq!(updated.profile, profile());
    assert_eq!(updated.changes, vec![]);
    assert_eq!(gaps(&profile(), &reference("spike", 10_000), &silent), vec![]);
    assert_eq!(largest(&[]), None);
    // A drop without sales has no evidence for the load of units, and a function with few invocations has
    // none for its percentiles.
    let mut few = by_hand();
    few.sold = Some(0);
    function(&mut few, "checkout").invocations = Some(ByPhase::each(|_| 4));
    let found = evidence(&profile(), &few);
    for silent in [
        weight("order", Phase::Opening),
        Number::Rows,
        Number::P95 {
            function: "checkout".to_owned(),
        },
    ] {
        assert!(!found.contains_key(&silent), "{silent}");
    }
}

#[test]
fn an_opening_without_shoppers_is_no_evidence_that_none_will_come() {
    let mut run = by_hand();
    for name in ["get-drop", "reserve"] {
        function(&mut run, name).invocations.as_mut().unwrap().opening = 0;
    }
    let calibrated = calibrate(&profile(), &[run]);
    check(&calibrated.profile);
    assert_eq!(calibrated.profile.groups[0].weight.opening, 4.0);
    assert!(calibrated.kept.contains(&"group.buy.weight.opening".to_owned()));
}

#[test]
fn runs_that_each_miss_another_groups_shoppers_do_not_make_a_drop_without_any() {
    let only = |name: &str| {
        let mut run = by_hand();
        run.functions.retain(|f| f.function == name);
        function(&mut run, name).invocations.as_mut().unwrap().opening = 0;
        run
    };
    let calibrated = calibrate(&profile(), &[only("get-drop"), only("reserve")]);
    check(&calibrated.profile);
    assert_eq!(calibrated.profile.groups[0].weight.opening, 4.0);
    assert!(
        calibrated
            .kept
            .contains(&"group.browse.weight.opening".to_owned())
    );
    assert!(!calibrated.kept.contains(&"group.browse.weight.sale".to_owned()));
}

#[test]
fn up_at_once_and_down_half_way() {
    let mut drop = by_hand();
    function(&mut drop, "reserve").p95_ms = Some(31.0);
    function(&mut drop, "get-drop").p95_ms = Some(3.0);
    let updated = update(&profile(), &drop, Pace::default());
    check(&updated.profile);
    let of = |name: &str| {
        let change = updated.changes.iter().find(|c| c.number == name).unwrap();
        (change.old, change.seen, change.new, change.held_back)
    };
    assert_eq!(of("function.reserve.p95_ms"), (20.0, 31.0, 31.0, false));
    assert_eq!(of("function.get-drop.p95_ms"), (5.0, 3.0, 4.0, false));
    // The profile planned 8 requests, and the drop had 6.
    assert_eq!(of("group.buy.weight.opening"), (8.0, 6.0, 7.0, false));
    // The part of `checkout` falls half way from 0.3 to 0.25, and the part of `get-order` rises fully from
    // 0.7 to 0.75. The sum is 1.025, so the weights of the group grow by this factor. The weight of the sale
    // falls half way from 4 to 140 ÷ 80, so it becomes (4 + 1.75) ÷ 2 × 1.025, rounded up.
    assert_eq!(of("group.order.weight.sale"), (4.0, 1.75, 2.947, false));
    assert_eq!(
        updated.profile.source,
        "made up for tests; learned from computed from a profile"
    );
    let again = update(&updated.profile, &drop, Pace::default());
    assert_eq!(again.profile.source, updated.profile.source);
}

#[test]
fn a_figure_beyond_belief_moves_a_number_by_its_bound_only() {
    let mut drop = by_hand();
    function(&mut drop, "reserve")
        .invocations
        .as_mut()
        .unwrap()
        .opening = 10_000_000;
    let updated = update(&profile(), &drop, Pace::default());
    assert_eq!(updated.profile.groups[1].weight.opening, 32.0);
    let held: Vec<&str> = (updated.changes.iter())
        .filter(|c| c.held_back)
        .map(|c| c.number.as_str())
        .collect();
    assert_eq!(held, ["group.buy.weight.opening"]);
}

#[test]
fn the_gaps_of_a_drop_by_hand() {
    let profile = profile();
    let planned = small("spike", 10_000);
    // Twice as many shoppers come as planned, and reservations take 200 ms instead of 20 ms.
    let mut came = caused(&profile, 20_000, 100);
    function(&mut came, "reserve").p95_ms = Some(200.0);
    let gaps = gaps(&profile, &planned, &came);
    let of = |what: &str| gaps.iter().find(|g| g.what == what).unwrap();
    // The plan is 10,000 shoppers ÷ 60 s × 8 requests.
    assert!(close(
        of("function.reserve.requests_per_second").planned,
        1_333.333,
        1e-6
    ));
    assert!(close(
        of("function.reserve.requests_per_second").ratio.unwrap(),
        2.0,
        CLOSE
    ));
    assert_eq!(of("function.reserve.p95_ms").ratio, Some(10.0));
    // The plan has 1,333 requests a second at 10 for each unit of concurrency. The drop has 2,667 at 5 for
    // each unit.
    assert!(close(of("function.reserve.concurrency").planned, 133.333, 1e-5));
    assert!(close(of("function.reserve.concurrency").actual, 533.333, CLOSE));
    // A run time below 100 ms does not change the concurrency, so only the number of requests counts.
    assert!(close(
        of("function.get-drop.concurrency").ratio.unwrap(),
        2.0,
        CLOSE
    ));
    assert!(close(
        of("function.process-order.concurrency").ratio.unwrap(),
        1.0,
        CLOSE
    ));
    assert_eq!(of("database.rows").ratio, Some(1.0));
    assert!(close(largest(&gaps).unwrap(), 4.0, CLOSE));
    // For a drop of the planned size, the plan matches the load that the same profile causes.
    let exact = small("spike", 10_000);
    let came = caused(&profile, 10_000, 100);
    assert!(close(
        largest(&super::learning::gaps(&profile, &exact, &came)).unwrap(),
        1.0,
        CLOSE
    ));
}

#[test]
fn a_measured_drops_mistakes_are_named_together() {
    let mut run = by_hand();
    assert_eq!(run.mistakes(), vec![]);
    run.source = " ".to_owned();
    run.shoppers = 0;
    run.sold = Some(101);
    run.seconds.opening = 0.0;
    run.seconds.tail = f64::NAN;
    run.functions[1].function = run.functions[0].function.clone();
    run.functions[0].p95_ms = Some(-1.0);
    run.functions[0].invocations.as_mut().unwrap().sale = u64::MAX;
    run.tables[0].write_units = Some(f64::INFINITY);
    run.queues[0].source = "no name".to_owned();
    let fields: Vec<String> = run.mistakes().into_iter().map(|m| m.field).collect();
    assert_eq!(
        fields,
        [
            "source",
            "shoppers",
            "sold",
            "seconds.tail",
            "seconds.opening",
            "function[0].p95_ms",
            "function[0].invocations.sale",
            "function[1].function",
            "table[0].write_units",
            "queue[0].source",
        ]
    );
}

#[test]
fn a_measured_drop_is_read_as_it_was_written_and_nothing_unknown_is() {
    let run = by_hand();
    let text = serde_json::to_string(&run).unwrap();
    let read: Measured = serde_json::from_str(&text).unwrap();
    assert_eq!(read, run);
    let odd = text.replacen("\"shoppers\"", "\"visitors\":1,\"shoppers\"", 1);
    assert!(serde_json::from_str::<Measured>(&odd).is_err());
}

fn profiles() -> impl Strategy<Value = CapacityProfile> {
    let weights = proptest::collection::vec(0.05f64..20.0, 16);
    let times = proptest::collection::vec(0.1f64..5_000.0, 12);
    // The shares are not so small that the smallest allowed part of a function replaces them.
    let rest = proptest::collection::vec(0.1f64..50.0, 12);
    (weights, times, rest).prop_map(|(weights, times, rest)| {
        let mut profile = profile();
        let mut weights = weights.into_iter();
        let mut times = times.into_iter();
        let mut rest = rest.into_iter();
        for group in &mut profile.groups {
            group.weight = ByPhase::each(|_| weights.next().unwrap());
            if group.through == Through::Events {
                group.weight = ByPhase::each(|phase| match phase {
                    Phase::Tail => group.weight.tail,
                    _ => 0.0,
                });
            }
            for function in &mut group.functions {
                function.p95_ms = times.next().unwrap();
                function.mean_ms = times.next().unwrap();
                function.share = rest.next().unwrap();
            }
        }
        profile.tables[0].write_units_per_unit = rest.next().unwrap();
        profile.tables[0]
            .read_units_per_request
            .insert("buy".to_owned(), rest.next().unwrap());
        for queue in &mut profile.queues {
            queue.messages_per_unit = rest.next().unwrap();
            queue.handling_ms = times.next().unwrap();
        }
        profile.database.rows_per_unit = rest.next().unwrap();
        profile
    })
}

/// Any measurements that are valid, including implausible ones and missing ones.
fn drops() -> impl Strategy<Value = Measured> {
    let count = || prop_oneof![1 => Just(0u64), 4 => 0u64..100_000, 1 => 0u64..1_000_000_000_000];
    let ms =
        || proptest::option::of(prop_oneof![1 => Just(0.0), 4 => 0.0f64..2_000.0, 1 => 0.0f64..900_000.0]);
    let phases = move || {
        proptest::option::of((count(), count(), count(), count()).prop_map(
            |(before, opening, sale, tail)| ByPhase {
                before,
                opening,
                sale,
                tail,
            },
        ))
    };
    let functions = proptest::collection::vec((phases(), ms(), ms(), any::<bool>()), 5);
    let crowd = (1u32..1_000_000, 1u32..20_000, proptest::option::of(0u32..20_000));
    let amounts = proptest::collection::vec(proptest::option::of(0.0f64..1e12), 4);
    (functions, crowd, amounts, count(), ms()).prop_map(|(functions, crowd, amounts, messages, handling)| {
        let names = ["get-drop", "reserve", "checkout", "get-order", "process-order"];
        let functions = names.iter().zip(functions).filter(|(_, f)| f.3);
        let by_function =
            |units: Option<f64>| units.map(|units| BTreeMap::from([("reserve".to_owned(), units)]));
        Measured {
            functions: functions
                .map(|(name, (invocations, p95_ms, mean_ms, _))| FunctionMeasured {
                    function: (*name).to_owned(),
                    invocations,
                    p95_ms,
                    mean_ms,
                })
                .collect(),
            shoppers: crowd.0,
            units: crowd.1,
            sold: crowd.2.map(|sold| sold.min(crowd.1)),
            tables: vec![TableMeasured {
                table: "stock".to_owned(),
                write_units: amounts[0],
                read_units: amounts[1],
                read_units_by_function: by_function(amounts[2]),
            }],
            queues: vec![QueueMeasured {
                source: "payments".to_owned(),
                messages: Some(messages),
                handling_p95_ms: handling,
            }],
            ledger_rows: amounts[3].map(whole),
            ..by_hand()
        }
    })
}

/// The requests of each function for each shopper or unit, by phase.
fn loads(profile: &CapacityProfile) -> BTreeMap<(String, Phase), f64> {
    let mut loads = BTreeMap::new();
    for group in &profile.groups {
        for (share, part) in group.parts() {
            for phase in Phase::ALL {
                loads.insert((share.function.clone(), phase), group.weight.of(phase) * part);
            }
        }
    }
    loads
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_a_profile_causes_gives_that_profile_back(causing in profiles(), other in profiles()) {
        let measured = caused(&causing, 50_000_000, 5_000_000);
        prop_assert_eq!(measured.mistakes(), vec![]);
        // The result does not depend on the former profile, except for the division of a table's read units
        // among its readers.
        let calibrated = calibrate(&other, &[measured]);
        prop_assert_eq!(calibrated.kept, Vec::<String>::new());
        let (wanted, found) = (numbers(&causing), numbers(&calibrated.profile));
        for (number, value) in &wanted {
            let tolerance = if matches!(number, Number::Part { .. }) { 2.0 * CLOSE } else { CLOSE };
            prop_assert!(close(found[number], *value, tolerance) || *value < 1e-4, "{}: {} instead of {}", number, found[number], value);
        }
    }

    #[test]
    fn whatever_is_measured_the_profile_stays_one(before in profiles(), drops in proptest::collection::vec(drops(), 1..4)) {
        for drop in &drops {
            prop_assert_eq!(drop.mistakes(), vec![]);
        }
        check(&calibrate(&before, &drops).profile);
        let mut profile = before;
        for drop in &drops {
            profile = update(&profile, drop, Pace::default()).profile;
            check(&profile);
            let gaps = gaps(&profile, &reference("spike", 10_000), drop);
            prop_assert!(gaps.iter().all(|g| g.planned.is_finite() && g.actual.is_finite()));
            prop_assert!(largest(&gaps).is_none_or(|l| l >= 1.0));
        }
    }

    #[test]
    fn after_a_drop_no_function_has_less_than_the_drop_says(before in profiles(), causing in profiles()) {
        let measured = caused(&causing, 50_000_000, 5_000_000);
        let believing = Pace { at_most: f64::INFINITY, ..Pace::default() };
        let profile = update(&before, &measured, believing).profile;
        let (has, needs) = (loads(&profile), loads(&causing));
        for (what, needed) in &needs {
            prop_assert!(has[what] >= needed * (1.0 - CLOSE) - 1e-4, "{:?}: {} of {}", what, has[what], needed);
        }
        let (has, needs) = (numbers(&profile), numbers(&causing));
        for (number, needed) in needs.iter().filter(|(n, _)| !matches!(n, Number::Part { .. })) {
            prop_assert!(has[number] >= needed * (1.0 - CLOSE) - 1e-4, "{}", number);
        }
    }

    #[test]
    fn the_same_drop_again_and_again_is_believed_in_the_end(before in profiles(), causing in profiles()) {
        let measured = caused(&causing, 50_000_000, 5_000_000);
        let mut profile = before;
        for _ in 0..40 {
            profile = update(&profile, &measured, Pace::default()).profile;
        }
        let (wanted, found) = (numbers(&causing), numbers(&profile));
        for (number, value) in &wanted {
            prop_assert!(close(found[number], *value, 2.0 * CLOSE) || *value < 1e-4, "{}: {} instead of {}", number, found[number], value);
        }
    }
}
