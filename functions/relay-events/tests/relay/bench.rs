//! Prepares a relay on queues in memory, and makes the stream records that the tests send through it.

use contracts::fixtures::placing;
use domain::order::{EndReason, Order};
use domain::time::Timestamp;
use events::{EventType, OrderEvent};
use memory::{MemoryQueues, TestRuntime};
use ports::messages::Destination::{Ledger, Mail, Payments};
use ports::runtime::Clock as _;
use relay_events::{BatchReport, Relay, StreamBatch, WholeBatchFailed};
use serde_json::{Value, json};

pub(crate) struct Bench {
    pub(crate) queues: MemoryQueues,
    pub(crate) runtime: TestRuntime,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            queues: MemoryQueues::new(),
            runtime: TestRuntime::default(),
        }
    }

    pub(crate) async fn try_relay(&self, records: &[Value]) -> Result<BatchReport, WholeBatchFailed> {
        let relay = Relay::new(self.queues.clone(), self.runtime.clone());
        let batch: StreamBatch = serde_json::from_value(json!({ "Records": records })).unwrap();
        relay.relay(&batch, self.runtime.now().plus_seconds(30)).await
    }

    /// Relays a batch, and returns the sequence number from which the stream must restart.
    pub(crate) async fn relay(&self, records: &[Value]) -> Option<String> {
        let report = serde_json::to_value(self.try_relay(records).await.unwrap()).unwrap();
        let failures = report["batchItemFailures"].as_array().unwrap();
        assert!(failures.len() <= 1);
        failures
            .first()
            .map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned())
    }

    pub(crate) fn ledger(&self) -> Vec<(String, EventType)> {
        of(&self.queues.sent_to(Ledger))
    }

    pub(crate) fn mail(&self) -> Vec<(String, EventType)> {
        of(&self.queues.sent_to(Mail))
    }

    pub(crate) fn payments(&self) -> Vec<(String, EventType)> {
        of(&self.queues.sent_to(Payments))
    }
}

pub(crate) fn of(events: &[OrderEvent]) -> Vec<(String, EventType)> {
    events.iter().map(|event| (event.id(), event.kind)).collect()
}

pub(crate) fn image(order: &Order) -> Value {
    json!({
        "pk": {"S": order.id.as_str()},
        "version": {"N": order.version.to_string()},
        "status": {"S": order.status.as_str()},
        "shopper_id": {"S": order.shopper.as_str()},
        "due_at": {"N": order.due_at.as_millis().to_string()},
        "doc": {"S": serde_json::to_string(order).unwrap()},
        "an_attribute_to_come": {"M": {"x": {"NULL": true}}},
    })
}

/// The stream record of a change, with the sequence number `n`: an insert if `before` is `None`, a removal if `after`
/// is `None`, otherwise a modification.
pub(crate) fn record(n: usize, before: Option<&Order>, after: Option<&Order>) -> Value {
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

pub(crate) fn sequence(n: usize) -> String {
    format!("{n:021}")
}

pub(crate) fn order(name: &str) -> Order {
    placing(name, "k", 1, 2).order
}

pub(crate) fn later(seconds: u32) -> Timestamp {
    TestRuntime::START.plus_seconds(seconds)
}

/// Makes the versions of an order that is cancelled while its payment is in progress.
pub(crate) fn life(name: &str) -> Vec<Order> {
    let placed = order(name);
    let paying = placed
        .with_payment("pi_1".parse().unwrap(), later(1))
        .unwrap()
        .order;
    let asked = paying
        .request_cancel(EndReason::ByShopper, later(2))
        .unwrap()
        .order;
    let undone = asked.undo(EndReason::ByShopper, later(3)).unwrap().order;
    vec![placed, paying, asked, undone]
}

/// Makes the stream records of the versions `life`, with sequence numbers from `from` on.
pub(crate) fn records(from: usize, life: &[Order]) -> Vec<Value> {
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

pub(crate) fn broken(n: usize) -> Value {
    let mut record = record(n, None, Some(&order("broken")));
    record["dynamodb"]["NewImage"]["doc"] = json!({"S": "{\"status\":\"eaten\"}"});
    record
}
