//! Tests one drop without faults, in each mode, and changes that were made by hand.

use capacity::calendar::CalendarDrop;
use capacity::lead::window;
use capacity::observed::{Instance, ObservedDatabase};
use capacity::others::LEFT_TO_OTHERS_MS;
use capacity::steps::Step;
use domain::time::Timestamp;
use prescale::{Mode, RunError};

use crate::support::{World, documents, drop_at, in_minutes, quotas, with_classes};

#[test]
fn it_is_ready_before_the_crowd_and_back_at_the_baseline_afterwards() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    let plan = window(&world.docs, &quotas(), &world.docs.calendar[0]);
    assert!(in_minutes(1) < plan.begins_at && plan.begins_at < in_minutes(38));
    world.until(38);
    let readiness = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert!(readiness.ready && readiness.on_course, "{readiness:#?}");
    assert!(
        readiness.parts.iter().any(|p| p.wanted > 100.0),
        "it was worth it"
    );
    assert!(!world.off_baseline().is_empty());
    world.until(60);
    assert_eq!(world.lowered(plan.begins_at, plan.released_at), vec![]);
    assert_eq!(world.off_baseline(), vec![]);
    assert!(
        world
            .account
            .changes()
            .iter()
            .all(|(at, _)| plan.begins_at <= *at)
    );
}

#[test]
fn every_change_is_on_record_with_how_it_went() {
    // Too few shoppers for more warm throughput: until a table is warm, each run requests it again and is refused.
    let drop = CalendarDrop {
        shoppers: 40_000,
        ..drop_at("a", 40)
    };
    let mut world = World::new(documents(vec![drop]));
    world.until(60);
    let audited = world.account.audited();
    let steps: Vec<Step> = audited.iter().map(|change| change.step.clone()).collect();
    let made: Vec<Step> = world
        .account
        .changes()
        .into_iter()
        .map(|(_, step)| step)
        .collect();
    assert_eq!(steps, made);
    assert!(audited.iter().all(|change| matches!(change.outcome, Some(Ok(_)))));
}

#[test]
fn applying_twice_changes_nothing() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    for minute in 1..60 {
        world.until(minute);
        world.run(Mode::Apply).unwrap().unwrap();
        let made = world.account.changes().len();
        let before = world.observed();
        world.run(Mode::Apply).unwrap().unwrap();
        assert_eq!(world.account.changes().len(), made, "minute {minute}");
        assert_eq!(world.observed().functions, before.functions);
    }
}

#[test]
fn plan_and_verify_change_nothing() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.until(30);
    let made = world.account.changes();
    let plan = world.run(Mode::Plan).unwrap().unwrap();
    assert_eq!(plan.plans.len(), 1);
    let verified = world.run(Mode::Verify).unwrap().unwrap();
    assert_eq!(verified.readiness.len(), 1);
    assert_eq!(world.account.changes(), made);
}

#[test]
fn restore_goes_back_at_once_but_not_while_a_drop_is_on() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.until(41);
    let refused = world.run(Mode::Restore).unwrap();
    assert_eq!(refused, Err(RunError::DropIsOn("a".parse().unwrap())));
    world.account.declare(|docs| docs.calendar.clear());
    world.runtime.advance(60_000);
    world.run(Mode::Restore).unwrap().unwrap();
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn what_was_changed_by_hand_goes_back_to_what_is_declared() {
    let mut world = World::new(documents(vec![]));
    world.until(3);
    let function = "reserve".to_owned();
    world.account.change_by_others(&Step::Provision {
        function,
        from: 0,
        to: 77,
    });
    world
        .account
        .change_by_others(&Step::SetMinimumAcu { from: 2.0, to: 9.0 });
    world.until(6);
    let left: Vec<_> = world.off_baseline().iter().map(|step| step.thing().0).collect();
    assert_eq!(
        left,
        ["function"],
        "what another controller raised is left for a while"
    );
    world.until(6 + LEFT_TO_OTHERS_MS / 60_000);
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn instances_that_read_are_changed_first_and_every_step_is_waited_for() {
    let mut world = World::new(with_classes(documents(vec![drop_at("a", 60)])));
    let writer = |world: &World| match world.observed().database {
        ObservedDatabase::Provisioned { instances, .. } => {
            instances.into_iter().find(|i: &Instance| i.writer).unwrap().name
        }
        ObservedDatabase::Serverless { .. } => panic!("not this kind"),
    };
    world.until(58);
    let steps: Vec<(Timestamp, Step)> = (world.account.changes().into_iter())
        .filter(|(_, step)| step.thing().0 == "database")
        .collect();
    let changed: Vec<&str> = (steps.iter())
        .map(|(_, step)| match step {
            Step::ChangeClass {
                instance,
                interrupts: false,
                ..
            } => instance.as_str(),
            Step::FailOver { .. } => "fail over",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(changed, ["two", "three", "fail over", "one"]);
    assert!(steps.is_sorted_by_key(|(at, _)| *at));
    assert_ne!(writer(&world), "one");
    let ready = world.account.readiness_of(&"a".parse().unwrap()).unwrap();
    assert!(ready.ready, "{ready:#?}");
    world.until(100);
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn the_kept_events_ask_for_their_modes() {
    let mode = |text: &str| serde_json::from_str::<prescale::Event>(text).unwrap().mode;
    for (event, expected) in [
        (include_str!("../../events/plan.json"), Mode::Plan),
        (include_str!("../../events/apply.json"), Mode::Apply),
        (include_str!("../../events/verify.json"), Mode::Verify),
        (include_str!("../../events/restore.json"), Mode::Restore),
    ] {
        assert_eq!(mode(event), expected);
    }
}
