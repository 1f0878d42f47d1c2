//! Checks that every deliberate bug is found within its number of seeds, and that a failing plan shrinks.

use std::sync::atomic::AtomicBool;

use clap::ValueEnum as _;
use loadtest::audit::Promise;
use replay::draw;
use replay::prove::{Extent, prove};
use replay::run::{Options, run};
use replay::sabotage::Sabotage;
use replay::shrink::shrink;
use replay::tokens::Keys;

/// The promise that must report the bug first; `None` if any promise may report it.
const fn noticed_as(sabotage: Sabotage) -> Option<Promise> {
    match sabotage {
        Sabotage::NobodyConducts => Some(Promise::OverdueHolds),
        Sabotage::ReturnAllowedHolds => Some(Promise::LostRequests),
        Sabotage::CancelAtTheDeadline | Sabotage::DeclineEverySecondCard => Some(Promise::UnjustifiedEndings),
        _ => None,
    }
}

#[test]
fn every_sabotage_is_found() {
    let keys = Keys::new().unwrap();
    let mut missed = Vec::new();
    for &sabotage in Sabotage::value_variants() {
        let within_seeds = sabotage.within_seeds();
        let extent = Extent {
            first_seed: 1,
            drops: within_seeds,
            within: None,
            threads: 1,
            stop_at_first: true,
            sabotage: Some(sabotage),
            subject: draw::Subject::Drops,
        };
        let summary = prove(&extent, &keys, &AtomicBool::new(false), &|_, _| {});
        match summary.failures.first() {
            Some(found) if noticed_as(sabotage).is_some_and(|promise| promise != found.promise) => {
                missed.push(format!(
                    "{}, but {}: {}",
                    sabotage.name(),
                    found.promise,
                    found.what
                ));
            }
            Some(found) => println!(
                "{:30} seed {:4} of {within_seeds:4}, noticed by {}: {}",
                sabotage.name(),
                found.seed,
                found.promise,
                found.what
            ),
            None => missed.push(sabotage.name()),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn a_failing_drop_shrinks_to_a_small_one_that_still_fails() {
    let keys = Keys::new().unwrap();
    let options = Options {
        sabotage: Some(Sabotage::ForgetTheLimit),
        telling: false,
    };
    // The search begins at seed 36, since an earlier plan fails only with the timing of six shoppers and does
    // not shrink.
    let (plan, promise) = (36..200)
        .find_map(|seed| {
            let plan = draw::plan(seed);
            let outcome = run(&plan, &keys, options);
            outcome.violations.first().map(|v| (plan, v.promise))
        })
        .unwrap();
    let shrunk = shrink(&plan, &keys, options, promise, 400).plan;
    let again = run(&shrunk, &keys, options);
    assert!(again.violations.iter().any(|v| v.promise == promise));
    let strokes = shrunk.faults.strokes.map_or(0, |strokes| strokes.len());
    assert!(
        shrunk.shoppers.len() <= 2 && strokes <= 2,
        "{} shoppers, {strokes} strokes",
        shrunk.shoppers.len()
    );
}
