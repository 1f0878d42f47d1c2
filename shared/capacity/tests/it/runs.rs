//! Tests of the reconciler's runs: increases immediately, reductions when two runs agree, and late,
//! cancelled, moved and draining drops.

use capacity::amounts::{DatabaseSize, Polling};
use capacity::calendar::CalendarState;
use capacity::documents::Documents;
use capacity::lead::window;
use capacity::numbers::Share;
use capacity::observed::{Observed, ObservedDatabase};
use capacity::reconcile::{Decision, reconcile};
use capacity::steps::Step;
use capacity::target::{Record, Warning};
use domain::time::Timestamp;

use crate::support::{at, at_baseline, documents, plenty, reference, small, with_classes};

const OPENING: i64 = 1_000_000;

fn run(docs: &Documents, observed: &Observed, previous: Option<&Record>, now: Timestamp) -> Decision {
    reconcile(docs, &plenty(), observed, previous, now)
}

fn done(observed: &Observed, decision: &Decision) -> Observed {
    decision.steps.iter().fold(observed.clone(), Observed::after)
}

/// The state after the steps for the first drop on the calendar, and the record of the run that decided them.
fn scaled(docs: &Documents) -> (Observed, Record) {
    let first = run(
        docs,
        &at_baseline(docs),
        None,
        window(docs, &plenty(), &docs.calendar[0]).begins_at,
    );
    (done(&at_baseline(docs), &first), first.record)
}

#[test]
fn nothing_is_changed_before_it_is_time_and_everything_then() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let begins_at = window(&docs, &plenty(), &docs.calendar[0]).begins_at;
    let there = at_baseline(&docs);
    assert_eq!(run(&docs, &there, None, begins_at.plus_millis(-1)).steps, vec![]);
    let decision = run(&docs, &there, None, begins_at);
    assert_eq!(decision.warnings, vec![]);
    // The steps set both values of `reserve` and of `process-order`, the provisioned concurrency of
    // `get-drop`, `checkout` and `get-order`, and a table, a queue and the database.
    assert_eq!(decision.steps.len(), 2 + 3 + 2 + 3);
    let then = done(&there, &decision);
    assert_eq!(
        run(&docs, &then, Some(&decision.record), begins_at.plus_seconds(60)).steps,
        vec![]
    );
}

#[test]
fn a_reservation_always_holds_what_is_provisioned() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let (mut there, _) = scaled(&docs);
    let end = at(OPENING + 4_000);
    let first = run(&docs, &there, None, end);
    let second = run(&docs, &there, Some(&first.record), end.plus_seconds(60));
    assert!(!second.steps.is_empty());
    for step in &second.steps {
        there = there.after(step);
        for (name, function) in &there.functions {
            let asked = function.asked;
            assert!(
                asked.reserved.is_none_or(|r| r >= asked.provisioned),
                "{name} after {step:?}"
            );
        }
    }
}

#[test]
fn down_needs_two_runs_that_follow_one_another() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let (there, scaling) = scaled(&docs);
    let end = at(OPENING + 3_725);
    let first = run(&docs, &there, Some(&scaling), end);
    assert_eq!(first.steps, vec![], "the run before wanted more");
    assert!(!first.withheld.is_empty(), "and says what it would do");
    let after = |seconds| {
        run(&docs, &there, Some(&first.record), end.plus_seconds(seconds))
            .steps
            .len()
    };
    assert_eq!(after(29), 0, "the same run, repeated");
    assert_eq!(after(181), 0, "not the next run");
    assert_ne!(after(60), 0);
    assert_eq!(
        run(&docs, &there, None, end.plus_seconds(60)).steps,
        vec![],
        "no record, nothing goes down"
    );

    let second = run(&docs, &there, Some(&first.record), end.plus_seconds(60));
    assert_eq!(second.steps.as_slice(), first.withheld.as_slice());
    assert_eq!(&second.withheld, &vec![]);
    let back = done(&there, &second);
    assert_eq!(run(&docs, &back, None, end.plus_seconds(61)).withheld, vec![]);
    let baseline = at_baseline(&docs);
    let stock = docs.baseline.tables[0].warm.max(back.tables["stock"]);
    assert_ne!(stock, docs.baseline.tables[0].warm, "one way");
    assert_eq!(
        Observed {
            tables: baseline.tables.clone(),
            ..back
        },
        baseline
    );
}

#[test]
fn what_someone_changed_in_between_ends_at_the_baseline_too() {
    let docs = documents(vec![]);
    let mut there = at_baseline(&docs);
    there.functions.get_mut("get-drop").unwrap().asked.provisioned = 0;
    there.functions.get_mut("checkout").unwrap().asked.provisioned = 77;
    there.functions.get_mut("conduct-drop").unwrap().asked.reserved = None;
    there
        .queues
        .insert("payments".into(), Polling::MaximumConcurrency(900));
    let first = run(&docs, &there, None, at(0));
    there = done(&there, &first);
    let second = run(&docs, &there, Some(&first.record), at(60));
    there = done(&there, &second);
    let asked = |o: &Observed| -> Vec<_> { o.functions.iter().map(|(n, f)| (n.clone(), f.asked)).collect() };
    assert_eq!(asked(&there), asked(&at_baseline(&docs)));
    assert_eq!(there.queues, at_baseline(&docs).queues);
}

#[test]
fn a_queue_with_the_other_kind_of_setting_is_left_alone() {
    let docs = documents(vec![]);
    let mut there = at_baseline(&docs);
    let pollers = Polling::ProvisionedPollers {
        minimum: 9,
        maximum: 9,
    };
    there.queues.insert("payments".into(), pollers);
    let decision = run(&docs, &there, None, at(0));
    assert_eq!(decision.steps, vec![]);
    assert_eq!(
        decision.warnings,
        [Warning::OtherPolling {
            source: "payments".into()
        }]
    );
}

#[test]
fn a_drop_published_late_gets_what_can_be_there_at_its_opening() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let there = at_baseline(&docs);
    // Of the 300 s that are left, 120 s are for preparation and 60 s for verification, which leaves 120 s at
    // 100 units a second.
    let decision = run(&docs, &there, None, at(OPENING - 300));
    let id = docs.calendar[0].id.clone();
    let late = |missing, in_time, warm: f64| Warning::LateConcurrency {
        drop: id.clone(),
        missing,
        in_time,
        warm_share: Share::of(warm, 1.0),
    };
    // The function that lacks the largest share gets 74 of 150 units: 12,000 × 150 ÷ 24,218, rounded down.
    assert_eq!(decision.warnings, [late(24_218, 12_000, 74.0 / 150.0)]);
    let mut then = done(&there, &decision);
    let more: u32 = (then.functions.iter())
        .map(|(name, f)| f.asked.provisioned - there.function(name).asked.provisioned)
        .sum();
    assert_eq!(more, 12_000);
    // `reserve` gets 12,000 × 15,678 ÷ 24,218 units beyond the 2 units that it has.
    assert_eq!(then.function("reserve").asked.provisioned, 2 + 7_768);

    // While these units are being allocated, the next run requests no more.
    for function in then.functions.values_mut() {
        function.allocated = 0;
    }
    let next = run(&docs, &then, Some(&decision.record), at(OPENING - 240));
    assert_eq!(next.steps, vec![]);
    // From the opening on, a run requests all units.
    let open = run(&docs, &then, Some(&next.record), at(OPENING));
    assert_eq!(done(&then, &open).function("reserve").asked.provisioned, 15_680);

    // No unit can be ready in time and none was requested, so the run requests all units before the opening.
    let hopeless = run(&docs, &there, None, at(OPENING - 100));
    assert_eq!(hopeless.warnings, [late(24_218, 0, 0.0)]);
    assert_eq!(
        done(&there, &hopeless).function("reserve").asked.provisioned,
        15_680
    );
}

#[test]
fn no_class_is_changed_into_a_drop_or_during_one() {
    let docs = with_classes(vec![reference("spike", OPENING)]);
    let there = at_baseline(&docs);
    let changes = |now: i64, there: &Observed| {
        let steps = run(&docs, there, None, at(now)).steps;
        steps.into_iter().filter(Step::is_waited_for).count()
    };
    // Three changes of class take 240 s each, and the failover 120 s.
    assert_eq!(changes(OPENING - 840, &there), 4);
    assert_eq!(changes(OPENING - 839, &there), 0);
    assert_eq!(changes(OPENING + 10, &there), 0);
    let late = run(&docs, &there, None, at(OPENING - 839));
    let drop = docs.calendar[0].id.clone();
    assert!(
        late.warnings
            .contains(&Warning::LateDatabase { drop, seconds: 840 })
    );

    let mut busy = there.clone();
    if let ObservedDatabase::Provisioned { available, .. } = &mut busy.database {
        *available = false;
    }
    assert_eq!(
        changes(OPENING - 1_000, &busy),
        0,
        "the change under way comes first"
    );
}

#[test]
fn the_instance_that_writes_is_never_the_one_that_is_changed() {
    let docs = with_classes(vec![reference("spike", OPENING)]);
    let (up, _) = scaled(&docs);
    let begins_at = window(&docs, &plenty(), &docs.calendar[0]).begins_at;
    let steps = run(&docs, &at_baseline(&docs), None, begins_at).steps;
    let order: Vec<String> = (steps.iter())
        .filter_map(|step| match step {
            Step::ChangeClass {
                instance, interrupts, ..
            } => Some(format!("{instance} {interrupts}")),
            Step::FailOver { from, to } => Some(format!("{from} to {to}")),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["two false", "three false", "one to two", "one false"]);

    // While orders drain, the database is not reduced. Afterwards it is reduced by the same steps.
    let end = at(OPENING + 3_725);
    let draining = Observed {
        orders_draining: true,
        ..up.clone()
    };
    let down = |there: &Observed| {
        let first = run(&docs, there, None, end);
        let second = run(&docs, there, Some(&first.record), end.plus_seconds(60));
        second.steps.into_iter().filter(Step::is_waited_for).count()
    };
    assert_eq!(down(&draining), 0);
    assert_eq!(down(&up), 4);
}

#[test]
fn more_acu_come_even_during_a_drop_and_go_only_after_the_last_order() {
    let docs = documents(vec![reference("spike", OPENING)]);
    let there = at_baseline(&docs);
    let raised = Step::SetMinimumAcu { from: 2.0, to: 7.5 };
    assert!(
        run(&docs, &there, None, at(OPENING + 100))
            .steps
            .contains(&raised)
    );
    let (up, _) = scaled(&docs);
    let end = at(OPENING + 3_725);
    let draining = Observed {
        orders_draining: true,
        ..up.clone()
    };
    let first = run(&docs, &draining, None, end);
    let lowered = Step::SetMinimumAcu { from: 7.5, to: 2.0 };
    let second = |there| run(&docs, there, Some(&first.record), end.plus_seconds(60)).steps;
    assert!(!second(&draining).contains(&lowered));
    assert!(second(&up).contains(&lowered));
}

#[test]
fn cancelled_drained_and_moved_drops_give_back_what_was_held() {
    let mut docs = documents(vec![reference("spike", OPENING)]);
    let (up, record) = scaled(&docs);
    let now = record.at.plus_seconds(60);
    assert_eq!(run(&docs, &up, Some(&record), now).steps, vec![]);
    for state in [CalendarState::Cancelled, CalendarState::Drained] {
        docs.calendar[0].state = state;
        let first = run(&docs, &up, Some(&record), now);
        assert_eq!(first.steps, vec![]);
        let second = run(&docs, &up, Some(&first.record), now.plus_seconds(60));
        assert_eq!(done(&up, &second).functions, at_baseline(&docs).functions);
    }
    docs.calendar = vec![reference("spike", OPENING + 86_400)];
    let first = run(&docs, &up, Some(&record), now);
    let second = run(&docs, &up, Some(&first.record), now.plus_seconds(60));
    let back = done(&up, &second);
    assert_eq!(back.functions, at_baseline(&docs).functions);
    let again = window(&docs, &plenty(), &docs.calendar[0]).begins_at;
    assert_eq!(
        done(&back, &run(&docs, &back, None, again)).functions,
        up.functions
    );
}

#[test]
fn between_overlapping_drops_only_the_difference_goes() {
    let docs = documents(vec![reference("large", OPENING), small("small", OPENING + 3_000)]);
    let (up, _) = scaled(&docs);
    let end = at(OPENING + 3_725);
    let first = run(&docs, &up, None, end);
    assert_eq!(first.wanted.drops.len(), 1);
    let second = run(&docs, &up, Some(&first.record), end.plus_seconds(60));
    let then = done(&up, &second);
    assert_eq!(then.function("get-drop").asked.provisioned, 80);
    assert_eq!(first.wanted.capacity.database, DatabaseSize::MinimumAcu(2.0));
}
