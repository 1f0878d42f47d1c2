//! Tests the contract of the message ports.

use std::collections::BTreeMap;
use std::future::Future;

use domain::order::{EndReason, Order};
use events::OrderEvent;
use futures_util::future::join_all;
use ports::messages::{Destination, ParkRecord, SendEvents};

use crate::fixtures::{NOW, placing};
use memory::MemoryQueues;

/// The contract of the queues, as tests; `$setup` makes empty queues.
#[macro_export]
macro_rules! messages_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [messages]:
            nothing_to_send_is_answered_with_nothing,
            what_is_sent_arrives_whole,
            more_than_one_batch_arrives,
            each_destination_gets_its_own,
            a_repeat_arrives_again,
            many_senders_at_once_lose_nothing,
            a_parked_record_arrives_as_it_was,
        );
    };
}

/// Queues under test, with a separate way to receive their messages.
pub trait Queues: SendEvents + ParkRecord {
    /// Receives at least `expected` events of a queue, in any order.
    fn take(&self, from: Destination, expected: usize) -> impl Future<Output = Vec<OrderEvent>>;
    /// Receives `expected` parked records, in any order, or more if there are more.
    fn take_parked(&self, expected: usize) -> impl Future<Output = Vec<String>>;
}

impl Queues for MemoryQueues {
    async fn take(&self, from: Destination, _expected: usize) -> Vec<OrderEvent> {
        self.drain(from)
    }

    async fn take_parked(&self, _expected: usize) -> Vec<String> {
        self.parked()
    }
}

const ALL: [Destination; 3] = [Destination::Payments, Destination::Ledger, Destination::Mail];

/// A different order for each name.
fn order(name: &str) -> Order {
    placing(name, "k", 1, 2).order
}

/// `count` events, each of a different order.
fn placed(prefix: &str, count: usize) -> Vec<OrderEvent> {
    let event = |n| OrderEvent::of_change(None, &order(&format!("{prefix}{n}")));
    (0..count).map(event).collect()
}

/// Sends events to `to`. Every event must be accepted.
async fn sent(queues: &impl SendEvents, to: Destination, events: &[OrderEvent]) {
    let answers = queues.send(to, events).await;
    assert_eq!(answers, vec![Ok(()); events.len()]);
}

/// The number of each event's occurrences, by the event's id.
fn counted(events: &[OrderEvent]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.id()).or_default() += 1;
    }
    counts
}

pub async fn nothing_to_send_is_answered_with_nothing(queues: &impl Queues) {
    for to in ALL {
        assert_eq!(queues.send(to, &[]).await, []);
        assert_eq!(queues.take(to, 0).await, []);
    }
}

pub async fn what_is_sent_arrives_whole(queues: &impl Queues) {
    let before = order("ada");
    let after = before.undo(EndReason::ByShopper, NOW.plus_seconds(3));
    let event = OrderEvent::of_change(Some(&before), &after.unwrap().order);
    sent(queues, Destination::Ledger, std::slice::from_ref(&event)).await;
    assert_eq!(queues.take(Destination::Ledger, 1).await, [event]);
}

pub async fn more_than_one_batch_arrives(queues: &impl Queues) {
    let events = placed("s", 33);
    sent(queues, Destination::Payments, &events).await;
    let arrived = queues.take(Destination::Payments, events.len()).await;
    assert_eq!(counted(&arrived), counted(&events));
}

pub async fn each_destination_gets_its_own(queues: &impl Queues) {
    let (payments, ledger) = (placed("p", 2), placed("l", 3));
    sent(queues, Destination::Payments, &payments).await;
    sent(queues, Destination::Ledger, &ledger).await;
    let arrived = queues.take(Destination::Payments, 2).await;
    assert_eq!(counted(&arrived), counted(&payments));
    let arrived = queues.take(Destination::Ledger, 3).await;
    assert_eq!(counted(&arrived), counted(&ledger));
    assert_eq!(queues.take_parked(0).await, Vec::<String>::new());
}

pub async fn a_repeat_arrives_again(queues: &impl Queues) {
    let events = placed("s", 1);
    sent(queues, Destination::Ledger, &events).await;
    sent(queues, Destination::Ledger, &events).await;
    assert_eq!(queues.take(Destination::Ledger, 2).await.len(), 2);
}

pub async fn many_senders_at_once_lose_nothing(queues: &impl Queues) {
    let batches: Vec<Vec<OrderEvent>> = (0..8).map(|n| placed(&format!("s{n}x"), 12)).collect();
    let sending = batches
        .iter()
        .map(|events| sent(queues, Destination::Ledger, events));
    join_all(sending).await;
    let arrived = queues.take(Destination::Ledger, 96).await;
    assert_eq!(counted(&arrived), counted(&batches.concat()));
}

pub async fn a_parked_record_arrives_as_it_was(queues: &impl Queues) {
    let raw = r#"{"eventID":"1","dynamodb":{"NewImage":{"doc":{"S":"a \"b\" <c> & \u0000 € 𝄞\n"}}}}"#;
    assert_eq!(queues.park(raw).await, Ok(()));
    assert_eq!(queues.take_parked(1).await, [raw]);
    for to in ALL {
        assert_eq!(queues.take(to, 0).await, []);
    }
}
