//! Tests that a finished drop's measurements change the profile exactly once, whichever call fails and whenever a run
//! dies.

use std::pin::pin;

use capacity::learn::{Pace, update};
use capacity::measured::{FunctionMeasured, Measured};
use capacity::profile::{ByPhase, CapacityProfile};
use memory::AccountFault;
use prescale::Mode;

use crate::support::{World, documents, drive, drop_at, in_minutes, invoke, stalls};

/// The minute from which runs learn from the drop. It opens at minute 40, ends at 45 and has drained at 46; its metrics
/// are available ten minutes later.
const DUE: i64 = 56;

fn measured() -> Measured {
    let function = |function: &str, opening, p95_ms| FunctionMeasured {
        function: function.to_owned(),
        invocations: Some(ByPhase {
            before: 0,
            opening,
            sale: 1_000,
            tail: 0,
        }),
        p95_ms: Some(p95_ms),
        mean_ms: None,
    };
    Measured {
        source: "a test".to_owned(),
        drop: "a".parse().unwrap(),
        shoppers: 60_000,
        units: 2_000,
        sold: None,
        seconds: ByPhase::each(|_| 60.0),
        // At the opening each shopper makes 8 requests to get-drop and 4 to reserve. The profile plans 6 of each.
        functions: vec![
            function("get-drop", 480_000, 150.0),
            function("reserve", 240_000, 12.0),
        ],
        tables: vec![],
        queues: vec![],
        ledger_rows: None,
    }
}

fn world() -> World {
    let mut docs = documents(vec![drop_at("a", 40)]);
    docs.profile.learns = true;
    let world = World::new(docs);
    world.account.set_demand(Some(measured()));
    world
}

fn expected(world: &World) -> CapacityProfile {
    update(&world.docs.profile, &measured(), Pace::default()).profile
}

fn holds(world: &World, what: &str) {
    assert_eq!(world.account.declared_profile(), expected(world), "{what}");
    let lesson = world.account.lesson_of(&"a".parse().unwrap());
    assert!(lesson.is_some_and(|lesson| lesson.written), "{what}");
    assert_eq!(world.off_baseline(), vec![], "{what}");
}

#[test]
fn a_drop_that_is_over_changes_the_profile_once_and_tells_how_far_the_plan_was_off() {
    let mut world = world();
    world.until(DUE);
    assert_eq!(
        world.account.declared_profile(),
        world.docs.profile,
        "not before its figures have come"
    );
    let outcome = world.run(Mode::Apply).unwrap().unwrap();
    holds(&world, "once");
    let profile = world.account.declared_profile();
    assert_eq!(profile.groups[0].weight.opening, 8.0, "up at once");
    // The measured weight is 240,000 ÷ 60,000 = 4, the planned weight 8.
    assert_eq!(profile.groups[1].weight.opening, 6.0, "down half way");
    assert_eq!(profile.learned_from, Some("a".parse().unwrap()));
    let lesson = outcome.lesson.clone().unwrap();
    assert_eq!(world.account.lesson_of(&lesson.drop), Some(lesson.clone()));
    let gap = lesson
        .gaps
        .iter()
        .find(|gap| gap.what == "function.get-drop.concurrency")
        .unwrap();
    // There are 8 ÷ 6 times the requests, and each takes 150 ms instead of 100 ms, the least that a plan counts: twice
    // the concurrency.
    assert!((gap.ratio.unwrap() - 2.0).abs() < 1e-9, "{gap:?}");
    let metrics = outcome.metrics("test");
    assert_eq!(metrics["PlanErrorLargest"], lesson.largest.unwrap());
    assert!(metrics["_aws"].to_string().contains("PlanErrorLargest"));
    world.until(DUE + 30);
    holds(&world, "half an hour later");
    let quiet = world.run(Mode::Apply).unwrap().unwrap();
    assert_eq!(quiet.lesson, None);
    assert!(quiet.metrics("test").get("PlanErrorLargest").is_none());
}

#[test]
fn a_profile_that_does_not_learn_is_left_to_its_people() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    world.account.set_demand(Some(measured()));
    world.until(DUE + 5);
    assert_eq!(world.account.declared_profile(), world.docs.profile);
    assert_eq!(world.account.lesson_of(&"a".parse().unwrap()), None);
}

#[test]
fn silent_metrics_change_nothing_and_are_asked_again() {
    let mut world = world();
    world.account.set_demand(None);
    world.until(DUE + 5);
    assert_eq!(world.account.declared_profile(), world.docs.profile);
    assert_eq!(world.account.lesson_of(&"a".parse().unwrap()), None);
    // Measurements without figures for the profile do not count.
    let says_nothing = Measured {
        functions: vec![],
        ..measured()
    };
    world.account.set_demand(Some(says_nothing));
    world.until(DUE + 10);
    assert_eq!(world.account.declared_profile(), world.docs.profile);
    world.account.set_demand(Some(measured()));
    world.until(DUE + 11);
    holds(&world, "late figures");
}

#[test]
fn what_comes_hours_late_is_not_learned_from() {
    let mut world = world();
    world.account.set_demand(None);
    world.until(DUE);
    world.account.set_demand(Some(measured()));
    world.runtime.set(in_minutes(DUE + 6 * 60));
    world.run(Mode::Apply).unwrap().unwrap();
    assert_eq!(world.account.declared_profile(), world.docs.profile);
}

#[test]
fn nothing_is_learned_while_another_drop_is_on() {
    let mut world = world();
    world.until(DUE - 1);
    world
        .account
        .declare(|docs| docs.calendar.push(drop_at("b", DUE + 6)));
    world.until(DUE + 6);
    assert_eq!(
        world.account.declared_profile(),
        world.docs.profile,
        "its preparation has begun"
    );
    let b: domain::ids::DropId = "b".parse().unwrap();
    world.until(DUE + 15);
    let a = world.account.lesson_of(&"a".parse().unwrap());
    assert!(a.is_some_and(|lesson| lesson.written), "once it is over");
    assert_eq!(
        world.account.lesson_of(&b),
        None,
        "its own figures are not there yet"
    );
    world.until(DUE + 40);
    assert!(world.account.lesson_of(&b).is_some_and(|lesson| lesson.written));
    assert_eq!(world.account.declared_profile().learned_from, Some(b));
}

#[test]
fn what_people_write_meanwhile_is_kept_and_learned_from_as_it_then_is() {
    // The run is suspended before it writes, while an engineer declares more headroom.
    for nth in 1.. {
        let mut world = world();
        world.until(DUE);
        world.account.fail_nth(nth, AccountFault::Hangs);
        let mut run = pin!(invoke(
            world.account.clone(),
            world.drops.clone(),
            world.runtime.clone(),
            Mode::Apply,
            1_000
        ));
        assert!(stalls(&world.account, run.as_mut()));
        let (_, method) = world.account.injected()[0];
        if method != "write_profile" {
            continue;
        }
        world
            .account
            .declare(|docs| docs.profile.groups[0].headroom = 2.0);
        world.account.resume();
        let _ = drive(&world.account, run.as_mut()).unwrap();
        let profile = world.account.declared_profile();
        assert_eq!(profile.groups[0].headroom, 2.0);
        assert_eq!(profile.learned_from, None);
        world.until(DUE + 2);
        let mut wanted = expected(&world);
        wanted.groups[0].headroom = 2.0;
        assert_eq!(world.account.declared_profile(), wanted);
        return;
    }
}

#[test]
fn an_old_run_that_wakes_late_does_not_learn_a_second_time() {
    for nth in 1.. {
        let mut world = world();
        world.until(DUE);
        world.account.fail_nth(nth, AccountFault::Hangs);
        let mut old = pin!(invoke(
            world.account.clone(),
            world.drops.clone(),
            world.runtime.clone(),
            Mode::Apply,
            1_000
        ));
        if !stalls(&world.account, old.as_mut()) {
            assert!(nth > 8, "it asks for more than {nth} things");
            return;
        }
        world.runtime.set(in_minutes(DUE + 1));
        world.until(DUE + 4);
        world.account.resume();
        let _ = drive(&world.account, old.as_mut()).unwrap();
        world.until(DUE + 6);
        holds(&world, &format!("asleep in {:?}", world.account.injected()));
    }
}

#[test]
fn whatever_fails_or_dies_on_the_way_it_learns_once() {
    let calls = {
        let mut whole = world();
        whole.until(DUE);
        let before = whole.account.calls();
        whole.run(Mode::Apply).unwrap().unwrap();
        whole.account.calls() - before
    };
    assert!(calls > 8);
    let dying = [AccountFault::DiesBefore, AccountFault::DiesAfter];
    for fault in AccountFault::ANSWERED.into_iter().chain(dying) {
        for nth in 1..=calls {
            let mut world = world();
            world.until(DUE);
            world.account.fail_nth(nth, fault);
            world.until(DUE + 6);
            let what = format!("{fault:?} at call {nth}: {:?}", world.account.injected());
            assert_eq!(world.account.injected().len(), 1, "{what}");
            holds(&world, &what);
        }
    }
}
