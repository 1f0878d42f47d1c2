//! Tests drops that overlap, are cancelled, are moved, or are published late.

use capacity::calendar::{CalendarDrop, CalendarState};
use capacity::lead::window;
use capacity::target::Warning;

use crate::support::{World, documents, drop_at, in_minutes, quotas};

#[test]
fn of_two_that_overlap_the_end_of_one_takes_nothing_from_the_other() {
    let mut world = World::new(documents(vec![drop_at("a", 40), drop_at("b", 46)]));
    let of = |n: usize| window(&world.docs, &quotas(), &world.docs.calendar[n]);
    let (first, last) = (of(0).begins_at, of(1).released_at);
    assert!(of(1).begins_at < of(0).released_at, "they overlap");
    world.until(44);
    let b = world.account.readiness_of(&"b".parse().unwrap()).unwrap();
    assert!(b.ready, "{b:#?}");
    world.until(70);
    assert_eq!(world.lowered(first, last), vec![]);
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn a_cancelled_drop_gives_back_what_was_prepared() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.until(36);
    assert!(!world.off_baseline().is_empty());
    world
        .account
        .declare(|docs| docs.calendar[0].state = CalendarState::Cancelled);
    world.until(39);
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn a_drained_drop_gives_back_early_and_one_with_open_orders_keeps_its_database() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.until(42);
    world.account.set_draining(true);
    world
        .account
        .declare(|docs| docs.calendar[0].state = CalendarState::Drained);
    world.until(45);
    let left = world.off_baseline();
    assert!(left.iter().all(|step| step.thing().0 == "database"), "{left:?}");
    assert!(!left.is_empty());
    world.account.set_draining(false);
    world.until(47);
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn a_moved_drop_is_ready_at_its_new_time() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.until(36);
    world
        .account
        .declare(|docs| docs.calendar = vec![drop_at("a", 80)]);
    world.until(78);
    let ready = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert!(ready.ready && ready.ready_by == in_minutes(78));
    let lowered = world.lowered(in_minutes(36), in_minutes(80));
    assert!(!lowered.is_empty(), "nothing is held between");
    world.until(95);
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn a_published_drop_is_prepared_without_an_entry() {
    let mut world = World::new(documents(vec![]));
    world.publish(&drop_at("a", 40));
    world.until(38);
    let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert!(readiness.ready, "{readiness:#?}");
    assert!(!world.off_baseline().is_empty());
    world.until(60);
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn an_entry_of_the_calendar_replaces_what_follows_from_the_drop() {
    let prepared = |published: bool| {
        let entry = drop_at("a", 40);
        let mut world = World::new(documents(vec![entry.clone()]));
        if published {
            let crowd = CalendarDrop {
                shoppers: 10 * entry.shoppers,
                ..entry
            };
            world.publish(&crowd);
        }
        world.until(38);
        world.observed()
    };
    assert_eq!(prepared(true), prepared(false));
}

#[test]
fn a_published_drop_that_is_open_for_too_long_stops_no_other() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    let long = CalendarDrop {
        ends_at: in_minutes(40 + 31 * 24 * 60),
        ..drop_at("long", 40)
    };
    world.publish(&long);
    world.until(38);
    let ready = |id: &str| {
        world
            .account
            .readiness_of(&id.parse().unwrap())
            .map(|of| of.ready)
    };
    assert_eq!(ready("a"), Some(true));
    assert_eq!(ready("long"), None);
}

#[test]
fn a_drop_published_too_late_gets_what_can_be_had_and_says_so() {
    let mut world = World::new(documents(vec![]));
    world.until(10);
    world
        .account
        .declare(|docs| docs.calendar = vec![drop_at("a", 13)]);
    let first = world.until(11).remove(0).unwrap().unwrap();
    assert!(first.readiness.iter().all(|r| !r.on_course), "{first:#?}");
    assert_eq!(first.metrics("test")["DropsNotOnCourse"], 1);
    let late = |w: &Warning| matches!(w, Warning::LateConcurrency { .. });
    assert!(first.warnings.iter().any(late), "{:#?}", first.warnings);
    world.until(14);
    let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert!(
        readiness.ready,
        "all is there a minute after the opening: {readiness:#?}"
    );
    world.until(40);
    assert_eq!(world.off_baseline(), vec![]);
}
