//! Gives records of the orders' stream to the relay.

use contracts::fixtures;
use memory::{MemoryQueues, TestRuntime};
use ports::messages::Destination;
use ports::runtime::Clock as _;
use relay_events::record::{MAX_PARKED_BYTES, Reading, read};
use relay_events::{Relay, StreamBatch};
use serde_json::{Value, json};

use crate::requests::split;
use crate::run::run;

const MAX_RECORDS: usize = 9;

/// The fuzz target `stream`: panics if an unreadable record is not parked, or another record is not forwarded.
pub fn target(input: &[u8]) {
    relayed(input);
}

/// Relays the records. Returns the number of records that were read as changes, and the number of parked records.
pub fn relayed(input: &[u8]) -> (usize, usize) {
    let mut records: Vec<Value> = split(input)
        .into_iter()
        .take(MAX_RECORDS)
        .filter_map(|part| serde_json::from_slice(part).ok())
        .collect();
    // The input may be a whole batch instead of one record.
    if let [Value::Object(batch)] = records.as_slice()
        && let Some(Value::Array(inner)) = batch.get("Records")
    {
        records = inner.iter().take(MAX_RECORDS).cloned().collect();
    }
    let (mut changes, mut to_park) = (0, 0);
    for record in &records {
        match read(record) {
            Reading::Change(_) => changes += 1,
            Reading::Undecodable(why) => {
                assert!(why.len() < 200, "a reason that quotes: {why}");
                to_park += 1;
            }
            Reading::Removal | Reading::PutOff => {}
        }
    }
    records.push(good());
    run(async {
        let (queues, runtime) = (MemoryQueues::new(), TestRuntime::new(3));
        let relay = Relay::new(queues.clone(), runtime.clone());
        let batch = StreamBatch { records };
        let report = relay.relay(&batch, runtime.now().plus_seconds(30)).await;
        assert!(
            report.is_ok_and(|report| report.batch_item_failures.is_empty()),
            "a record held the stream up"
        );
        let parked = queues.parked();
        assert_eq!(parked.len(), to_park, "parked");
        assert!(parked.iter().all(|text| text.len() <= MAX_PARKED_BYTES));
        assert_eq!(
            queues.sent_to(Destination::Ledger).len(),
            changes + 1,
            "sent to the ledger"
        );
    });
    (changes, to_park)
}

/// A valid record, which the relay must forward.
fn good() -> Value {
    let order = fixtures::placing("ada", "k", 1, 2).order;
    json!({
        "eventName": "INSERT",
        "dynamodb": {
            "SequenceNumber": "9",
            "NewImage": {
                "pk": {"S": order.id.as_str()}, "version": {"N": order.version.to_string()},
                "doc": {"S": serde_json::to_string(&order).expect("an order")}
            }
        }
    })
}
