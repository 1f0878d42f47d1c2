//! The relay on queues in memory, with faults at each of its calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use domain::order::{EndReason, Order};
use domain::time::Timestamp;
use events::{EventType, OrderEvent};
use memory::contract::scene::placing;
use memory::{MemoryQueues, SendFault, TestEdge};
use ports::edge::Edge as _;
use ports::messages::Destination::{Ledger, Payments};
use proptest::prelude::*;
use relay_events::record::MAX_PARKED_BYTES;
use relay_events::{BatchReport, Relay, StreamBatch, WholeBatchFailed};
use serde_json::{Value, json};

struct Bench {
    queues: MemoryQueues,
    edge: TestEdge,
}

impl Bench {
    fn new() -> Self {
        Self {
            queues: MemoryQueues::new(),
            edge: TestEdge::default(),
        }
    }

    async fn try_relay(&self, records: &[Value]) -> Result<BatchReport, WholeBatchFailed> {
        let relay = Relay {
            queues: self.queues.clone(),
            edge: self.edge.clone(),
        };
        let batch: StreamBatch = serde_json::from_value(json!({ "Records": records })).unwrap();
        relay.relay(&batch, self.edge.now().plus_seconds(30)).await
    }

    /// Relays, and answers with the sequence number from which the stream must start again.
    async fn relay(&self, records: &[Value]) -> Option<String> {
        let report = serde_json::to_value(self.try_relay(records).await.unwrap()).unwrap();
        let failures = report["batchItemFailures"].as_array().unwrap();
        assert!(failures.len() <= 1);
        failures
            .first()
            .map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned())
    }

    fn ledger(&self) -> Vec<(String, EventType)> {
        of(&self.queues.sent_to(Ledger))
    }

    fn payments(&self) -> Vec<(String, EventType)> {
        of(&self.queues.sent_to(Payments))
    }
}

fn of(events: &[OrderEvent]) -> Vec<(String, EventType)> {
    events.iter().map(|event| (event.id(), event.kind)).collect()
}

fn image(order: &Order) -> Value {
    json!({
        "pk": {"S": order.id.as_str()},
        "version": {"N": order.version.to_string()},
        "status": {"S": order.status.as_str()},
        "shopper_id": {"S": order.shopper.as_str()},
        "doc": {"S": serde_json::to_string(order).unwrap()},
        "an_attribute_to_come": {"M": {"x": {"NULL": true}}},
    })
}

/// The record number `n` of a stream.
fn record(n: usize, before: Option<&Order>, after: Option<&Order>) -> Value {
    let name = match (before, after) {
        (None, _) => "INSERT",
        (Some(_), Some(_)) => "MODIFY",
        (Some(_), None) => "REMOVE",
    };
    let mut change = json!({
        "ApproximateCreationDateTime": 1_800_000_000,
        "Keys": {"pk": {"S": after.or(before).unwrap().id.as_str()}},
        "SequenceNumber": sequence(n),
        "SizeBytes": 700,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    if let Some(before) = before {
        change["OldImage"] = image(before);
    }
    if let Some(after) = after {
        change["NewImage"] = image(after);
    }
    json!({
        "eventID": format!("e{n}"),
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": change,
        "eventSourceARN": "arn:aws:dynamodb:eu-central-1:000000000000:table/orders/stream/1",
    })
}

fn sequence(n: usize) -> String {
    format!("{n:021}")
}

fn order(name: &str) -> Order {
    placing(name, "k", 1, 2).order
}

fn later(seconds: u32) -> Timestamp {
    TestEdge::START.plus_seconds(seconds)
}

/// The life of an order that is called off while it is being paid.
fn life(name: &str) -> Vec<Order> {
    let placed = order(name);
    let paying = placed.with_payment("pi_1".to_owned(), later(1)).unwrap().order;
    let asked = paying
        .request_cancel(EndReason::ByShopper, later(2))
        .unwrap()
        .order;
    let undone = asked.undo(EndReason::ByShopper, later(3)).unwrap().order;
    vec![placed, paying, asked, undone]
}

/// The records of a life, numbered from `from`.
fn records(from: usize, life: &[Order]) -> Vec<Value> {
    (0..life.len())
        .map(|n| {
            record(
                from + n,
                n.checked_sub(1).map(|before| &life[before]),
                Some(&life[n]),
            )
        })
        .collect()
}

fn broken(n: usize) -> Value {
    let mut record = record(n, None, Some(&order("broken")));
    record["dynamodb"]["NewImage"]["doc"] = json!({"S": "{\"status\":\"eaten\"}"});
    record
}

#[tokio::test]
async fn every_change_reaches_the_ledger_and_some_the_payments() {
    let bench = Bench::new();
    let life = life("ada");
    assert_eq!(bench.relay(&records(1, &life)).await, None);
    let event = |version: usize, kind| (format!("{}:{version}", life[0].id), kind);
    let (placed, asked) = (event(1, EventType::Placed), event(3, EventType::CancelRequested));
    assert_eq!(bench.payments(), [placed.clone(), asked.clone()]);
    assert_eq!(
        bench.ledger(),
        [
            placed,
            event(2, EventType::Updated),
            asked,
            event(4, EventType::Cancelled)
        ]
    );
    assert_eq!(
        bench.queues.sent_to(Ledger)[1].data.payment_id.as_deref(),
        Some("pi_1")
    );
}

#[tokio::test]
async fn an_empty_batch_is_done() {
    assert_eq!(Bench::new().relay(&[]).await, None);
}

#[tokio::test]
async fn a_removal_is_nobody_s_business() {
    let bench = Bench::new();
    let batch = [
        record(1, Some(&order("ada")), None),
        record(2, None, Some(&order("bob"))),
    ];
    assert_eq!(bench.relay(&batch).await, None);
    assert_eq!((bench.ledger().len(), bench.queues.parked().len()), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_read_is_parked_whole_and_holds_nothing_up() {
    let bench = Bench::new();
    let good = record(1, None, Some(&order("ada")));
    let mut strange = Vec::new();
    for (pointer, value) in [
        ("/eventName", json!("UPSERT")),
        ("/eventName", Value::Null),
        ("/dynamodb", Value::Null),
        ("/dynamodb/NewImage", Value::Null),
        ("/dynamodb/NewImage", json!([])),
        ("/dynamodb/NewImage/pk/S", json!("o")),
        ("/dynamodb/NewImage/doc", json!({"B": "AAAA"})),
        ("/dynamodb/NewImage/version/N", json!("2")),
    ] {
        let mut record = good.clone();
        *record.pointer_mut(pointer).unwrap() = value;
        strange.push(record);
    }
    let mut other_s = record(2, Some(&order("bob")), Some(&order("ada")));
    strange.push(other_s.clone());
    other_s["dynamodb"]["OldImage"] = json!({"doc": {"S": "?"}});
    strange.push(other_s);
    strange.extend([json!(null), json!("text"), json!([1, 2]), json!({})]);

    let batch = [&[good.clone()][..], &strange, &[good]].concat();
    assert_eq!(bench.relay(&batch).await, None);
    assert_eq!(bench.ledger().len(), 2);
    let parked: Vec<Value> = bench
        .queues
        .parked()
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    assert_eq!(parked, strange);
}

#[tokio::test]
async fn an_event_that_no_consumer_would_read_is_parked() {
    let bench = Bench::new();
    let mut long = order("ada");
    long.payment_id = Some("p".repeat(20_000));
    let mut far = order("bob");
    far.updated_at = Timestamp::from_millis(i64::MAX);
    let batch = [record(1, None, Some(&long)), record(2, None, Some(&far))];
    assert_eq!(bench.relay(&batch).await, None);
    assert_eq!((bench.ledger().len(), bench.queues.parked().len()), (0, 2));
}

#[tokio::test]
async fn a_record_too_long_for_a_queue_is_parked_with_its_keys() {
    let bench = Bench::new();
    let mut record = broken(7);
    record["dynamodb"]["NewImage"]["zzz"] = json!({"S": "\"€".repeat(MAX_PARKED_BYTES / 4)});
    assert_eq!(bench.relay(&[record.clone()]).await, None);
    let parked = bench.queues.parked();
    assert!(parked[0].len() <= MAX_PARKED_BYTES, "{}", parked[0].len());
    let parked: Value = serde_json::from_str(&parked[0]).unwrap();
    assert_eq!(parked["cut_off_from_bytes"], json!(record.to_string().len()));
    let key = record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap();
    assert!(parked["beginning"].as_str().unwrap().contains(key));
}

#[tokio::test]
async fn what_is_not_accepted_is_sent_again() {
    for fault in [SendFault::Lost, SendFault::Unconfirmed] {
        let bench = Bench::new();
        let life = life("ada");
        // The second event to the ledger, and later the first to the payments.
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
        assert!(bench.edge.slept_ms() > 0);
    }
}

#[tokio::test]
async fn the_stream_starts_again_at_the_first_that_was_never_accepted() {
    for failing in 0..4 {
        let bench = Bench::new();
        let records = records(10, &life("ada"));
        // The first try's event, then every repeat of it, at the ledger. Payments go through in between.
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
        // The next try, from there on.
        let bench = Bench::new();
        assert_eq!(bench.relay(&records[failing..]).await, None);
        assert_eq!(bench.ledger().len(), 4 - failing);
    }
}

#[tokio::test]
async fn payments_that_are_never_accepted_hold_the_stream() {
    let bench = Bench::new();
    for n in 0..30 {
        // Four to the ledger, then only payments.
        bench.queues.fail_next_event((n >= 4).then_some(SendFault::Lost));
    }
    assert_eq!(bench.relay(&records(1, &life("ada"))).await, Some(sequence(1)));
    assert_eq!((bench.ledger().len(), bench.payments().len()), (4, 0));
}

#[tokio::test]
async fn what_cannot_even_be_parked_holds_the_stream() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.queues.fail_next_park(SendFault::Lost);
    }
    let batch = [record(1, None, Some(&order("ada"))), broken(2), broken(3)];
    assert_eq!(bench.relay(&batch).await, Some(sequence(2)));
    assert_eq!((bench.ledger().len(), bench.queues.parked().len()), (1, 0));
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
    let relay = Relay {
        queues: bench.queues.clone(),
        edge: bench.edge.clone(),
    };
    let batch = StreamBatch {
        records: vec![record(1, None, Some(&order("ada")))],
    };
    let report = relay
        .relay(&batch, bench.edge.now().plus_seconds(5))
        .await
        .unwrap();
    assert_eq!(report.batch_item_failures.len(), 1);
    assert_eq!(bench.edge.slept_ms(), 0);
}

proptest! {
    /// Whatever fails and however often: what the stream is told is done has arrived, and redelivering from where it is
    /// told to start again ends with everything delivered.
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

/// The events kept for invoking the function by hand mean what their names say.
#[tokio::test]
async fn the_kept_events_are_relayed() {
    let kept = |text: &str| {
        serde_json::from_str::<Value>(text).unwrap()["Records"]
            .as_array()
            .unwrap()
            .clone()
    };
    for (text, ledger, payments, parked) in [
        (
            include_str!("../events/order-placed.json"),
            &[EventType::Placed][..],
            1,
            0,
        ),
        (
            include_str!("../events/order-paid.json"),
            &[EventType::Updated, EventType::Paid],
            0,
            0,
        ),
        (
            include_str!("../events/undecodable.json"),
            &[EventType::Placed],
            1,
            1,
        ),
    ] {
        let bench = Bench::new();
        assert_eq!(bench.relay(&kept(text)).await, None);
        let kinds: Vec<_> = bench.ledger().into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds, ledger);
        assert_eq!(
            (bench.payments().len(), bench.queues.parked().len()),
            (payments, parked)
        );
    }
}
