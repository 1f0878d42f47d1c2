//! Tests the relay while a queue does not accept messages.

use events::EventType;
use memory::SendFault;
use ports::runtime::Clock as _;
use proptest::prelude::*;
use relay_events::{Relay, StreamBatch, WholeBatchFailed};
use serde_json::{Value, json};

use crate::bench::{Bench, broken, life, order, record, records, sequence};

#[tokio::test]
async fn what_is_not_accepted_is_sent_again() {
    for fault in [SendFault::Lost, SendFault::Unconfirmed] {
        let bench = Bench::new();
        let life = life("ada");
        // The second event to the ledger's queue fails, and then the first event to the payments queue.
        for fault in [None, Some(fault), None, None, Some(fault)] {
            bench.queues.fail_next_event(fault);
        }
        assert_eq!(bench.relay(&records(1, &life)).await, None);
        let mut ledger = bench.ledger();
        ledger.sort_by(|a, b| a.0.cmp(&b.0));
        ledger.dedup();
        assert_eq!(ledger.len(), 4, "{fault:?}");
        assert!(
            bench
                .payments()
                .iter()
                .any(|(_, kind)| *kind == EventType::Placed),
            "{fault:?}"
        );
        assert!(
            bench
                .payments()
                .iter()
                .any(|(_, kind)| *kind == EventType::CancelRequested),
            "{fault:?}"
        );
        assert!(bench.runtime.slept_ms() > 0);
    }
}

#[tokio::test]
async fn the_stream_starts_again_at_the_first_that_was_never_accepted() {
    for failing in 0..4 {
        let bench = Bench::new();
        let records = records(10, &life("ada"));
        // One event fails at the ledger's queue, in the first try and in every repeat. Between them, the sends to the
        // payments queue succeed.
        for n in 0..4 {
            bench
                .queues
                .fail_next_event((n == failing).then_some(SendFault::Lost));
        }
        bench.queues.fail_next_event(None);
        bench.queues.fail_next_event(None);
        for _ in 0..20 {
            bench.queues.fail_next_event(Some(SendFault::Lost));
        }
        assert_eq!(bench.relay(&records).await, Some(sequence(10 + failing)));
        assert_eq!(bench.ledger().len(), 3, "what came after was sent");
        // The next invocation starts at the returned sequence number.
        let bench = Bench::new();
        assert_eq!(bench.relay(&records[failing..]).await, None);
        assert_eq!(bench.ledger().len(), 4 - failing);
    }
}

#[tokio::test]
async fn payments_that_are_never_accepted_hold_the_stream() {
    let bench = Bench::new();
    for n in 0..30 {
        // The first four sends go to the ledger's queue. All others go to the payments queue and fail.
        bench.queues.fail_next_event((n >= 4).then_some(SendFault::Lost));
    }
    assert_eq!(bench.relay(&records(1, &life("ada"))).await, Some(sequence(1)));
    assert_eq!(bench.ledger().len(), 4);
    assert_eq!(bench.payments().len(), 0);
}

#[tokio::test]
async fn what_cannot_even_be_parked_holds_the_stream() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.queues.fail_next_park(SendFault::Lost);
    }
    let batch = [record(1, None, Some(&order("ada"))), broken(2), broken(3)];
    assert_eq!(bench.relay(&batch).await, Some(sequence(2)));
    assert_eq!(bench.ledger().len(), 1);
    assert_eq!(bench.queues.parked().len(), 0);
    bench.queues.fail_next_park(SendFault::Unconfirmed);
    assert_eq!(bench.relay(&batch[1..]).await, None);
    assert_eq!(bench.queues.parked().len(), 3, "one of them twice");
}

#[tokio::test]
async fn the_earliest_failure_of_all_kinds_counts() {
    let bench = Bench::new();
    for _ in 0..20 {
        bench.queues.fail_next_event(Some(SendFault::Lost));
        bench.queues.fail_next_park(SendFault::Lost);
    }
    let batch = [broken(1), record(2, None, Some(&order("ada")))];
    assert_eq!(bench.relay(&batch).await, Some(sequence(1)));
}

#[tokio::test]
async fn a_failed_record_without_a_number_fails_the_batch() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.queues.fail_next_park(SendFault::Lost);
    }
    assert_eq!(bench.try_relay(&[json!({})]).await, Err(WholeBatchFailed));
}

#[tokio::test]
async fn repeating_ends_long_before_the_deadline() {
    let bench = Bench::new();
    for _ in 0..20 {
        bench.queues.fail_next_event(Some(SendFault::Lost));
    }
    let relay = Relay::new(bench.queues.clone(), bench.runtime.clone());
    let batch = StreamBatch {
        records: vec![record(1, None, Some(&order("ada")))],
    };
    let report = relay
        .relay(&batch, bench.runtime.now().plus_seconds(5))
        .await
        .unwrap();
    assert_eq!(report.batch_item_failures.len(), 1);
    assert_eq!(bench.runtime.slept_ms(), 0);
}

proptest! {
    /// Whatever fails and however often: records reported as done have been delivered, and redelivery from the reported
    /// sequence number delivers all others.
    #[test]
    fn nothing_is_ever_skipped(
        faults in proptest::collection::vec(proptest::option::weighted(0.6, proptest::bool::ANY), 0..80),
        park_faults in proptest::collection::vec(proptest::bool::ANY, 0..12),
        broken_at in proptest::collection::vec(0usize..12, 0..4),
    ) {
        let bench = Bench::new();
        let fault = |lost| if lost { SendFault::Lost } else { SendFault::Unconfirmed };
        faults.iter().for_each(|f| bench.queues.fail_next_event(f.map(fault)));
        park_faults.iter().for_each(|f| bench.queues.fail_next_park(fault(*f)));
        let lives = [life("ada"), life("bob"), life("cleo")].concat();
        let mut batch: Vec<Value> = records(0, &lives[..4]);
        batch.extend(records(4, &lives[4..8]));
        batch.extend(records(8, &lives[8..]));
        for n in &broken_at {
            batch[*n] = broken(*n);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut from = 0;
        let mut rounds = 0;
        while let Some(again) = runtime.block_on(bench.relay(&batch[from..])) {
            let next = again.parse::<usize>().unwrap();
            prop_assert!(next >= from && next < batch.len());
            from = next;
            rounds += 1;
            prop_assert!(rounds < 100);
        }
        for (n, after) in lives.iter().enumerate() {
            let id = format!("{}:{}", after.id, after.version);
            let at = |events: Vec<(String, EventType)>| events.iter().any(|(event, _)| *event == id);
            if broken_at.contains(&n) {
                prop_assert!(bench.queues.parked().iter().any(|raw| raw.contains(&sequence(n))));
            } else {
                prop_assert!(at(bench.ledger()));
                prop_assert_eq!(at(bench.payments()), n % 4 == 0 || n % 4 == 2);
            }
        }
    }
}
