//! The outbox relay: order changes from the stream become CloudEvents on queues.
//!
//! **The problem.** An order's change and the news of it must not come apart, so nobody writes to a table and to a queue in
//! one go. The orders table's stream is the outbox: what is stored is streamed, in order per order, at least once, for a
//! day. Somebody must carry it on, and one record that nobody can read must not hold up the rest for that day.
//!
//! **The model.** Each record is read by itself ([`record`]). A change becomes an [`OrderEvent`] for the ledger's queue,
//! for the payments' queue too if it is one that `process-order` acts on, and for the mail queue if the shopper is told of it. What
//! cannot be read is parked whole on a queue of its own, for an engineer; a removal is nobody's business.
//!
//! **A walk through.** [`Relay::relay`] takes a batch: decodes all, sends what is for each destination in as few requests
//! as possible, repeats what was not accepted for a bounded time, and answers with the sequence number of the first
//! record that is not where it belongs. The stream starts again there, so nothing is skipped; what came after it may be
//! sent again, and so may everything if the process dies between two queues. Consumers bear repeats: every event has
//! its order's version.
//!
//! **What it does not do.** It keeps no order among the messages of standard queues, writes to no table, and gives nothing
//! up: how often a batch is tried again is the event source's setting.
#![forbid(unsafe_code)]

pub mod record;

use domain::limits::{FunctionLimits, Trigger};
use domain::time::Timestamp;
use events::OrderEvent;
use ports::edge::Edge;
use ports::invocation::{Handle, Invocation};
use ports::messages::{Destination, ParkRecord, SendEvents};
use ports::retry::{Policy, SENDING, retry, retry_each};
use serde::Deserialize;
use serde_json::Value;
use startup::batch::report;
pub use startup::batch::{BatchReport, WholeBatchFailed};
use startup::spans::of_event;

use crate::record::Reading;

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    30,
    Trigger::Stream {
        batch_size: 100,
        parallelization: 10,
        max_age_seconds: 79_200,
    },
);

/// What one more try to send may take at worst, in milliseconds: it is not begun later than that before the deadline.
const TRY_MS: i64 = 10_000;

/// A batch of the stream, as Lambda hands it over. Records are read one by one, so that one of an unknown shape is not
/// the end of all.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct StreamBatch {
    /// The records, oldest first.
    #[serde(rename = "Records", default)]
    pub records: Vec<Value>,
}

/// Where a record has to go, with its place in the batch.
#[derive(Debug, Default)]
struct Sorted {
    ledger: Vec<(usize, OrderEvent)>,
    payments: Vec<(usize, OrderEvent)>,
    mail: Vec<(usize, OrderEvent)>,
    park: Vec<(usize, String)>,
}

/// The relay.
#[derive(Debug, Clone)]
pub struct Relay<Q, E> {
    queues: Q,
    edge: E,
}

impl<Q: SendEvents + ParkRecord, E: Edge> Relay<Q, E> {
    /// The function over its ports.
    pub const fn new(queues: Q, edge: E) -> Self {
        Self { queues, edge }
    }

    /// Carries a batch on, within the time until `deadline`.
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
        let counts = (sorted.ledger.len(), sorted.payments.len(), sorted.mail.len());
        let to_park = sorted.park.len();
        let (parked, ledger, payments, mail) = tokio::join!(
            self.park(policy, &sorted.park),
            self.send(policy, Destination::Ledger, sorted.ledger),
            self.send(policy, Destination::Payments, sorted.payments),
            self.send(policy, Destination::Mail, sorted.mail),
        );
        let first_failed = [parked, ledger, payments, mail].into_iter().flatten().min();
        tracing::info!(
            records = batch.records.len(),
            to_ledger = counts.0,
            to_payments = counts.1,
            to_mail = counts.2,
            parked = to_park,
            failed_from = first_failed,
            "relayed"
        );
        report(first_failed.map(|first| batch.records.get(first).and_then(record::sequence_number)))
    }

    /// Sends events; the place of the first one that was not accepted in the end.
    async fn send(&self, policy: Policy, to: Destination, events: Vec<(usize, OrderEvent)>) -> Option<usize> {
        let (places, events): (Vec<usize>, Vec<OrderEvent>) = events.into_iter().unzip();
        let send = |events: Vec<OrderEvent>| async move { self.queues.send(to, &events).await };
        let answers = retry_each(&self.edge, policy, &events, send).await;
        let mut first_failed = None;
        for ((place, event), answer) in places.into_iter().zip(&events).zip(answers) {
            let _about = of_event(event).entered();
            if let Some(Ok(())) = answer {
                tracing::info!(?to, event = event.kind.as_str(), "event sent");
            } else {
                let error = answer.and_then(Result::err);
                tracing::error!(
                    ?to,
                    event = event.kind.as_str(),
                    ?error,
                    "the queue did not accept an event"
                );
                first_failed = first_failed.or(Some(place));
            }
        }
        first_failed
    }

    /// Parks records; the place of the first one that was not accepted in the end.
    async fn park(&self, policy: Policy, records: &[(usize, String)]) -> Option<usize> {
        for (place, raw) in records {
            if let Err(error) = retry(&self.edge, policy, || self.queues.park(raw)).await {
                tracing::error!(?error, "a record could not be parked");
                return Some(*place);
            }
        }
        None
    }
}

impl<Q: SendEvents + ParkRecord + 'static, E: Edge> Handle for Relay<Q, E> {
    type Event = StreamBatch;
    type Answer = BatchReport;
    type Error = WholeBatchFailed;

    async fn handle(
        &self,
        batch: StreamBatch,
        invocation: &Invocation,
    ) -> Result<BatchReport, WholeBatchFailed> {
        self.relay(&batch, invocation.deadline).await
    }
}

fn sort(records: &[Value]) -> Sorted {
    let mut sorted = Sorted::default();
    for (place, value) in records.iter().enumerate() {
        let sequence = record::sequence_number(value);
        match record::read(value) {
            Reading::Change(event) => {
                if event.kind.drives_payment() {
                    sorted.payments.push((place, (*event).clone()));
                }
                if event.kind.news().is_some() {
                    sorted.mail.push((place, (*event).clone()));
                }
                sorted.ledger.push((place, *event));
            }
            Reading::Removal => {
                // Nothing here deletes orders; an operator or an expiry did.
                tracing::warn!(sequence, "an order was removed; not relayed");
            }
            Reading::Undecodable(why) => {
                tracing::error!(sequence, why, "a record cannot be relayed; parked");
                sorted.park.push((place, record::to_park(value)));
            }
        }
    }
    sorted
}
