use super::*;
use crate::facts::{Ended, Facts, Reserved, SkuFacts, UnitCounts};
use crate::measure::Recorder;
use stack_api::{FunctionUse, TableUse};
use std::time::Duration;

const START: i64 = 1_800_000_000_000;

fn drop_facts() -> DropFacts {
    DropFacts {
        drop_id: "d".into(),
        published_at_ms: START - 5_000,
        starts_at_ms: START,
        ends_at_ms: START + 60_000,
        hold_seconds: 15,
        payment_seconds: 25,
        per_shopper_limit: 1,
        skus: vec![SkuFacts {
            sku: "A".into(),
            units: 2,
        }],
    }
}

fn run_facts() -> RunFacts {
    RunFacts {
        drop_file: "tiny".into(),
        title: "Tiny <b>drop</b>".into(),
        seed: 7,
        shoppers: 2,
        drop: drop_facts(),
        machine: Machine {
            cores: 2,
            git_revision: Some("abc".into()),
        },
        duration_s: 30.0,
        drain_s: 2.0,
        left_undone: vec![],
        unfinished: 0,
        surprises: BTreeMap::new(),
        failed_samples: 0,
        faults: FaultReport::default(),
    }
}

fn findings() -> Findings {
    Findings {
        allocated: 2,
        reserved: 2,
        ordered: 2,
        paid: 2,
        sellable: 2,
        sold_share: Some(1.0),
        ..Findings::default()
    }
}

fn measured() -> Measured {
    let recorder = Recorder::default();
    for n in 0..2u16 {
        let at_ms = i32::from(n) * 2_000;
        recorder.arrival(at_ms, Duration::from_millis(1));
        recorder.request(Endpoint::ShowStatus, at_ms, Duration::from_millis(4), "200");
        recorder.request(Endpoint::Reserve, at_ms, Duration::from_millis(9), "201");
    }
    recorder.request(Endpoint::Reserve, 2_000, Duration::from_secs(10), "timeout");
    recorder.finish()
}

fn journal() -> Vec<Entry> {
    let ended = |shopper: &str| {
        Entry::Ended(Ended {
            at_ms: START,
            shopper: shopper.into(),
            sku: "A".into(),
            quantity: 1,
            buys: true,
            ending: Ending::Bought,
        })
    };
    let sampled = |at_ms, sold, held, free| {
        Entry::Sampled(Sampled {
            at_ms,
            skus: vec![UnitCounts {
                free,
                held,
                ordered: 0,
                sold,
            }],
            broken: vec![],
            overdue: BTreeMap::new(),
            expired: vec![],
        })
    };
    vec![
        Entry::Drop(drop_facts()),
        sampled(START - 500, 0, 0, 2),
        sampled(START + 500, 0, 1, 1),
        sampled(START + 1_500, 0, 2, 0),
        sampled(START + 2_500, 2, 0, 0),
        Entry::Reserved(Reserved {
            asked_ms: START,
            at_ms: START,
            shopper: "a".into(),
            sku: "A".into(),
            quantity: 1,
            key: "a-r1".into(),
            reservation_id: "d.A.0.x".into(),
            expires_at_ms: START + 15_000,
            amount_minor: 5,
        }),
        ended("a"),
        ended("b"),
    ]
}

fn usage() -> Usage {
    Usage {
        wcu_per_reservation: Some(1.0),
        wcu_per_rejection: Some(0.0),
        stock_wcu_per_sold_unit: Some(5.0),
        read_units_per_reservation: Some(0.5),
        usd_per_order: Some(0.000_1),
        prices_as_of: "a test".into(),
        functions: vec![FunctionUse {
            function: "reserve".into(),
            route: "POST /drops/{drop_id}/reservations".into(),
            status: 201,
            invocations: 2,
            duration_ms: 8.0,
            tables: BTreeMap::from([(
                "stock".into(),
                TableUse {
                    wcu: 2.0,
                    rcu: 1.0,
                    ..TableUse::default()
                },
            )]),
        }],
        ..Usage::default()
    }
}

fn report() -> Report {
    Report::new(run_facts(), findings(), &measured(), &journal(), usage())
}

#[test]
fn a_clean_run_is_ok_and_has_every_figure() {
    let report = report();
    assert!(report.ok, "{:?}", report.failures);
    let json = serde_json::to_value(&report).unwrap();
    for figure in [
        "seed",
        "shoppers",
        "allocated",
        "reserved",
        "ordered",
        "paid",
        "oversold",
        "undersold",
        "leaked_holds",
        "overdue_holds",
        "over_limit_shoppers",
        "duplicate_orders",
        "duplicate_charges",
        "lost_requests",
        "unjustified_endings",
        "fold_mismatches",
        "endings_by_deadline",
        "sold_share",
        "repeats",
        "double_clicks",
        "offered_rps",
        "achieved_rps",
        "sold_out_after_ms",
        "latency_ms",
        "status_counts",
        "cold_starts",
        "cold_request_share",
        "wcu_per_reservation",
        "wcu_per_rejection",
        "stock_wcu_per_sold_unit",
        "read_units_per_reservation",
        "usd_per_order",
        "dlq_messages",
        "generator_late_ms_p99",
        "inconsistencies",
        "drop_file",
        "duration_s",
        "machine",
    ] {
        assert!(
            json.get(figure).is_some_and(|value| !value.is_null()),
            "{figure} is missing"
        );
    }
    assert!(json.get("repeats_not_found").is_some());
    for percentile in ["p50", "p90", "p99", "p999", "max"] {
        assert!(
            json["latency_ms"]["reserve"][percentile].is_number(),
            "{percentile}"
        );
    }
    assert_eq!(json["status_counts"]["reserve"]["201"], 2);
    assert_eq!(json["sold_out_after_ms"], 1_500);
    assert_eq!(json["all_paid_after_ms"], 2_500);
    assert_eq!(json["endings"]["bought"], 2);
}

#[test]
fn offered_counts_what_was_intended_and_achieved_what_was_answered() {
    let report = report();
    // In the two seconds from the first to the last arrival, five requests are intended and two are answered.
    let (offered, achieved) = (report.rates.offered_rps, report.rates.achieved_rps);
    assert!((offered - 2.5).abs() < 1e-9, "{offered}");
    assert!((achieved - 1.0).abs() < 1e-9, "{achieved}");
}

#[test]
fn every_broken_promise_and_every_void_run_fails() {
    type Change = dyn Fn(&mut RunFacts, &mut Findings, &mut Measured, &mut Vec<Entry>, &mut Usage);
    let with = |change: &Change| {
        let (mut run, mut found, mut measured, mut journal, mut used) =
            (run_facts(), findings(), measured(), journal(), usage());
        change(&mut run, &mut found, &mut measured, &mut journal, &mut used);
        Report::new(run, found, &measured, &journal, used)
    };
    let cases: Vec<(&str, Box<Change>)> = vec![
        ("oversold is 1", Box::new(|_, f, _, _, _| f.oversold = 1)),
        ("undersold is 2", Box::new(|_, f, _, _, _| f.undersold = 2)),
        ("leaked_holds", Box::new(|_, f, _, _, _| f.leaked_holds = 1)),
        ("overdue_holds", Box::new(|_, f, _, _, _| f.overdue_holds = 1)),
        (
            "over_limit_shoppers",
            Box::new(|_, f, _, _, _| f.over_limit_shoppers = 1),
        ),
        (
            "duplicate_orders",
            Box::new(|_, f, _, _, _| f.duplicate_orders = 1),
        ),
        (
            "duplicate_charges",
            Box::new(|_, f, _, _, _| f.duplicate_charges = 1),
        ),
        ("lost_requests", Box::new(|_, f, _, _, _| f.lost_requests = 1)),
        (
            "unjustified_endings",
            Box::new(|_, f, _, _, _| f.unjustified_endings = 1),
        ),
        ("fold_mismatches", Box::new(|_, f, _, _, _| f.fold_mismatches = 1)),
        ("dlq_messages", Box::new(|_, f, _, _, _| f.dlq_messages = 1)),
        (
            "disagree",
            Box::new(|_, f, _, _, _| f.inconsistencies.push("x".into())),
        ),
        (
            "not drained",
            Box::new(|r, _, _, _, _| r.left_undone.push("3 claims".into())),
        ),
        (
            "late",
            Box::new(|_, _, m, _, _| m.late_arrivals_us = vec![25_000; 2]),
        ),
        ("cut short", Box::new(|r, _, _, _, _| r.unfinished = 1)),
        ("1 of 2 shoppers", Box::new(|_, _, _, j, _| drop(j.pop()))),
        (
            "not what the API promises",
            Box::new(|r, _, _, _, _| r.surprises.extend([("418".into(), 1)])),
        ),
        (
            "lateness",
            Box::new(|_, _, m, _, _| m.late_arrivals_us.truncate(1)),
        ),
        (
            "samples",
            Box::new(|_, _, _, j, _| j.retain(|e| !matches!(e, Entry::Sampled(_)))),
        ),
        (
            "wcu_per_reservation",
            Box::new(|_, _, _, _, u| u.wcu_per_reservation = None),
        ),
        ("sold_share", Box::new(|_, f, _, _, _| f.sold_share = None)),
        ("usd_per_order", Box::new(|_, _, _, _, u| u.usd_per_order = None)),
        ("meter's row", Box::new(|_, _, _, _, u| u.functions.clear())),
        ("any reservation", Box::new(|_, f, _, _, _| f.reserved = 0)),
    ];
    for (words, change) in cases {
        let report = with(&*change);
        assert!(!report.ok, "{words}");
        assert!(
            report.failures.iter().any(|f| f.contains(words)),
            "{words}: {:?}",
            report.failures
        );
        assert!(report.summary().contains("FAILED"), "{words}");
    }
}

#[test]
fn the_page_stands_alone_and_shows_everything() {
    let report = report();
    let facts = Facts {
        drop: drop_facts(),
        at_ms: START + 30_000,
        journal: journal(),
        shards: vec![],
        purchases: vec![],
        orders: vec![],
        ledger: vec![],
        money: vec![],
        queues: vec![],
        unreadable: vec![],
        trouble: false,
        gateway_failed_ms: vec![],
        overdue_after_ms: 14_000,
        every_change_sampled: false,
    };
    let page = render(&report, &measured(), &facts);
    for part in [
        "Every promise was kept",
        "Units by state",
        "Arrivals",
        "oversold",
        "prefers-color-scheme",
        "show_status",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.matches("<svg").count() >= 4);
    for axis in [
        "units",
        "shoppers per second",
        "ms (log scale)",
        "seconds since the opening",
    ] {
        assert!(
            page.contains(&format!("{axis}\n</text>")),
            "no axis is named {axis}"
        );
    }
    assert!(!page.contains("could not be drawn"), "a plot failed");
    assert!(page.contains("Tiny &lt;b&gt;drop"), "text is escaped");
    for outside in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page needs {outside}");
    }
}
