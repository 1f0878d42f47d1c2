//! Tests the readiness of a drop, and the actions when it is not ready.

use capacity::calendar::NotReadyPolicy;
use capacity::numbers::Share;
use capacity::observed::Allocation;
use capacity::readiness::{PartKind, Ruling};
use domain::drops::{Drop, FieldError};
use memory::Pace;
use ports::drops::ReadDrop as _;
use ports::runtime::Clock as _;
use prescale::{Mode, RunError};

use crate::support::{World, documents, drive, drop_at, in_minutes};

/// A pace at which provisioned concurrency is not allocated in time.
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
    assert!(!before.ready);
    assert_eq!(before.ruling, Ruling::AsPlanned);
    assert_eq!(before.share, Share::WHOLE);
    world.until(40);
    let at_the_freeze = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert_eq!(at_the_freeze.ruling, Ruling::AdmitFewer);
    assert!(!at_the_freeze.on_course && at_the_freeze.share < Share::WHOLE);
    assert!(at_the_freeze.shoppers_per_second < before.shoppers_per_second);
    world.account.set_pace(Pace::default());
    world.until(45);
    let after = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert!(after.ready, "{after:#?}");
    assert_eq!(after.share, Share::WHOLE, "{after:#?}");
}

fn document(world: &World) -> Drop {
    drive(&world.account, world.drops.drop(&"a".parse().unwrap()))
        .unwrap()
        .unwrap()
        .unwrap()
}

#[test]
fn a_start_that_may_move_is_moved_to_a_whole_minute_and_no_further_than_allowed() {
    for (at_most_seconds, moves) in [(3_600, true), (30, false)] {
        let mut entry = drop_at("a", 40);
        entry.if_not_ready = NotReadyPolicy::MoveStart { at_most_seconds };
        let mut world = World::new(documents(vec![entry.clone()]));
        world.publish(&entry);
        world.account.set_pace(slow());
        let mut moved_to = Vec::new();
        for minute in 37..=60 {
            world.until(minute);
            let starts_at = document(&world).starts_at;
            if moved_to.last().is_some_and(|last| *last != starts_at) || moved_to.is_empty() {
                moved_to.push(starts_at);
            }
        }
        let (first, last) = (moved_to[0], *moved_to.last().unwrap());
        assert_eq!(first, in_minutes(40));
        assert_eq!(last > first, moves, "{moved_to:?}");
        assert!(
            last.as_millis() % 60_000 == 0 && last.millis_since(first) <= i64::from(at_most_seconds) * 1_000
        );
        let drop = document(&world);
        assert_eq!(
            drop.ends_at.millis_since(drop.starts_at),
            300_000,
            "the end moves along"
        );
        let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
        assert_eq!(readiness.share == Share::WHOLE, moves, "{readiness:#?}");
    }
}

#[test]
fn a_start_that_an_operator_moves_is_followed() {
    let entry = drop_at("a", 40);
    let mut world = World::new(documents(vec![entry.clone()]));
    world.publish(&entry);
    world.until(36);
    assert!(!world.off_baseline().is_empty());
    let moved = document(&world)
        .reschedule(in_minutes(80), world.runtime.now())
        .unwrap();
    world.drops.put_drop(&moved);
    world.until(41);
    assert_eq!(world.off_baseline(), vec![], "nothing is held for the old start");
    world.until(79);
    let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert!(readiness.ready, "{readiness:#?}");
    world.drops.put_drop(&moved.cancel().unwrap());
    world.until(83);
    assert_eq!(world.off_baseline(), vec![], "it is called off");
}

#[test]
fn a_function_that_does_not_answer_is_not_ready() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.account.set_silent("checkout", true);
    world.until(38);
    let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    let waits: Vec<_> = readiness.parts.iter().filter(|p| !p.ready).collect();
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0].kind, PartKind::Answer);
    assert_eq!(waits[0].name.as_str(), "checkout");
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
    world.runtime.advance(60_000);
    assert_eq!(
        world.run(Mode::Apply).unwrap(),
        Err(RunError::Mistakes(vec![unreadable]))
    );
    assert_eq!(world.account.changes().len(), made);
}
