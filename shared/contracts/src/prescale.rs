//! Tests the contract of the ports that store the state of pre-scaling's runs.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use capacity::amounts::{Capacity, Concurrency, DatabaseSize, Polling, WarmThroughput};
use capacity::learn::{Change, Gap, Lesson};
use capacity::measured::{FunctionMeasured, Measured, QueueMeasured, TableMeasured};
use capacity::numbers::Share;
use capacity::others::LastSet;
use capacity::profile::ByPhase;
use capacity::readiness::{Part, PartKind, Readiness, Ruling};
use capacity::steps::Step;
use capacity::target::Record;
use domain::ids::DropId;
use domain::time::Timestamp;
use futures_util::future::join;
use ports::drops::Lease;
use ports::prescale::{
    Audited, Carried, ControlError, Held, KeepLessons, KeepRun, ReadReadiness, StoreReadiness, WriteAudit,
};
use serde_json::{Value, json};

use crate::fixtures::{NOW, drop_id, id};
use crate::leases::{self, lease, winner};
use crate::race::{insist, race};
use crate::{REFUSED, answered, done, port_group};
use memory::MemoryAccount;

/// The contract of pre-scaling's stored state, as tests; `$setup` makes an empty store.
#[macro_export]
macro_rules! prescale_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [prescale]:
            the_first_run_finds_no_record,
            a_run_takes_and_keeps_the_lease,
            a_run_is_shown_who_has_the_lease,
            the_lease_changes_hands_once_expired_and_its_fencing_grows,
            of_16_runs_one_gets_the_lease,
            a_record_comes_back_as_it_was_left,
            a_late_run_leaves_nothing,
            a_run_that_nobody_followed_may_still_leave,
            whoever_takes_over_sees_what_was_left_before,
            an_ended_lease_is_free_at_once,
            a_late_run_ends_nobodys_lease_but_its_own,
            readiness_is_kept_by_drop,
            an_older_run_never_overwrites_readiness,
            an_older_look_of_the_same_run_never_overwrites_readiness,
            of_16_runs_the_newest_readiness_stays,
            a_change_is_on_record_before_and_after,
            a_late_beginning_never_hides_an_outcome,
            changes_are_apart,
            a_lesson_comes_back_as_it_was_kept,
            an_older_run_never_overwrites_a_lesson,
        );
    };
}

port_group!(
    /// Every port of the stored state of pre-scaling.
    PrescalePorts: KeepRun, WriteAudit, StoreReadiness, ReadReadiness, KeepLessons,
);

/// A change in the audit record.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The time at which the change began.
    pub at: Timestamp,
    /// The id of the run that made the change.
    pub run: String,
    /// The trigger of the run: `scheduled`, or the mode of a manual run.
    pub mode: String,
    /// The drops that needed the change.
    pub drops: Vec<String>,
    /// The change, as a step in JSON.
    pub step: Value,
    /// The outcome as text; absent until it is known.
    pub outcome: Option<String>,
}

/// A store under test.
pub trait Ledger {
    fn store(&self) -> impl PrescalePorts;
    /// The change with these numbers, read in a separate way, since no port reads changes.
    fn entry(&self, fencing: u64, number: u32) -> impl Future<Output = Option<Entry>>;
}

impl Ledger for MemoryAccount {
    fn store(&self) -> impl PrescalePorts {
        self.clone()
    }

    async fn entry(&self, fencing: u64, number: u32) -> Option<Entry> {
        let named = |change: &Audited| (change.fencing, change.number) == (fencing, number);
        let change = self.audited().into_iter().find(named)?;
        let words = |outcome: Result<Carried, ControlError>| {
            outcome.map_or_else(|error| error.to_string(), |carried| carried.to_string())
        };
        Some(Entry {
            at: change.at,
            run: change.run,
            mode: change.mode,
            drops: change.drops.iter().map(ToString::to_string).collect(),
            step: serde_json::to_value(change.step).unwrap(),
            outcome: change.outcome.map(words),
        })
    }
}

/// A record with every optional part.
fn record(at: u32) -> Record {
    let reserved = |provisioned, reserved| Concurrency {
        provisioned,
        reserved,
    };
    Record {
        at: NOW.plus_seconds(at),
        wanted: Capacity {
            functions: BTreeMap::from([
                ("reserve".to_owned(), reserved(4_321, Some(5_000))),
                ("get-drop".to_owned(), reserved(at, None)),
            ]),
            database: DatabaseSize::MinimumAcu(12.5),
            tables: BTreeMap::from([(
                "StockTable".to_owned(),
                WarmThroughput {
                    write_units: 8_000,
                    read_units: 40_000,
                },
            )]),
            queues: BTreeMap::from([
                ("PaymentsQueue".to_owned(), Polling::MaximumConcurrency(70)),
                (
                    "LedgerQueue".to_owned(),
                    Polling::ProvisionedPollers {
                        minimum: 2,
                        maximum: 9,
                    },
                ),
            ]),
        },
        set: BTreeMap::from([(
            "reserve".to_owned(),
            LastSet {
                values: BTreeSet::from([0, 4_321]),
                changed_at: Some(NOW),
            },
        )]),
    }
}

/// Requests the lease at `at` seconds, for ten seconds.
async fn take(store: &impl PrescalePorts, holder: &str, at: u32) -> Result<Held, Lease> {
    let now = NOW.plus_seconds(at);
    answered(store.take(holder, now, now.plus_seconds(10)).await)
}

/// Requests the lease at `now`, for ten seconds. The stored lease must be the lease in the answer.
async fn take_lease(store: &impl PrescalePorts, holder: &str, now: Timestamp) -> Result<Lease, Lease> {
    let taken = answered(store.take(holder, now, now.plus_seconds(10)).await);
    let taken = taken.map(|held| held.lease);
    let (Ok(lease) | Err(lease)) = &taken;
    assert_eq!(answered(store.lease().await).as_ref(), Some(lease));
    taken
}

pub async fn the_first_run_finds_no_record(store: &impl Ledger) {
    let store = store.store();
    assert_eq!(answered(store.lease().await), None);
    let held = take(&store, "one", 0).await.unwrap();
    assert_eq!(held.record, None);
    assert_eq!(held.lease.holder.as_str(), "one");
    assert!(held.lease.fencing > 0);
    let again = take(&store, "two", 10).await.unwrap();
    assert_eq!(again.record, None, "the first one left nothing");
}

pub async fn a_run_takes_and_keeps_the_lease(store: &impl Ledger) {
    let store = store.store();
    leases::is_taken_and_kept(async |holder, now| take_lease(&store, holder, now).await).await;
}

pub async fn a_run_is_shown_who_has_the_lease(store: &impl Ledger) {
    let store = store.store();
    leases::is_shown_while_held(async |holder, now| take_lease(&store, holder, now).await).await;
}

pub async fn the_lease_changes_hands_once_expired_and_its_fencing_grows(store: &impl Ledger) {
    let store = store.store();
    leases::changes_hands_once_expired(async |holder, now| take_lease(&store, holder, now).await).await;
}

pub async fn of_16_runs_one_gets_the_lease(store: &impl Ledger) {
    let store = store.store();
    let mut fencing = 0;
    for round in 0..4u32 {
        let now = NOW.plus_seconds(round * 10);
        let names: Vec<String> = (0..16).map(|n| format!("r{round}-{n}")).collect();
        let outcomes = race(16, |n| store.take(&names[n], now, now.plus_seconds(10))).await;
        let won = winner(&outcomes, |held: &Held| &held.lease);
        assert!(won.lease.fencing > fencing);
        fencing = won.lease.fencing;
        let before = round.checked_sub(1).map(record);
        assert_eq!(won.record, before, "with what the last winner left");
        done(store.leave(&won.lease, &record(round)).await);
    }
}

pub async fn a_record_comes_back_as_it_was_left(store: &impl Ledger) {
    let store = store.store();
    let held = take(&store, "one", 0).await.unwrap();
    for at in [1, 2] {
        done(store.leave(&held.lease, &record(at)).await);
    }
    assert_eq!(answered(store.lease().await), Some(held.lease), "as it was");
    assert_eq!(take(&store, "one", 3).await.unwrap().record, Some(record(2)));
    assert_eq!(take(&store, "two", 13).await.unwrap().record, Some(record(2)));
    let mut classes = record(4);
    classes.wanted.database = DatabaseSize::Class("db.r8g.xlarge".to_owned());
    let held = take(&store, "two", 14).await.unwrap();
    done(store.leave(&held.lease, &classes).await);
    assert_eq!(take(&store, "three", 24).await.unwrap().record, Some(classes));
}

pub async fn a_late_run_leaves_nothing(store: &impl Ledger) {
    let store = store.store();
    let late = take(&store, "one", 0).await.unwrap().lease;
    let held = take(&store, "two", 10).await.unwrap();
    assert_eq!(answered(store.leave(&late, &record(1)).await), REFUSED);
    done(store.leave(&held.lease, &record(2)).await);
    assert_eq!(answered(store.leave(&late, &record(3)).await), REFUSED);
    assert_eq!(answered(store.lease().await), Some(held.lease));
    assert_eq!(take(&store, "three", 20).await.unwrap().record, Some(record(2)));
    let nobody = lease("four", 99, 99);
    assert_eq!(answered(store.leave(&nobody, &record(4)).await), REFUSED);
}

pub async fn a_run_that_nobody_followed_may_still_leave(store: &impl Ledger) {
    let store = store.store();
    let late = take(&store, "one", 0).await.unwrap().lease;
    // The lease has expired, but no other run has decided anything since.
    done(store.leave(&late, &record(1)).await);
    assert_eq!(take(&store, "two", 60).await.unwrap().record, Some(record(1)));
}

pub async fn whoever_takes_over_sees_what_was_left_before(store: &impl Ledger) {
    let store = store.store();
    let mut mine = take(&store, "r0", 0).await.unwrap().lease;
    let mut left = None;
    for turn in 1..=12 {
        let (now, name, new) = (mine.until, format!("r{turn}"), record(turn));
        let leave = insist(|| store.leave(&mine, &new));
        let take = insist(|| store.take(&name, now, now.plus_seconds(10)));
        // Both calls are begun in both sequences.
        let (outcome, next) = if turn % 2 == 0 {
            join(leave, take).await
        } else {
            let (next, outcome) = join(take, leave).await;
            (outcome, next)
        };
        let next = next.unwrap();
        if outcome.is_done() {
            left = Some(new);
        }
        assert_eq!(next.record, left, "turn {turn}: {outcome:?}");
        mine = next.lease;
    }
}

pub async fn an_ended_lease_is_free_at_once(store: &impl Ledger) {
    let store = store.store();
    let first = take(&store, "one", 0).await.unwrap().lease;
    let now = NOW.plus_seconds(3);
    done(store.leave(&first, &record(1)).await);
    done(store.release(&first, now).await);
    let ended = lease("one", first.fencing, 3);
    assert_eq!(answered(store.lease().await), Some(ended));
    let next = take(&store, "two", 3).await.unwrap();
    assert!(next.lease.fencing > first.fencing);
    assert_eq!(next.record, Some(record(1)));
}

pub async fn a_late_run_ends_nobodys_lease_but_its_own(store: &impl Ledger) {
    let store = store.store();
    let late = take(&store, "one", 0).await.unwrap().lease;
    let held = take(&store, "two", 10).await.unwrap().lease;
    assert_eq!(
        answered(store.release(&late, NOW.plus_seconds(11)).await),
        REFUSED
    );
    assert_eq!(answered(store.lease().await), Some(held.clone()));
    assert_eq!(take(&store, "three", 12).await, Err(held));
}

fn readiness(drop: &DropId, at: u32, there: f64) -> Readiness {
    Readiness {
        drop: drop.clone(),
        at: NOW.plus_seconds(at),
        ready: there >= 1.0,
        ready_by: NOW.plus_seconds(600),
        estimated_at: NOW.plus_seconds(120),
        on_course: true,
        parts: vec![
            Part {
                kind: PartKind::Function,
                name: "reserve".to_owned(),
                wanted: 4_321.0,
                there: 4_321.0 * there,
                ready: there >= 1.0,
            },
            Part {
                kind: PartKind::Database,
                name: "database".to_owned(),
                wanted: 12.5,
                there: 2.0,
                ready: false,
            },
        ],
        ruling: Ruling::MoveStart {
            to: NOW.plus_seconds(900),
        },
        share: Share::of(1.0, 3.0),
        shoppers_per_second: 1_666.666_25,
        spill_over: 17,
    }
}

pub async fn readiness_is_kept_by_drop(store: &impl Ledger) {
    let store = store.store();
    let (autumn, winter) = (drop_id(), id("winter"));
    assert_eq!(answered(store.readiness(&autumn).await), None);
    let one = readiness(&autumn, 0, 0.5);
    done(store.store_readiness(1, &one).await);
    assert_eq!(answered(store.readiness(&winter).await), None);
    let mut other = readiness(&winter, 0, 1.0);
    other.ruling = Ruling::AdmitFewer;
    done(store.store_readiness(1, &other).await);
    assert_eq!(answered(store.readiness(&autumn).await), Some(one));
    assert_eq!(answered(store.readiness(&winter).await), Some(other));
}

pub async fn an_older_run_never_overwrites_readiness(store: &impl Ledger) {
    let store = store.store();
    let newest = readiness(&drop_id(), 0, 0.5);
    done(store.store_readiness(9, &newest).await);
    let late = readiness(&drop_id(), 60, 1.0);
    for fencing in [0, 8] {
        let stored = answered(store.store_readiness(fencing, &late).await);
        assert_eq!(stored, REFUSED, "{fencing}");
    }
    assert_eq!(answered(store.readiness(&drop_id()).await), Some(newest));
    // The fencing number decides, whatever the holder's clock says.
    let newer = readiness(&drop_id(), 0, 0.7);
    done(store.store_readiness(10, &newer).await);
    assert_eq!(answered(store.readiness(&drop_id()).await), Some(newer));
}

pub async fn an_older_look_of_the_same_run_never_overwrites_readiness(store: &impl Ledger) {
    let store = store.store();
    let look = readiness(&drop_id(), 5, 0.5);
    for _ in 0..2 {
        done(store.store_readiness(3, &look).await);
    }
    let before = readiness(&drop_id(), 4, 0.2);
    let stored = answered(store.store_readiness(3, &before).await);
    assert_eq!(stored, REFUSED);
    let after = readiness(&drop_id(), 6, 0.9);
    done(store.store_readiness(3, &after).await);
    assert_eq!(answered(store.readiness(&drop_id()).await), Some(after));
}

pub async fn of_16_runs_the_newest_readiness_stays(store: &impl Ledger) {
    let store = store.store();
    let looks: Vec<Readiness> = (0..16).map(|n| readiness(&drop_id(), 16 - n, 0.5)).collect();
    let outcomes = race(16, |n| store.store_readiness(n as u64 + 1, &looks[n])).await;
    assert!(outcomes[15].is_done(), "{outcomes:?}");
    let found = answered(store.readiness(&drop_id()).await);
    assert_eq!(found.as_ref(), Some(&looks[15]));
}

fn change(fencing: u64, number: u32, outcome: Option<Result<Carried, ControlError>>) -> Audited {
    Audited {
        fencing,
        number,
        at: NOW.plus_seconds(number),
        run: "run-7".to_owned(),
        mode: "scheduled".to_owned(),
        drops: vec![drop_id(), id("winter")],
        step: Step::Provision {
            function: "reserve".to_owned(),
            from: 0,
            to: 4_321,
        },
        outcome,
    }
}

fn entry(number: u32, outcome: Option<&str>) -> Entry {
    Entry {
        at: NOW.plus_seconds(number),
        run: "run-7".to_owned(),
        mode: "scheduled".to_owned(),
        drops: vec!["autumn".to_owned(), "winter".to_owned()],
        step: json!({"step": "provision", "function": "reserve", "from": 0, "to": 4_321}),
        outcome: outcome.map(str::to_owned),
    }
}

pub async fn a_change_is_on_record_before_and_after(ledger: &impl Ledger) {
    let store = ledger.store();
    assert_eq!(ledger.entry(7, 1).await, None);
    let broken = ControlError::Broken("no such alias".to_owned());
    for (number, outcome, words) in [
        (1, Ok(Carried::Done), "done"),
        (2, Ok(Carried::Started), "started"),
        (3, Ok(Carried::AlreadySo), "already so"),
        (4, Err(ControlError::InProgress), "another change is under way"),
        (
            5,
            Err(ControlError::AliasShifting),
            "a deployment is shifting the alias; it is left alone until that ends",
        ),
        (6, Err(broken), "the control plane cannot do that: no such alias"),
    ] {
        for _ in 0..2 {
            answered(store.audit(&change(7, number, None)).await);
        }
        assert_eq!(ledger.entry(7, number).await, Some(entry(number, None)));
        for _ in 0..2 {
            answered(store.audit(&change(7, number, Some(outcome.clone()))).await);
        }
        assert_eq!(ledger.entry(7, number).await, Some(entry(number, Some(words))));
    }
}

pub async fn a_late_beginning_never_hides_an_outcome(ledger: &impl Ledger) {
    let store = ledger.store();
    answered(store.audit(&change(7, 1, Some(Ok(Carried::Done)))).await);
    answered(store.audit(&change(7, 1, None)).await);
    assert_eq!(ledger.entry(7, 1).await, Some(entry(1, Some("done"))));
}

pub async fn changes_are_apart(ledger: &impl Ledger) {
    let store = ledger.store();
    let mut on_the_way_back = change(8, 1, None);
    on_the_way_back.drops = vec![];
    answered(store.audit(&change(7, 1, Some(Ok(Carried::Done)))).await);
    answered(store.audit(&change(7, 11, Some(Ok(Carried::Done)))).await);
    answered(store.audit(&on_the_way_back).await);
    let back = Entry {
        drops: vec![],
        ..entry(1, None)
    };
    assert_eq!(ledger.entry(7, 1).await, Some(entry(1, Some("done"))));
    assert_eq!(ledger.entry(7, 11).await, Some(entry(11, Some("done"))));
    assert_eq!(ledger.entry(8, 1).await, Some(back));
    assert_eq!(ledger.entry(71, 1).await, None);
}

/// A lesson with every optional part.
fn lesson(drop: &str, at: u32, written: bool) -> Lesson {
    let gap = |what: &str, ratio| Gap {
        what: what.to_owned(),
        planned: 0.1,
        actual: 12.5,
        ratio,
        sizes: true,
    };
    Lesson {
        drop: id(drop),
        at: NOW.plus_seconds(at),
        run: "one".to_owned(),
        measured: Measured {
            source: "a test".to_owned(),
            drop: id(drop),
            shoppers: 20_000,
            units: 600,
            sold: Some(599),
            seconds: ByPhase::each(|_| 0.25),
            functions: vec![FunctionMeasured {
                function: "reserve".to_owned(),
                invocations: Some(ByPhase::each(|_| u64::from(at))),
                p95_ms: Some(29.57),
                mean_ms: None,
            }],
            tables: vec![TableMeasured {
                table: "StockTable".to_owned(),
                write_units: Some(0.5),
                read_units: None,
                read_units_by_function: Some(BTreeMap::from([("reserve".to_owned(), 7.5)])),
            }],
            queues: vec![QueueMeasured {
                source: "PaymentsQueue".to_owned(),
                messages: Some(7),
                handling_p95_ms: None,
            }],
            ledger_rows: Some(4_620),
        },
        gaps: vec![
            gap("function.reserve.concurrency", Some(125.0)),
            gap("database.rows", None),
        ],
        largest: Some(1_000.0),
        changes: vec![Change {
            number: "function.reserve.p95_ms".to_owned(),
            old: 20.0,
            seen: 29.57,
            new: 29.57,
            held_back: false,
        }],
        written,
    }
}

pub async fn a_lesson_comes_back_as_it_was_kept(store: &impl Ledger) {
    let store = store.store();
    let spring = id("spring");
    assert_eq!(answered(store.lesson(&spring).await), None);
    for kept in [lesson("spring", 10, false), lesson("spring", 11, true)] {
        done(store.keep_lesson(7, &kept).await);
        assert_eq!(answered(store.lesson(&spring).await), Some(kept));
    }
    assert_eq!(answered(store.lesson(&id("summer")).await), None);
}

pub async fn an_older_run_never_overwrites_a_lesson(store: &impl Ledger) {
    let store = store.store();
    let kept = lesson("spring", 20, true);
    done(store.keep_lesson(7, &kept).await);
    for (fencing, at) in [(6, 30), (7, 19)] {
        let older = lesson("spring", at, false);
        assert_eq!(answered(store.keep_lesson(fencing, &older).await), REFUSED);
    }
    assert_eq!(answered(store.lesson(&id("spring")).await), Some(kept));
}
