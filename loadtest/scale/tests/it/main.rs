//! Tests small runs of the model, with as many shoppers as a test has time for.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::Path;

use prescale_plan::documents::Files;
use scale::report::Report;
use scale::run::run;
use scale::settings::OldDesign;
use scale::settings::{LIMITS, Lifted, Settings, Shape, TIMES, capacity};

fn settings(shoppers: u32, units: u32) -> Settings {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/prescale");
    let files = Files {
        quotas: Some(folder.join("quotas-raised.toml")),
        folder,
        ..Files::default()
    };
    Settings {
        seed: 1,
        shape: Shape::Steep,
        drop: None,
        shoppers,
        expects: shoppers,
        units,
        skus: 2,
        cdn: false,
        lifted: Vec::new(),
        design: None,
        seconds: None,
        hold_seconds: 15,
        payment_seconds: 20,
        open_seconds: 120,
        capacity: capacity(&files, Shape::Steep, shoppers, units, true).unwrap(),
        limits: LIMITS,
        times: TIMES,
    }
}

fn report(settings: &Settings) -> Report {
    run(settings, |_| {}).unwrap()
}

fn text(report: &Report) -> String {
    serde_json::to_string(report).unwrap()
}

#[test]
fn the_same_settings_give_the_same_report() {
    let mut settings = settings(1_500, 60);
    let first = text(&report(&settings));
    assert_eq!(first, text(&report(&settings)));
    settings.seed = 2;
    assert_ne!(first, text(&report(&settings)));
}

#[test]
fn a_small_spike_is_served_in_full_and_sold_out() {
    let report = report(&settings(20_000, 600));
    assert!(report.findings.kept(), "{:?}", report.findings);
    assert_eq!(report.served_share, Some(1.0), "{:?}", report.first_refusals);
    assert_eq!(report.findings.sold_share, Some(1.0));
    assert!(report.surprises.is_empty(), "{:?}", report.surprises);
    assert_eq!(report.unfinished_shoppers, 0);
    assert!(!report.left_undone);
    assert!((3_000..5_000).contains(&report.peak_rps), "{}", report.peak_rps);
    assert!(
        (2.5..3.2).contains(&report.requests_per_shopper),
        "{}",
        report.requests_per_shopper
    );
    assert!(
        report.partition_use_max > 0.2 && report.partition_use_max < 1.0,
        "{}",
        report.partition_use_max
    );
}

#[test]
fn what_is_missing_refuses_requests_and_breaks_no_promise() {
    let mut settings = settings(3_000, 60);
    settings.capacity.functions.clear();
    settings.capacity.quotas.account_concurrency = 30;
    settings.capacity.quotas.reserved_by_others = 0;
    let few = report(&settings);
    assert!(few.served_share.unwrap() < 0.9, "{:?}", few.served_share);
    assert!(
        few.first_refusals
            .iter()
            .any(|first| first.limit.contains("Account")),
        "{:?}",
        few.first_refusals
    );
    assert_eq!(few.findings.oversold, 0);
    assert_eq!(few.findings.duplicate_charges, 0);
    assert_eq!(few.findings.over_limit_shoppers, 0);
}

#[test]
fn a_limit_that_is_lifted_refuses_nothing() {
    let mut settings = settings(3_000, 60);
    settings.capacity.functions.clear();
    settings.capacity.quotas.account_concurrency = 30;
    settings.lifted = vec![Lifted::Environments];
    assert_eq!(report(&settings).served_share, Some(1.0));
}

#[test]
fn a_cdn_answers_what_everyone_asks() {
    let mut settings = settings(3_000, 60);
    let without = report(&settings);
    settings.cdn = true;
    let with = report(&settings);
    let reads = |report: &Report| {
        let invocations = report
            .functions
            .iter()
            .find(|function| function.function == "get-drop");
        invocations.unwrap().invocations
    };
    assert!(
        reads(&with) * 4 < reads(&without),
        "{} {}",
        reads(&with),
        reads(&without)
    );
    assert!(
        with.seconds
            .iter()
            .map(|second| second.counts.from_cdn)
            .sum::<u64>()
            > 1_000
    );
    assert!(with.findings.kept(), "{:?}", with.findings);
}

#[test]
fn a_former_design_meets_its_own_limit() {
    let mut settings = settings(3_000, 60);
    settings.limits.partition_read_units = 5.0;
    settings.lifted = vec![
        Lifted::Environments,
        Lifted::Purchases,
        Lifted::Orders,
        Lifted::Stock,
        Lifted::Status,
    ];
    for (design, place) in [
        (OldDesign::OneDropItem, Lifted::Drops),
        (OldDesign::FewShards, Lifted::Stock),
        (OldDesign::OneCountsItem, Lifted::Status),
    ] {
        let mut former = settings.clone();
        former.design = Some(design);
        former.lifted.push(Lifted::Drops);
        former.lifted.retain(|lifted| *lifted != place);
        let first = report(&former).first_refusals;
        assert!(first[0].limit.contains("old#"), "{design:?}: {first:?}");
    }
}

#[test]
fn an_invocation_ends_at_its_time_limit_and_breaks_no_promise() {
    let mut settings = settings(500, 60);
    settings.times.write_us = [1_000_000, 12_000_000];
    let slow = report(&settings);
    let reserve = slow.functions.iter().find(|report| report.function == "reserve");
    let timed_out = reserve.unwrap().timed_out;
    assert!(timed_out > 0, "{timed_out}");
    assert!(slow.served_share.unwrap() < 1.0, "{:?}", slow.served_share);
    let found = &slow.findings;
    let broken =
        found.oversold + found.over_limit_shoppers + found.duplicate_orders + found.duplicate_charges;
    assert_eq!(broken, 0, "{found:?}");
}
