//! Tests the contract of the ledger port.

use std::future::Future;

use domain::ids::OrderId;
use domain::order::{EndReason, Order};
use events::OrderEvent;
use futures_util::future::join_all;
use ports::ledger::{ProjectOrders, Projected};

use crate::answered;
use crate::fixtures::{NOW, id, placing};
use memory::MemoryLedger;

/// The contract of the ledger, as tests; `$setup` makes an empty ledger.
#[macro_export]
macro_rules! ledger_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [ledger]:
            nothing_to_write_is_answered_with_nothing,
            versions_in_order_are_each_the_latest,
            a_batch_answers_as_its_events_one_by_one_would,
            a_repeat_is_known_and_changes_nothing,
            a_repeat_within_a_batch_is_known,
            an_older_version_is_kept_and_changes_no_order,
            any_order_of_arrival_ends_the_same,
            many_orders_in_one_batch_do_not_mix,
            the_same_batch_at_once_is_written_once,
            versions_at_once_end_at_the_highest,
        );
    };
}

/// A ledger under test, with a separate way to read its rows.
pub trait Ledger: ProjectOrders {
    /// The order at its latest version.
    fn latest(&self, id: &OrderId) -> impl Future<Output = Option<OrderEvent>>;
    /// The stored versions of an order, oldest first, with their status as the API writes it.
    fn history(&self, id: &OrderId) -> impl Future<Output = Vec<(u32, String)>>;
}

impl Ledger for MemoryLedger {
    async fn latest(&self, id: &OrderId) -> Option<OrderEvent> {
        MemoryLedger::latest(self, id)
    }

    async fn history(&self, id: &OrderId) -> Vec<(u32, String)> {
        stages(&MemoryLedger::history(self, id))
    }
}

/// The versions of an order that is paid and refunded: placed, with a payment, action required, paid, refunded.
pub fn life(name: &str) -> Vec<OrderEvent> {
    let at = |seconds| NOW.plus_seconds(seconds);
    let placed = placing(name, "k", 2, 2).order;
    let payment = id(&format!("pi_{name}"));
    let paying = placed.with_payment(payment, at(1)).unwrap().order;
    let page = "https://bank.example".to_owned();
    let acting = paying.require_action(page, at(2)).unwrap().order;
    let paid = acting.settle(at(3)).unwrap().order;
    let refunded = paid.refund(at(4)).unwrap().order;
    changes(&[placed, paying, acting, paid, refunded])
}

/// The versions of an order that is cancelled.
pub fn cancelled_life(name: &str) -> Vec<OrderEvent> {
    let placed = placing(name, "k", 1, 2).order;
    let undone = placed.undo(EndReason::ByShopper, NOW.plus_seconds(1));
    changes(&[placed, undone.unwrap().order])
}

fn changes(orders: &[Order]) -> Vec<OrderEvent> {
    let before = std::iter::once(None).chain(orders.iter().map(Some));
    before
        .zip(orders)
        .map(|(before, after)| OrderEvent::of_change(before, after))
        .collect()
}

/// The version and the status of each event.
fn stages(events: &[OrderEvent]) -> Vec<(u32, String)> {
    let stage = |event: &OrderEvent| (event.data.version, event.data.status.as_str().to_owned());
    events.iter().map(stage).collect()
}

/// Writes events without faults, and returns the answers.
async fn projected(ledger: &impl ProjectOrders, events: &[OrderEvent]) -> Vec<Projected> {
    let answers = ledger.project(events).await;
    answers.into_iter().map(answered).collect()
}

/// Asserts that the order's row has the values of the event. The row has only the current state and no history.
async fn assert_latest(ledger: &impl Ledger, event: &OrderEvent) {
    let latest = ledger.latest(&event.data.order_id).await;
    let seen = |event: OrderEvent| (event.data, event.correlation);
    assert_eq!(latest.map(seen), Some(seen(event.clone())));
}

/// Asserts that the history has exactly the versions of `events`.
async fn assert_history(ledger: &impl Ledger, events: &[OrderEvent]) {
    let history = ledger.history(&events[0].data.order_id).await;
    assert_eq!(history, stages(events));
}

pub async fn nothing_to_write_is_answered_with_nothing(ledger: &impl Ledger) {
    assert_eq!(projected(ledger, &[]).await, []);
    assert_eq!(ledger.latest(&life("ada")[0].data.order_id).await, None);
}

pub async fn versions_in_order_are_each_the_latest(ledger: &impl Ledger) {
    let life = life("ada");
    for event in &life {
        let answers = projected(ledger, std::slice::from_ref(event)).await;
        assert_eq!(answers, [Projected::Latest]);
        assert_latest(ledger, event).await;
    }
    assert_history(ledger, &life).await;
}

pub async fn a_batch_answers_as_its_events_one_by_one_would(ledger: &impl Ledger) {
    use Projected::{Known, Late, Latest};
    let life = life("ada");
    let batch = [1, 0, 3, 2, 3].map(|at: usize| life[at].clone());
    let answers = projected(ledger, &batch).await;
    assert_eq!(answers, [Latest, Late, Latest, Late, Known]);
    assert_latest(ledger, &life[3]).await;
    assert_history(ledger, &life[..4]).await;
}

pub async fn a_repeat_is_known_and_changes_nothing(ledger: &impl Ledger) {
    let life = life("ada");
    projected(ledger, &life).await;
    assert_eq!(projected(ledger, &life).await, vec![Projected::Known; life.len()]);
    assert_latest(ledger, &life[life.len() - 1]).await;
    assert_history(ledger, &life).await;
}

pub async fn a_repeat_within_a_batch_is_known(ledger: &impl Ledger) {
    let first = life("ada").remove(0);
    let answers = projected(ledger, &[first.clone(), first.clone()]).await;
    assert_eq!(answers, [Projected::Latest, Projected::Known]);
    assert_history(ledger, &[first]).await;
}

pub async fn an_older_version_is_kept_and_changes_no_order(ledger: &impl Ledger) {
    let life = life("ada");
    assert_eq!(projected(ledger, &life[3..4]).await, [Projected::Latest]);
    let batch = [1, 4, 2].map(|at: usize| life[at].clone());
    let answers = projected(ledger, &batch).await;
    assert_eq!(answers, [Projected::Late, Projected::Latest, Projected::Late]);
    assert_eq!(projected(ledger, &life[..1]).await, [Projected::Late]);
    assert_latest(ledger, &life[4]).await;
    assert_history(ledger, &life).await;
}

pub async fn any_order_of_arrival_ends_the_same(ledger: &impl Ledger) {
    // The lives have every rotation of the versions, forward and backward, each for a different order.
    let lives = (0..10).map(|n| {
        let mut life = life(&format!("s{n}"));
        if n % 2 == 1 {
            life.reverse();
        }
        life.rotate_left(n / 2);
        life
    });
    for mut life in lives {
        for event in &life {
            let answers = projected(ledger, std::slice::from_ref(event)).await;
            assert_ne!(answers, [Projected::Known]);
        }
        life.sort_by_key(|event| event.data.version);
        assert_latest(ledger, &life[4]).await;
        assert_history(ledger, &life).await;
    }
}

pub async fn many_orders_in_one_batch_do_not_mix(ledger: &impl Ledger) {
    let life = |n| match n % 3 {
        0 => cancelled_life(&format!("c{n}")),
        _ => life(&format!("p{n}")),
    };
    let lives: Vec<Vec<OrderEvent>> = (0..15).map(life).collect();
    let batch = lives.concat();
    let answers = projected(ledger, &batch).await;
    assert_eq!(answers, vec![Projected::Latest; batch.len()]);
    for life in &lives {
        assert_latest(ledger, &life[life.len() - 1]).await;
        assert_history(ledger, life).await;
    }
}

pub async fn the_same_batch_at_once_is_written_once(ledger: &impl Ledger) {
    let life = life("ada");
    let answers = join_all((0..8).map(|_| projected(ledger, &life))).await;
    let mut new = answers.concat();
    new.retain(|answer| *answer != Projected::Known);
    assert_eq!(new.len(), life.len());
    assert_latest(ledger, &life[4]).await;
    assert_history(ledger, &life).await;
}

pub async fn versions_at_once_end_at_the_highest(ledger: &impl Ledger) {
    let life = life("ada");
    let events = life.chunks(1);
    let answers = join_all(events.map(|event| projected(ledger, event))).await;
    assert!(answers.concat().contains(&Projected::Latest));
    assert_latest(ledger, &life[4]).await;
    assert_history(ledger, &life).await;
}
