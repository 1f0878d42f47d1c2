//! Relays the outbox: sends each order change of the stream as a CloudEvents message to queues.
//!
//! **The problem.** An order's change and its event must never diverge, so no function writes to a table and to a queue
//! together. The orders table's stream is the outbox: every stored change is in the stream, in order for each order, at
//! least once, for a day. The relay must forward it, and one unreadable record must not block the others for that day.
//!
//! **The model.** Each record is read by itself ([`record`]). A change becomes an [`OrderEvent`] for the
//! ledger's queue, for the payments' queue too if `process-order` acts on the event, and for the mail queue if
//! the shopper gets a mail about it. An unreadable record is parked whole on a separate queue, for an
//! engineer. A removal, and a change of the due time alone, cause no message.
//!
//! **A walk through.** [`Relay::relay`] takes a batch: it decodes all records, sends the events of each destination in
//! as few requests as possible, repeats refused events for a bounded time, and returns the sequence number of the first
//! record that was not delivered. The stream restarts there, so no record is skipped. Later records may be sent again,
//! and so may all records if the process dies between two queues. Consumers tolerate repeats: every event has its
//! order's version.
//!
//! **Rebuilding the ledger.** For items of the orders table that arrive as records with the event name
//! [`record::REBUILD`], it sends each order as it is to the ledger's queue only, since the order has not
//! changed.
//!
//! **What it does not do.** It keeps no order among the messages of standard queues, writes to no table, and
//! never abandons a record: the event source's settings limit the retries of a batch.
#![forbid(unsafe_code)]

pub mod record;

use domain::limits::{FunctionLimits, Trigger};
use domain::time::Timestamp;
use events::{EventType, OrderEvent};
use ports::invocation::{Handle, Invocation};
use ports::messages::{Destination, ParkRecord, SendEvents};
use ports::retry::{Policy, SENDING, retry, retry_each};
use ports::runtime::Runtime;
use serde::Deserialize;
use serde_json::Value;
use startup::batch::report;
pub use startup::batch::{BatchReport, WholeBatchFailed};
use startup::spans::of_event;

use crate::record::Reading;

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    30,
    Trigger::Stream {
        batch_size: 100,
        window_seconds: 0,
        parallelization: 10,
        max_age_seconds: 79_200,
    },
);

/// The longest duration of one more try to send, in milliseconds. No try begins later than this before the deadline.
const TRY_MS: i64 = 10_000;

/// A batch of the stream in Lambda's format. Records are parsed one by one, so that one record of unknown form does not
/// fail the batch.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct StreamBatch {
    /// The records, oldest first.
    #[serde(rename = "Records", default)]
    pub records: Vec<Value>,
}

/// The events to send and the records to park, each with its index in the batch.
#[derive(Debug, Default)]
struct Sorted {
    events: Vec<(usize, OrderEvent)>,
    park: Vec<(usize, String)>,
}

impl Sorted {
    /// The events of the wanted kinds.
    fn of(&self, wanted: impl Fn(EventType) -> bool) -> Vec<(usize, OrderEvent)> {
        let events = self.events.iter().filter(|(_, event)| wanted(event.kind));
        events.cloned().collect()
    }
}

#[derive(Debug, Clone)]
pub struct Relay<Q, R> {
    queues: Q,
    runtime: R,
}

impl<Q: SendEvents + ParkRecord, R: Runtime> Relay<Q, R> {
    pub const fn new(queues: Q, runtime: R) -> Self {
        Self { queues, runtime }
    }

    /// Forwards a batch before `deadline`.
    ///
    /// # Errors
    /// [`WholeBatchFailed`]
    pub async fn relay(
        &self,
        batch: &StreamBatch,
        deadline: Timestamp,
    ) -> Result<BatchReport, WholeBatchFailed> {
        let sorted = sort(&batch.records);
        let policy = SENDING.until(deadline.plus_millis(-TRY_MS));
        let payments = sorted.of(EventType::advances_payment);
        let mail = sorted.of(|kind| kind.news().is_some());
        let counts = (sorted.events.len(), payments.len(), mail.len());
        let (parked, ledger, payments, mail) = tokio::join!(
            self.park(policy, &sorted.park),
            self.send(policy, Destination::Ledger, sorted.events),
            self.send(policy, Destination::Payments, payments),
            self.send(policy, Destination::Mail, mail),
        );
        let first_failed = [parked, ledger, payments, mail].into_iter().flatten().min();
        tracing::info!(
            records = batch.records.len(),
            to_ledger = counts.0,
            to_payments = counts.1,
            to_mail = counts.2,
            parked = sorted.park.len(),
            "a batch of stream records ended; the counts include events that a queue refused"
        );
        let failed_from =
            first_failed.map(|first| batch.records.get(first).and_then(record::sequence_number));
        if let Some(sequence_number) = &failed_from {
            tracing::warn!(
                sequence_number,
                "not all stream records were sent; Lambda delivers the batch again from this record on"
            );
        }
        report(failed_from)
    }

    /// Sends events; returns the index of the first event that the queue did not accept.
    async fn send(&self, policy: Policy, to: Destination, events: Vec<(usize, OrderEvent)>) -> Option<usize> {
        let (places, events): (Vec<usize>, Vec<OrderEvent>) = events.into_iter().unzip();
        let send = |events: Vec<OrderEvent>| async move { self.queues.send(to, &events).await };
        let answers = retry_each(&self.runtime, policy, &events, send).await;
        let mut first_failed = None;
        for ((place, event), answer) in places.into_iter().zip(&events).zip(answers) {
            let _about = of_event(event).entered();
            if let Some(Ok(())) = answer {
                tracing::info!(?to, event = event.kind.as_str(), "the queue accepted the event");
            } else {
                let error = answer.and_then(Result::err);
                tracing::error!(
                    ?to,
                    event = event.kind.as_str(),
                    ?error,
                    "the queue did not accept an event; Lambda delivers the record again"
                );
                first_failed = first_failed.or(Some(place));
            }
        }
        first_failed
    }

    /// Parks records; returns the index of the first record that the queue did not accept.
    async fn park(&self, policy: Policy, records: &[(usize, String)]) -> Option<usize> {
        for (place, raw) in records {
            if let Err(error) = retry(&self.runtime, policy, || self.queues.park(raw)).await {
                tracing::error!(
                    ?error,
                    "a stream record could not be parked; Lambda delivers it again"
                );
                return Some(*place);
            }
        }
        None
    }
}

impl<Q: SendEvents + ParkRecord + 'static, R: Runtime> Handle for Relay<Q, R> {
    type Event = StreamBatch;
    type Answer = BatchReport;
    type Error = WholeBatchFailed;

    async fn handle(&self, batch: StreamBatch, invocation: &Invocation) -> Result<Self::Answer, Self::Error> {
        self.relay(&batch, invocation.deadline).await
    }
}

fn sort(records: &[Value]) -> Sorted {
    let mut sorted = Sorted::default();
    for (place, value) in records.iter().enumerate() {
        let sequence = record::sequence_number(value);
        match record::read(value) {
            Reading::Change(event) => sorted.events.push((place, *event)),
            Reading::PutOff => {}
            Reading::Removal => {
                // This project never deletes orders. A person or an expiry has deleted this order.
                tracing::warn!(
                    sequence,
                    "a person or an expiry deleted an order from the table; the ledger keeps the order; find out who deleted it"
                );
            }
            Reading::Undecodable(why) => {
                tracing::error!(
                    sequence,
                    why,
                    "a record cannot be relayed; it goes to RelayParkedQueue, and its order lacks an event"
                );
                sorted.park.push((place, record::to_park(value)));
            }
        }
    }
    sorted
}
