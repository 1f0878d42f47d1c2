//! Tests the case that another controller changes the provisioned concurrency of an alias that pre-scaling
//! also changes.

use capacity::others::LEFT_TO_OTHERS_MS;
use capacity::steps::Step;
use capacity::target::Warning;
use prescale::Mode;
use prescale::outcome::Outcome;

use crate::support::{World, documents, drop_at};

/// Sets a fixed value whatever the current one is, as a scaling policy does.
fn set_to(world: &World, to: u32) {
    let function = "reserve".to_owned();
    let from = world.observed().function(&function).asked.provisioned;
    world
        .account
        .change_by_others(&Step::Provision { function, from, to });
}

fn provisioned(world: &World) -> u32 {
    world.observed().function("reserve").asked.provisioned
}

fn noticed(outcome: &Outcome) -> bool {
    let warned = outcome.warnings.iter();
    let count =
        warned.filter(|w| matches!(w, Warning::ChangedByOthers { function, .. } if function == "reserve"));
    let count = count.count();
    assert_eq!(outcome.metrics("test")["AliasesChangedByOthers"], count);
    count > 0
}

fn last(world: &mut World, minute: i64) -> Outcome {
    let runs = world.until(minute);
    runs.into_iter().next_back().unwrap().unwrap().unwrap()
}

#[test]
fn what_another_lowers_during_a_drop_is_raised_again_each_time_and_alarmed() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    assert!(!noticed(&last(&mut world, 41)));
    let wanted = provisioned(&world);
    assert!(wanted > 10);
    for minute in 42..44 {
        set_to(&world, 3);
        let run = last(&mut world, minute);
        assert!(noticed(&run), "minute {minute}: {:?}", run.warnings);
        assert_eq!(provisioned(&world), wanted);
    }
    assert!(!noticed(&last(&mut world, 44)), "it has stopped");
}

#[test]
fn what_another_raises_is_left_for_a_while_and_taken_back_then() {
    let mut world = World::new(documents(vec![]));
    world.until(3);
    let baseline = provisioned(&world);
    set_to(&world, baseline + 50);
    let made = world.account.changes().len();
    let while_left = LEFT_TO_OTHERS_MS / 60_000;
    for minute in 4..3 + while_left {
        let run = last(&mut world, minute);
        assert!(noticed(&run) && run.is_eventful(), "minute {minute}");
    }
    assert_eq!(
        world.account.changes().len(),
        made,
        "nobody changes it back and forth"
    );
    world.until(6 + while_left);
    assert_eq!(world.off_baseline(), vec![]);
    assert!(!noticed(&last(&mut world, 8 + while_left)));
}

#[test]
fn an_operator_who_restores_need_not_wait() {
    let mut world = World::new(documents(vec![]));
    world.until(3);
    let baseline = provisioned(&world);
    set_to(&world, baseline + 50);
    assert!(noticed(&last(&mut world, 4)));
    world.run(Mode::Restore).unwrap().unwrap();
    assert_eq!(world.off_baseline(), vec![]);
}

#[test]
fn a_whole_drop_without_another_warns_of_none() {
    let mut world = World::new(documents(vec![drop_at("a", 40)]));
    for run in world.until(60) {
        assert!(!noticed(&run.unwrap().unwrap()));
    }
}
