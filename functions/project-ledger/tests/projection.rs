//! Tests the projection on a ledger in memory, with faults at the ledger's calls.
#![cfg(test)]

use aws_lambda_events::sqs::SqsEvent;
use contracts::ledger::{cancelled_life, life};
use events::{MAX_EVENT_BYTES, OrderEvent};
use memory::{MemoryLedger, TestRuntime};
use ports::ledger::LedgerError;
use ports::runtime::Clock as _;
use project_ledger::{Projection, WholeBatchFailed};
use serde_json::{Value, json};

struct Bench {
    ledger: MemoryLedger,
    runtime: TestRuntime,
}

impl Bench {
    fn new() -> Self {
        Self {
            ledger: MemoryLedger::new(),
            runtime: TestRuntime::default(),
        }
    }

    async fn try_project(&self, records: &[Value], seconds: u32) -> Result<Vec<String>, WholeBatchFailed> {
        let projection = Projection::new(self.ledger.clone(), self.runtime.clone());
        let batch: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
        let report = projection
            .project(&batch, self.runtime.now().plus_seconds(seconds))
            .await?;
        let report = serde_json::to_value(report).unwrap();
        let failures = report["batchItemFailures"].as_array().unwrap();
        Ok(failures
            .iter()
            .map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned())
            .collect())
    }

    /// Projects the messages, and returns the ids of those that failed.
    async fn project(&self, records: &[Value]) -> Vec<String> {
        self.try_project(records, 30).await.unwrap()
    }

    fn away(&self, times: usize) {
        for _ in 0..times {
            self.ledger
                .fail_next(Some(LedgerError::Unavailable("away".to_owned())));
        }
    }

    fn versions(&self, life: &[OrderEvent]) -> Vec<u32> {
        self.ledger
            .history(&life[0].data.order_id)
            .iter()
            .map(|event| event.data.version)
            .collect()
    }
}

/// Makes a message in Lambda's format.
fn message(id: &str, body: &str) -> Value {
    json!({
        "messageId": id,
        "receiptHandle": "r",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1800000000000"},
        "messageAttributes": {},
        "md5OfBody": "d",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:ledger",
        "awsRegion": "eu-central-1",
    })
}

/// Makes the messages of `events`. Each message's id is the version in its event.
fn messages(events: &[OrderEvent]) -> Vec<Value> {
    let of = |event: &OrderEvent| message(&event.data.version.to_string(), &event.encode().unwrap());
    events.iter().map(of).collect()
}

#[tokio::test]
async fn every_version_is_written_in_any_order_and_however_often() {
    let bench = Bench::new();
    let life = life("ada");
    let mut batch = messages(&life);
    batch.reverse();
    batch.extend(messages(&life[..2]));
    for _ in 0..2 {
        assert_eq!(bench.project(&batch).await, Vec::<String>::new());
        assert_eq!(bench.versions(&life), [1, 2, 3, 4, 5]);
    }
    assert_eq!(
        bench.ledger.latest(&life[0].data.order_id).unwrap().data,
        life[4].data
    );
    assert_eq!(bench.runtime.slept_ms(), 0);
}

#[tokio::test]
async fn an_empty_batch_is_done() {
    assert_eq!(Bench::new().project(&[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_event_fails_alone() {
    let bench = Bench::new();
    let life = life("ada");
    let good = life[0].encode().unwrap();
    let mut batch = messages(&life[..2]);
    for (id, body) in [
        ("empty", String::new()),
        ("text", "hello".to_owned()),
        ("json", "{}".to_owned()),
        ("null", "null".to_owned()),
        ("deep", "[".repeat(10_000)),
        ("long", " ".repeat(MAX_EVENT_BYTES + 1)),
        ("foreign", good.replace("/stampede/orders", "/elsewhere")),
        ("eaten", good.replace("order.placed", "order.eaten")),
        ("cut", good[..good.len() / 2].to_owned()),
    ] {
        batch.insert(1, message(id, &body));
    }
    let mut without_body = message("bodyless", "");
    without_body["body"] = Value::Null;
    batch.push(without_body);
    let mut failed = bench.project(&batch).await;
    failed.sort();
    assert_eq!(
        failed,
        [
            "bodyless", "cut", "deep", "eaten", "empty", "foreign", "json", "long", "null", "text"
        ]
    );
    assert_eq!(bench.versions(&life), [1, 2]);
    assert_eq!(bench.runtime.slept_ms(), 0, "no repeat can mend it");
}

#[tokio::test]
async fn what_the_ledger_refuses_fails_alone_and_at_once() {
    let bench = Bench::new();
    let (life, other) = (life("ada"), cancelled_life("bob"));
    bench.ledger.fail_next(None);
    bench
        .ledger
        .fail_next(Some(LedgerError::Refused("a_rule".to_owned())));
    let batch = [
        messages(&life[..3]),
        vec![message("other", &other[0].encode().unwrap())],
    ]
    .concat();
    assert_eq!(bench.project(&batch).await, ["2"]);
    assert_eq!(bench.versions(&life), vec![1, 3]);
    assert_eq!(bench.versions(&other), vec![1]);
    assert_eq!(bench.runtime.slept_ms(), 0);
}

#[tokio::test]
async fn while_the_database_is_away_for_a_moment_only_the_rest_is_tried_again() {
    let bench = Bench::new();
    let life = life("ada");
    bench.ledger.fail_next(None);
    bench.away(3);
    assert_eq!(bench.project(&messages(&life[..3])).await, Vec::<String>::new());
    assert_eq!(bench.versions(&life), [1, 2, 3]);
    assert!(bench.runtime.slept_ms() > 0);
}

#[tokio::test]
async fn while_the_database_stays_away_everything_comes_again() {
    let bench = Bench::new();
    let life = life("ada");
    bench.away(10);
    assert_eq!(bench.project(&messages(&life[..2])).await, ["1", "2"]);
    assert_eq!(bench.versions(&life), Vec::<u32>::new());
    assert_eq!(bench.project(&messages(&life[..2])).await, Vec::<String>::new());
    assert_eq!(bench.versions(&life), [1, 2]);
}

#[tokio::test]
async fn no_try_begins_that_might_not_end_in_time() {
    let bench = Bench::new();
    bench.away(1);
    let batch = messages(&life("ada")[..1]);
    assert_eq!(bench.try_project(&batch, 5).await, Ok(vec!["1".to_owned()]));
    assert_eq!(bench.runtime.slept_ms(), 0);
}

#[tokio::test]
async fn a_failed_message_without_an_id_fails_the_batch() {
    for id in [Value::Null, json!("")] {
        let bench = Bench::new();
        let mut nameless = message("x", "{}");
        nameless["messageId"] = id;
        assert_eq!(bench.try_project(&[nameless], 30).await, Err(WholeBatchFailed));
    }
}

/// The sample events in `events/` have the effects that their file names state.
#[tokio::test]
async fn the_kept_events_are_projected() {
    for (text, versions, failed) in [
        (include_str!("../events/order-paid.json"), 3, 0),
        (include_str!("../events/undecodable.json"), 1, 1),
    ] {
        let bench = Bench::new();
        let kept: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            bench.project(kept["Records"].as_array().unwrap()).await.len(),
            failed
        );
        let order = bench.ledger.orders().remove(0);
        assert_eq!(bench.ledger.history(&order).len(), versions);
    }
}
