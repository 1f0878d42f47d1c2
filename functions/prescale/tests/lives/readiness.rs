//! What is said about a drop, and what follows when it is not ready.

use domain::drops::FieldError;
use domain::prescale::calendar::NotReadyPolicy;
use domain::prescale::numbers::Share;
use domain::prescale::observed::Allocation;
use domain::prescale::readiness::{PartKind, Ruling};
use memory::Pace;
use prescale::{Mode, RunError};

use crate::support::{World, documents, drop_at, in_minutes};

/// Allocation so slow that it is not there in time.
fn slow() -> Pace {
    Pace {
        units_per_second: 1,
        ..Pace::default()
    }
}

#[test]
fn not_ready_in_time_fewer_are_admitted_until_all_is_there() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.account.set_pace(slow());
    world.until(36);
    let before = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert_eq!((before.ready, before.ruling), (false, Ruling::AsPlanned));
    assert_eq!(before.share, Share::WHOLE);
    world.until(40);
    let at_the_freeze = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert_eq!(at_the_freeze.ruling, Ruling::AdmitFewer);
    assert!(!at_the_freeze.on_course && at_the_freeze.share < Share::WHOLE);
    assert!(at_the_freeze.shoppers_per_second < before.shoppers_per_second);
    world.account.set_pace(Pace::default());
    world.until(45);
    let after = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert_eq!((after.ready, after.share), (true, Share::WHOLE), "{after:#?}");
}

#[test]
fn a_start_that_may_move_is_moved_to_a_whole_minute_and_no_further_than_allowed() {
    for (at_most_seconds, moves) in [(3_600, true), (30, false)] {
        let mut drop = drop_at("a", 40);
        drop.if_not_ready = NotReadyPolicy::MoveStart { at_most_seconds };
        let mut world = World::new(documents(vec![drop]));
        world.account.set_pace(slow());
        world.until(39);
        let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
        match readiness.ruling {
            Ruling::MoveStart { to } => {
                assert!(moves && to > in_minutes(40) && to.as_millis() % 60_000 == 0);
                assert_eq!(readiness.share, Share::WHOLE);
            }
            other => assert!(!moves && other == Ruling::AdmitFewer, "{other:?}"),
        }
    }
}

#[test]
fn a_function_that_does_not_answer_is_not_ready() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.account.set_silent("checkout", true);
    world.until(38);
    let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    let waits: Vec<_> = readiness.parts.iter().filter(|p| !p.ready).collect();
    assert_eq!(waits.len(), 1);
    assert_eq!(
        (waits[0].kind, waits[0].name.as_str()),
        (PartKind::Answer, "checkout")
    );
}

#[test]
fn an_allocation_that_gives_up_half_way_is_asked_for_again() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.account.fail_allocations(3);
    let mut failed = false;
    for minute in 1..=38 {
        world.until(minute);
        let functions = world.observed().functions;
        failed |= functions.values().any(|f| f.allocation == Allocation::Failed);
    }
    assert!(failed, "it did give up");
    let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert!(readiness.ready, "{readiness:#?}");
}

#[test]
fn spill_over_is_told() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.until(41);
    world.account.set_spill_over("reserve", 12);
    let outcome = world.run(Mode::Verify).unwrap().unwrap();
    assert_eq!(outcome.readiness[0].spill_over, 12);
    assert_eq!(outcome.metrics("test")["SpillOver"], 12);
}

#[test]
fn with_mistakes_in_the_documents_nothing_is_changed_and_all_are_told() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.until(36);
    let made = world.account.changes().len();
    world.account.declare(|docs| {
        docs.budget.usd_per_hour = -1.0;
        docs.calendar[0].units = 0;
    });
    let Err(RunError::Mistakes(mistakes)) = world.run(Mode::Apply).unwrap() else {
        panic!("mistakes")
    };
    assert_eq!(mistakes.len(), 2);
    let unreadable = FieldError {
        field: "profile".to_owned(),
        message: "not TOML".to_owned(),
    };
    world.account.set_mistakes(vec![unreadable.clone()]);
    world.edge.advance(60_000);
    assert_eq!(
        world.run(Mode::Apply).unwrap(),
        Err(RunError::Mistakes(vec![unreadable]))
    );
    assert_eq!(world.account.changes().len(), made);
}
