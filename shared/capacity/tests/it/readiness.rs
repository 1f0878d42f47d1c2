//! Tests of a drop's readiness, with results computed by hand.

use std::collections::BTreeSet;

use capacity::amounts::Target;
use capacity::calendar::NotReadyPolicy;
use capacity::documents::Documents;
use capacity::numbers::Share;
use capacity::observed::{Allocation, Observed};
use capacity::readiness::{Measured, PartKind, Readiness, Ruling, Seen, readiness};
use capacity::steps::{Step, steps};
use capacity::wanted::wanted;
use domain::time::Timestamp;

use crate::support::{at, at_baseline, documents, plenty, small};

/// The state in which all capacity that the only drop needs is ready.
fn all_there(docs: &Documents) -> (Seen, Measured) {
    let want = wanted(docs, &plenty(), at(9_300)).capacity;
    let observed = at_baseline(docs);
    let target = Target {
        functions: want.functions,
        database: Some(want.database.clone()),
        tables: want.tables,
        queues: want.queues,
    };
    let observed = steps(&observed, &target).iter().fold(observed, Observed::after);
    let seen = Seen {
        observed,
        database_available: true,
        inactive_tables: BTreeSet::new(),
        inactive_sources: BTreeSet::new(),
    };
    let measured = Measured {
        reached_acu: Some(64.0),
        ..Measured::default()
    };
    (seen, measured)
}

fn of(docs: &Documents, seen: &Seen, measured: &Measured, now: Timestamp) -> Readiness {
    let wanted = wanted(docs, &plenty(), now);
    let drop = &docs.calendar[0];
    readiness(docs, &plenty(), drop, &wanted.drops[0], seen, measured, now)
}

/// Changes `seen`: half of the provisioned concurrency of `reserve` is allocated, and the allocation is in progress.
fn half(seen: &mut Seen) {
    let reserve = seen.observed.functions.get_mut("reserve").unwrap();
    assert_eq!(reserve.asked.provisioned % 2, 0);
    reserve.allocated = reserve.asked.provisioned / 2;
    reserve.allocation = Allocation::InProgress;
}

#[test]
fn everything_there_is_ready_and_any_one_part_less_is_not() {
    let docs = documents(vec![small("d", 10_000)]);
    let (seen, measured) = all_there(&docs);
    let ready = of(&docs, &seen, &measured, at(9_300));
    assert!(
        ready.ready && ready.on_course && ready.estimated_at == at(9_300),
        "{ready:#?}"
    );
    assert_eq!(ready.ruling, Ruling::AsPlanned);
    assert_eq!(ready.share, Share::WHOLE);

    type Spoil = fn(&mut Seen, &mut Measured);
    let spoils: [(PartKind, Spoil); 6] = [
        (PartKind::Function, |seen, _| half(seen)),
        (PartKind::Function, |seen, _| {
            seen.observed.functions.get_mut("reserve").unwrap().allocation = Allocation::Failed;
        }),
        (PartKind::Database, |_, measured| measured.reached_acu = None),
        (PartKind::Table, |seen, _| {
            seen.inactive_tables.extend(["stock".to_owned()])
        }),
        (PartKind::Source, |seen, _| {
            seen.inactive_sources.extend(["ledger".to_owned()])
        }),
        (PartKind::Answer, |_, measured| {
            measured.answered.extend([("reserve".to_owned(), false)]);
        }),
    ];
    for (kind, spoil) in spoils {
        let (mut seen, mut measured) = (seen.clone(), measured.clone());
        spoil(&mut seen, &mut measured);
        let spoilt = of(&docs, &seen, &measured, at(9_300));
        let waits: Vec<PartKind> = spoilt.parts.iter().filter(|p| !p.ready).map(|p| p.kind).collect();
        assert_eq!(waits, [kind]);
        assert!(!spoilt.ready && spoilt.estimated_at > at(9_300));
    }
}

#[test]
fn it_is_off_course_as_soon_as_the_estimate_is_beyond_the_gathering() {
    let docs = documents(vec![small("d", 10_000)]);
    let (mut seen, measured) = all_there(&docs);
    half(&mut seen);
    // The first shoppers arrive 600 s before the opening. The missing units take 1 s and the verification 60
    // s. There is no preparation, since more units than declared are already allocated.
    let early = of(&docs, &seen, &measured, at(9_339));
    assert_eq!(early.estimated_at, at(9_400));
    assert!(early.on_course);
    let late = of(&docs, &seen, &measured, at(9_340));
    assert_eq!(late.estimated_at, at(9_401));
    assert!(!late.on_course);
    assert_eq!(late.ruling, Ruling::AsPlanned, "the start is not frozen yet");
}

#[test]
fn at_the_freeze_the_policy_decides() {
    let with = |if_not_ready| {
        let mut drop = small("d", 10_000);
        drop.if_not_ready = if_not_ready;
        documents(vec![drop])
    };
    let docs = with(NotReadyPolicy::AdmitFewer);
    let (mut seen, measured) = all_there(&docs);
    half(&mut seen);
    let fewer = of(&docs, &seen, &measured, at(9_400));
    assert_eq!(fewer.ruling, Ruling::AdmitFewer);
    assert_eq!(fewer.share, Share::of(1.0, 2.0));
    let whole = wanted(&docs, &plenty(), at(9_400)).drops[0].shoppers_per_second;
    assert!((fewer.shoppers_per_second - whole / 2.0).abs() < 1e-6);

    // The capacity is ready 61 s late, so the start moves from 10,000 s to the next whole minute, 10,080 s.
    let docs = with(NotReadyPolicy::MoveStart { at_most_seconds: 80 });
    let moved = of(&docs, &seen, &measured, at(9_400));
    assert_eq!(moved.ruling, Ruling::MoveStart { to: at(10_080) });
    assert_eq!(moved.share, Share::WHOLE);
    let after_the_opening = of(&docs, &seen, &measured, at(10_000));
    assert_eq!(after_the_opening.ruling, Ruling::AdmitFewer);
    let docs = with(NotReadyPolicy::MoveStart { at_most_seconds: 79 });
    assert_eq!(of(&docs, &seen, &measured, at(9_400)).ruling, Ruling::AdmitFewer);
}

#[test]
fn what_lambda_has_given_up_on_is_asked_for_again() {
    let docs = documents(vec![small("d", 10_000)]);
    let (mut seen, _) = all_there(&docs);
    let want = wanted(&docs, &plenty(), at(9_300)).capacity;
    let target = Target {
        functions: want.functions,
        database: None,
        tables: want.tables,
        queues: want.queues,
    };
    assert_eq!(steps(&seen.observed, &target), vec![]);
    let reserve = seen.observed.functions.get_mut("reserve").unwrap();
    reserve.allocation = Allocation::Failed;
    let units = reserve.asked.provisioned;
    let again = Step::Provision {
        function: "reserve".to_owned(),
        from: units,
        to: units,
    };
    assert_eq!(steps(&seen.observed, &target), vec![again]);
}
