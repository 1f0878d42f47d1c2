//! Runs a thousand drops: every promise is kept, every situation occurs, and every history is repeatable.

use std::sync::atomic::AtomicBool;

use replay::draw;
use replay::faults::drawn;
use replay::prove::{Extent, prove};
use replay::run::{Options, run};
use replay::situations;
use replay::tokens::Keys;

const DROPS: u64 = 1_000;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[test]
fn a_thousand_drops_keep_every_promise_and_meet_everything() {
    let keys = Keys::new().unwrap();
    let extent = Extent {
        first_seed: 1,
        drops: DROPS,
        within: None,
        threads: cores(),
        stop_at_first: false,
        sabotage: None,
        subject: draw::Subject::Drops,
    };
    let summary = prove(&extent, &keys, &AtomicBool::new(false), &|_, _| {});
    let replays: Vec<String> = summary
        .failures
        .iter()
        .map(|f| {
            format!(
                "{}: {}\n    target/release/replay --seed {} --shrink",
                f.promise, f.what, f.seed
            )
        })
        .collect();
    assert!(replays.is_empty(), "broken promises:\n{}", replays.join("\n"));
    assert_eq!(summary.drops, DROPS);
    assert_eq!(summary.violations, 0);
    let never: Vec<&str> = situations::ALL
        .into_iter()
        .filter(|situation| !summary.situations.contains_key(situation))
        .collect();
    assert!(never.is_empty(), "never seen: {never:?}");
    let unlisted: Vec<&&str> = summary
        .situations
        .keys()
        .filter(|situation| !situations::ALL.contains(situation))
        .collect();
    assert!(unlisted.is_empty(), "counted and not listed: {unlisted:?}");
    for fault in drawn() {
        assert!(summary.faults[fault.name()] > 0, "{fault} never struck");
    }
}

#[test]
fn orders_keep_every_promise_and_meet_what_drops_do_not() {
    let keys = Keys::new().unwrap();
    let extent = Extent {
        first_seed: 1,
        drops: 150,
        within: None,
        threads: cores(),
        stop_at_first: false,
        sabotage: None,
        subject: draw::Subject::Orders,
    };
    let summary = prove(&extent, &keys, &AtomicBool::new(false), &|_, _| {});
    assert_eq!(summary.failures, []);
    let met = |situation: &&str| summary.situations.contains_key(situation);
    let never: Vec<&str> = situations::OF_ORDERS.into_iter().filter(|s| !met(s)).collect();
    assert!(never.is_empty(), "never seen: {never:?}");
}

#[test]
fn the_same_seed_gives_the_same_history_byte_for_byte() {
    let options = Options {
        sabotage: None,
        telling: true,
    };
    let keys = Keys::new().unwrap();
    for seed in (1..200).step_by(7) {
        // The second run has other keys and another thread, since no history may depend on them.
        let first = run(&draw::plan(seed), &keys, options);
        let second = std::thread::spawn(move || run(&draw::plan(seed), &Keys::new().unwrap(), options))
            .join()
            .unwrap();
        assert!(!first.history.is_empty());
        if first.history != second.history {
            let line = first
                .history
                .lines()
                .zip(second.history.lines())
                .find(|(a, b)| a != b);
            panic!("seed {seed} has two histories: {line:#?}");
        }
        assert_eq!(first.steps, second.steps);
    }
}

#[test]
fn a_plan_survives_its_file_and_naming_its_strokes() {
    let keys = Keys::new().unwrap();
    let options = Options {
        sabotage: None,
        telling: true,
    };
    for seed in [3, 17, 42, 99, 123] {
        let plan = draw::plan(seed);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<replay::plan::Plan>(&text).unwrap(), plan);
        let drawn = run(&plan, &keys, options);
        let mut named = plan.clone();
        named.faults.strokes = Some(drawn.strokes.clone());
        let again = run(&named, &keys, options);
        assert_eq!(
            drawn.history, again.history,
            "seed {seed}: strokes by name are the same strokes"
        );
    }
}
