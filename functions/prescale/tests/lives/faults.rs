//! Tests that capacity stays right when every call fails once in every way, every run is killed at every call, and
//! suspended runs resume late.

use std::pin::pin;

use capacity::lead::window;
use memory::AccountFault;
use ports::runtime::Clock as _;
use prescale::Mode;

use crate::support::{World, documents, drive, drop_at, in_minutes, invoke, quotas, stalls};

/// Minutes after which a simulation with one fault must be back at the baseline.
const OVER: i64 = 52;

/// Simulates a drop while call number `nth` fails with `fault`. Returns the simulation and the number of its calls.
fn life(nth: u64, fault: Option<AccountFault>) -> (World, u64) {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    let begins_at = window(&world.docs, &quotas(), &world.docs.calendar[0]).begins_at;
    world.runtime.set(begins_at.plus_millis(-90_000));
    if let Some(fault) = fault {
        world.account.fail_nth(nth, fault);
    }
    world.until(OVER);
    let calls = world.account.calls();
    (world, calls)
}

fn holds(world: &World, what: &str) {
    let plan = window(&world.docs, &quotas(), &world.docs.calendar[0]);
    assert_eq!(world.lowered(plan.begins_at, plan.released_at), vec![], "{what}");
    assert_eq!(world.off_baseline(), vec![], "{what}");
}

fn every_call(faults: &[AccountFault]) {
    let (whole, calls) = life(0, None);
    holds(&whole, "no fault");
    assert!(calls > 100);
    for fault in faults {
        for nth in 1..=calls {
            let (world, _) = life(nth, Some(*fault));
            let what = format!("{fault:?} at call {nth}: {:?}", world.account.injected());
            assert_eq!(world.account.injected().len(), 1, "{what}");
            holds(&world, &what);
            let ready = world.account.changes();
            assert!(!ready.is_empty(), "{what}");
        }
    }
}

#[test]
fn every_call_may_fail_once_in_every_way() {
    every_call(&AccountFault::ANSWERED);
}

#[test]
fn a_run_may_die_at_every_call() {
    every_call(&[AccountFault::DiesBefore, AccountFault::DiesAfter]);
}

/// When the first shoppers arrive, two minutes before the opening, the drop is ready, whichever call failed before.
#[test]
fn one_fault_does_not_make_a_drop_late() {
    let (_, calls) = life(0, None);
    for fault in AccountFault::ANSWERED
        .into_iter()
        .chain([AccountFault::DiesBefore])
    {
        for nth in (1..=calls).step_by(3) {
            let mut world = World::new(documents(vec![drop_at("a", 40)]));
            let begins_at = window(&world.docs, &quotas(), &world.docs.calendar[0]).begins_at;
            world.runtime.set(begins_at.plus_millis(-90_000));
            world.account.fail_nth(nth, fault);
            world.until(38);
            world.account.clear_faults();
            let verified = world.run(Mode::Verify).unwrap().unwrap();
            assert!(
                verified.readiness[0].ready,
                "{fault:?} at call {nth}: {verified:#?}"
            );
        }
    }
}

/// The run that would reduce capacity after a drop is suspended at each of its calls, until after another drop's
/// preparation has begun, and then resumes.
#[test]
fn an_old_run_that_wakes_late_lowers_nothing() {
    let mut slept = Vec::new();
    for nth in 1.. {
        let mut world = World::new(documents(vec![drop_at("a", 40)]));
        let released_at = window(&world.docs, &quotas(), &world.docs.calendar[0]).released_at;
        // The second run after the end of the drop's time reduces capacity, since two runs must agree on that.
        let minute = released_at.millis_since(in_minutes(0)).div_euclid(60_000) + 1;
        world.until(minute);
        world.account.fail_nth(nth, AccountFault::Hangs);
        let mut old = pin!(invoke(
            world.account.clone(),
            world.drops.clone(),
            world.runtime.clone(),
            Mode::Apply,
            1_000
        ));
        if !stalls(&world.account, old.as_mut()) {
            break;
        }
        let (_, method) = world.account.injected()[0];
        slept.push(method);
        // During the suspension, another drop that opens soon is published, and scheduled runs continue.
        world
            .account
            .declare(|docs| docs.calendar = vec![drop_at("b", minute + 20)]);
        world.runtime.set(in_minutes(minute + 1));
        world.until(minute + 12);
        let woke_at = world.runtime.now();
        world.account.resume();
        let _ = drive(&world.account, old.as_mut()).unwrap();
        let lowered = world.lowered(woke_at, woke_at.plus_millis(60_000));
        if method == "carry_out" {
            // A call in progress cannot be stopped: the next run increases again what the call reduced.
            assert!(lowered.len() <= 1, "{lowered:?}");
        } else {
            assert_eq!(lowered, vec![], "asleep in {method}, call {nth}");
        }
        world.until(minute + 18);
        world.run(Mode::Apply).unwrap().unwrap();
        let asked = world.observed().functions["reserve"].asked.provisioned;
        assert!(asked > 100, "asleep in {method}, call {nth}: {asked}");
        world.until(minute + 40);
        assert_eq!(world.off_baseline(), vec![], "asleep in {method}, call {nth}");
    }
    for method in [
        "take",
        "documents",
        "observe",
        "leave",
        "calendar",
        "lease",
        "audit",
        "carry_out",
    ] {
        assert!(slept.contains(&method), "{method}: {slept:?}");
    }
}

/// The run that would reduce is suspended briefly, well within its lease, and in that time a drop is published.
#[test]
fn a_drop_published_in_the_middle_of_a_run_loses_one_change_at_most() {
    let mut slept = Vec::new();
    for nth in 1.. {
        let mut world = World::new(documents(vec![drop_at("a", 40)]));
        let released_at = window(&world.docs, &quotas(), &world.docs.calendar[0]).released_at;
        let minute = released_at.millis_since(in_minutes(0)).div_euclid(60_000) + 1;
        world.until(minute);
        world.account.fail_nth(nth, AccountFault::Hangs);
        let mut run = pin!(invoke(
            world.account.clone(),
            world.drops.clone(),
            world.runtime.clone(),
            Mode::Apply,
            1_000
        ));
        if !stalls(&world.account, run.as_mut()) {
            break;
        }
        let (_, method) = world.account.injected()[0];
        slept.push(method);
        let published_at = world.runtime.now();
        let made = world.account.changes().len();
        world
            .account
            .declare(|docs| docs.calendar = vec![drop_at("b", minute + 6)]);
        world.runtime.advance(1_000);
        world.account.resume();
        let _ = drive(&world.account, run.as_mut()).unwrap();
        let changes = world.account.changes();
        let lowered = changes.len() - made;
        // A publication between the calendar read and the change cannot be detected.
        let most = usize::from(matches!(method, "lease" | "audit" | "carry_out"));
        assert!(
            lowered <= most,
            "{lowered} after {published_at:?}, asleep in {method}, call {nth}"
        );
    }
    assert!(
        slept.contains(&"calendar") && slept.contains(&"carry_out"),
        "{slept:?}"
    );
}
