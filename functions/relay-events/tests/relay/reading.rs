//! Tests how the relay parses a record, and to which queues it sends the event.

use domain::order::Order;
use domain::time::Timestamp;
use events::{EventType, OrderEvent};
use memory::MemoryLedger;
use ports::ledger::{ProjectOrders as _, Projected};
use ports::messages::Destination::Ledger;
use relay_events::record::MAX_PARKED_BYTES;
use serde_json::{Value, json};

use crate::bench::{Bench, broken, life, order, record, records};

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
    assert_eq!(bench.mail(), [event(4, EventType::Cancelled)]);
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
    assert_eq!(bench.ledger().len(), 1);
    assert_eq!(bench.queues.parked().len(), 0);
}

#[tokio::test]
async fn a_look_that_is_put_off_is_no_event_and_a_rebuild_is_for_the_ledger_alone() {
    let bench = Bench::new();
    let ada = order("ada");
    let later = Order {
        due_at: ada.due_at.plus_seconds(15),
        ..ada.clone()
    };
    let paid = ada.settle(ada.placed_at).unwrap().order;
    let batch = [record(1, Some(&ada), Some(&later))];
    assert_eq!(bench.relay(&batch).await, None);
    assert_eq!(bench.ledger().len(), 0);
    assert_eq!(bench.queues.parked().len(), 0);
    let rebuild = |place, order| {
        let mut record = record(place, None, Some(order));
        record["eventName"] = json!("REBUILD");
        record
    };
    assert_eq!(bench.relay(&[rebuild(1, &later), rebuild(2, &paid)]).await, None);
    assert_eq!(bench.ledger().len(), 2);
    assert!(bench.payments().is_empty() && bench.mail().is_empty());
}

#[tokio::test]
async fn a_ledger_that_lost_everything_has_the_same_rows_after_a_rebuild_from_the_orders_table_alone() {
    let (lives, ledger) = ([life("ada"), life("bob")[..2].to_vec()], MemoryLedger::new());
    let bench = Bench::new();
    for life in &lives {
        assert_eq!(bench.relay(&records(1, life)).await, None);
    }
    ledger.project(&bench.queues.sent_to(Ledger)).await;
    // A rebuild reads the orders table, which contains each order in its current state only.
    let (items, rebuilt) = (
        lives.each_ref().map(|life| life.last().unwrap()),
        MemoryLedger::new(),
    );
    let rebuild: Vec<Value> = (items.iter().zip(1..))
        .map(|(order, n)| {
            let mut record = record(n, None, Some(order));
            record["eventName"] = json!("REBUILD");
            record
        })
        .collect();
    let bench = Bench::new();
    assert_eq!(bench.relay(&rebuild).await, None);
    let sent = bench.queues.sent_to(Ledger);
    rebuilt.project(&sent).await;
    assert_eq!(rebuilt.orders(), ledger.orders());
    for order in items {
        let rows = [&ledger, &rebuilt].map(|ledger| ledger.latest(&order.id).unwrap());
        let row = |event: &OrderEvent| (event.data.clone(), event.correlation.clone());
        assert_eq!(row(&rows[0]), row(&rows[1]));
    }
    // A rebuild changes nothing in a ledger that lost nothing.
    let again = ledger.project(&sent).await;
    assert!(
        again.iter().all(|done| *done == Ok(Projected::Known)),
        "{again:?}"
    );
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
    let mut long = record(1, None, Some(&order("ada")));
    let doc = long["dynamodb"]["NewImage"]["doc"]["S"].as_str().unwrap();
    let mut doc: Value = serde_json::from_str(doc).unwrap();
    doc["payment_id"] = json!("p".repeat(20_000));
    long["dynamodb"]["NewImage"]["doc"]["S"] = json!(doc.to_string());
    let mut far = order("bob");
    far.updated_at = Timestamp::from_millis(i64::MAX);
    let batch = [long, record(2, None, Some(&far))];
    assert_eq!(bench.relay(&batch).await, None);
    assert_eq!(bench.ledger().len(), 0);
    assert_eq!(bench.queues.parked().len(), 2);
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

/// The sample events in `events/` have the effects that their file names state.
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
            include_str!("../../events/order-placed.json"),
            &[EventType::Placed][..],
            1,
            0,
        ),
        (
            include_str!("../../events/order-paid.json"),
            &[EventType::Updated, EventType::Paid],
            0,
            0,
        ),
        (
            include_str!("../../events/undecodable.json"),
            &[EventType::Placed],
            1,
            1,
        ),
    ] {
        let bench = Bench::new();
        assert_eq!(bench.relay(&kept(text)).await, None);
        let kinds: Vec<_> = bench.ledger().into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds, ledger);
        assert_eq!(bench.payments().len(), payments);
        assert_eq!(bench.queues.parked().len(), parked);
    }
}
