//! Tests the contract of the port that grants slots for calls to the gateway.

use domain::ids::{DropId, OrderId};
use domain::limits::{MAX_CARD_DECLINES, MAX_LINES};
use domain::rate::{CallRate, CallsWanted, Turn, micros};
use domain::time::Timestamp;
use ports::calls::TakeCalls;
use ports::orders::NoteDecline;
use ports::payment::CardFingerprint;

use crate::fixtures::id;
use crate::race::race;
use crate::{Database, answered};
use memory::TestRuntime;

/// The contract of the line of calls, as tests; `$setup` makes an empty database.
#[macro_export]
macro_rules! calls_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [calls]:
            turns_follow_one_another_at_the_rate,
            turns_that_nobody_took_are_not_saved_up,
            who_would_come_too_late_takes_nothing,
            a_line_from_a_wrong_clock_holds_nobody_up,
            of_many_at_once_each_has_turns_of_its_own,
            each_line_hands_out_its_own_turns,
            a_card_is_counted_by_orders_up_to_the_bound,
        );
    };
}

const NOW: Timestamp = TestRuntime::START;

fn wanted(per_second: u32, calls: u32, now: Timestamp) -> CallsWanted {
    CallsWanted {
        line: 0,
        rate: CallRate::new(per_second).unwrap(),
        calls,
        now,
        latest: now.plus_millis(5_000),
    }
}

async fn take(line: &impl TakeCalls, wanted: CallsWanted) -> Turn {
    answered(line.take_calls(wanted).await)
}

pub async fn turns_follow_one_another_at_the_rate(database: &impl Database) {
    let line = database.orders();
    for (calls, at) in [(2, 0), (1, 80), (10, 120), (1, 520)] {
        let turn = take(&line, wanted(25, calls, NOW)).await;
        assert_eq!(turn, Turn::From(NOW.plus_millis(at)), "{calls}");
    }
    // Another process has not read the line before.
    let turn = take(&database.orders(), wanted(25, 1, NOW.plus_millis(10))).await;
    assert_eq!(turn, Turn::From(NOW.plus_millis(560)));
}

pub async fn turns_that_nobody_took_are_not_saved_up(database: &impl Database) {
    let line = database.orders();
    for minute in 0..3 {
        let now = NOW.plus_seconds(60 * minute);
        for n in 0..3 {
            let turn = take(&line, wanted(1_000, 1, now)).await;
            assert_eq!(turn, Turn::From(now.plus_millis(n)));
        }
    }
}

pub async fn who_would_come_too_late_takes_nothing(database: &impl Database) {
    let line = database.orders();
    assert_eq!(take(&line, wanted(1, 5, NOW)).await, Turn::From(NOW));
    let at_last = Turn::From(NOW.plus_seconds(5));
    assert_eq!(take(&line, wanted(1, 1, NOW)).await, at_last);
    for _ in 0..2 {
        for line in [&line, &database.orders()] {
            let refused = take(line, wanted(1, 1, NOW)).await;
            assert_eq!(refused, Turn::Later(NOW.plus_seconds(6)));
        }
    }
    let turn = take(&line, wanted(1, 1, NOW.plus_seconds(1))).await;
    assert_eq!(turn, Turn::From(NOW.plus_seconds(6)));
}

pub async fn a_line_from_a_wrong_clock_holds_nobody_up(database: &impl Database) {
    let line = database.orders();
    let tomorrow = NOW.plus_seconds(86_400);
    assert_eq!(take(&line, wanted(25, 1, tomorrow)).await, Turn::From(tomorrow));
    for (line, at) in [(database.orders(), 0), (line, 40)] {
        let turn = take(&line, wanted(25, 1, NOW)).await;
        assert_eq!(turn, Turn::From(NOW.plus_millis(at)));
    }
}

pub async fn each_line_hands_out_its_own_turns(database: &impl Database) {
    let orders = database.orders();
    for at in [0, 40] {
        for line in 0..MAX_LINES {
            let mut wanted = wanted(25, 1, NOW);
            wanted.line = line;
            let turn = take(&orders, wanted).await;
            assert_eq!(turn, Turn::From(NOW.plus_millis(at)), "{line}");
        }
    }
}

pub async fn of_many_at_once_each_has_turns_of_its_own(database: &impl Database) {
    let line = database.orders();
    let turns = race(16, |_| line.take_calls(wanted(25, 2, NOW))).await;
    let begins = |turn| match turn {
        Turn::From(at) => micros(at),
        Turn::Later(at) => panic!("later, at {at:?}"),
    };
    let mut begun: Vec<i64> = turns.into_iter().map(begins).collect();
    begun.sort_unstable();
    let expected: Vec<i64> = (0..16).map(|n| micros(NOW.plus_millis(80 * n))).collect();
    assert_eq!(begun, expected);
}

pub async fn a_card_is_counted_by_orders_up_to_the_bound(database: &impl Database) {
    let orders = database.orders();
    let [drop, other] = ["one", "two"].map(id::<DropId>);
    let [card, another] = ["fp1", "fp-2"].map(id::<CardFingerprint>);
    let order = |n: u32| id::<OrderId>(&format!("o{n:a>26}").replace(['0', '1', '8', '9'], "b"));
    for n in 2..8 {
        // An order that is recorded again counts once.
        for _ in 0..2 {
            let noted = answered(orders.note_decline(&drop, &card, &order(n)).await);
            assert_eq!(noted, n - 1);
        }
    }
    let noted = answered(orders.note_decline(&drop, &card, &order(22)).await);
    assert_eq!(noted, MAX_CARD_DECLINES);
    for (drop, card) in [(&drop, &another), (&other, &card)] {
        assert_eq!(answered(orders.note_decline(drop, card, &order(2)).await), 1);
    }
}
