//! A batch of records, relayed.

use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use events::{EventType, OrderEvent};
use ports::edge::Edge;
use ports::messages::{Destination, ParkRecord, SendEvents};
use serde::Deserialize;
use serde_json::Value;

use crate::record::{Record, read, sequence_number};

/// How often what a queue did not accept is sent again within one invocation.
const MOST_REPEATS: u32 = 4;
/// The first wait before a repeat, in milliseconds, before jitter; each further one is twice as long.
const FIRST_WAIT_MS: u64 = 40;

/// A batch as Lambda hands it over; the records stay raw, so that each is read by itself.
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    /// The records, oldest first.
    #[serde(rename = "Records", default)]
    pub records: Vec<Value>,
}

/// The relay, with its ports.
#[derive(Debug, Clone)]
pub struct Relay<Q, E> {
    /// The queues.
    pub queues: Q,
    /// Clock and chance.
    pub edge: E,
}

impl<Q: SendEvents + ParkRecord, E: Edge> Relay<Q, E> {
    /// Relays a batch. The answer names the first record that has to come again, if there is one: everything behind it
    /// comes again too.
    pub async fn handle(&self, batch: StreamEvent) -> DynamoDbEventResponse {
        let mut changes: Vec<(usize, OrderEvent)> = Vec::new();
        let mut failed_at: Option<usize> = None;
        for (place, record) in batch.records.iter().enumerate() {
            match read(record) {
                Record::Change(event) => changes.push((place, *event)),
                Record::Nothing => tracing::warn!(sequence = sequence_number(record), "an order was removed"),
                Record::Undecodable(why) => {
                    tracing::error!(sequence = sequence_number(record), why, "a record is parked");
                    if self.park(record).await.is_err() {
                        failed_at = Some(place);
                        break;
                    }
                }
            }
        }
        let to_payments = changes
            .iter()
            .filter(|(_, event)| begins_a_payment(event.kind))
            .cloned()
            .collect();
        let (ledger, payments) = futures_util::future::join(
            self.send(Destination::Ledger, changes),
            self.send(Destination::Payments, to_payments),
        )
        .await;
        let first = [failed_at, ledger, payments].into_iter().flatten().min();
        let mut response = DynamoDbEventResponse::default();
        if let Some(record) = first.and_then(|place| batch.records.get(place)) {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = Some(sequence_number(record));
            response.batch_item_failures = vec![failure];
        }
        response
    }

    /// Sends, repeating what was not accepted; answers the first place that was not accepted in the end.
    async fn send(&self, to: Destination, mut left: Vec<(usize, OrderEvent)>) -> Option<usize> {
        let mut wait_ms = FIRST_WAIT_MS;
        for repeat in 0..=MOST_REPEATS {
            if left.is_empty() {
                return None;
            }
            if repeat > 0 {
                self.pause(&mut wait_ms).await;
            }
            let events: Vec<OrderEvent> = left.iter().map(|(_, event)| event.clone()).collect();
            let answers = self.queues.send(to, &events).await;
            if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
                tracing::warn!(?to, repeat, %error, "events were not accepted");
            }
            let mut answers = answers.into_iter();
            // A missing answer is no acceptance.
            left.retain(|_| !matches!(answers.next(), Some(Ok(()))));
        }
        left.iter().map(|(place, _)| *place).min()
    }

    async fn park(&self, record: &Value) -> Result<(), ()> {
        let raw = record.to_string();
        let mut wait_ms = FIRST_WAIT_MS;
        for repeat in 0..=MOST_REPEATS {
            if repeat > 0 {
                self.pause(&mut wait_ms).await;
            }
            match self.queues.park(&raw).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(repeat, %error, "a record could not be parked"),
            }
        }
        Err(())
    }

    async fn pause(&self, wait_ms: &mut u64) {
        self.edge.sleep(*wait_ms + self.edge.random() % *wait_ms).await;
        *wait_ms *= 2;
    }
}

/// Whether `process-order` has something to do: the sweeper sees to everything that takes time.
fn begins_a_payment(kind: EventType) -> bool {
    matches!(kind, EventType::Placed | EventType::CancelRequested)
}
