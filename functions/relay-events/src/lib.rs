//! The outbox relay: order changes from the stream become CloudEvents on queues.
//!
//! **The problem.** An order's change and the news of it must not come apart, so nobody writes to a table and to a queue in
//! one go. The orders table's stream is the outbox: what is stored is streamed, in order per order, at least once, for a
//! day. Somebody must carry it on, and one record that nobody can read must not hold up the rest for that day.
//!
//! **The model.** Each record is read by itself ([`record`]). A change becomes an [`OrderEvent`] for the ledger's queue,
//! and for the payments' queue too if it is one that `process-order` acts on: placed, or its cancellation asked for. What
//! cannot be read is parked whole on a queue of its own, for an engineer; a removal is nobody's business.
//!
//! **A walk through.** [`Relay::relay`] takes a batch: decodes all, sends what is for each destination in as few requests
//! as possible, repeats what was not accepted for a bounded time, and answers with the sequence number of the first
//! record that is not where it belongs. The stream starts again there, so nothing is skipped; what came after it may be
//! sent again, and so may everything if the process dies between the two queues. Consumers bear repeats: every event has
//! its order's version.
//!
//! **What it does not do.** It keeps no order among the messages of standard queues, writes to no table, and gives nothing
//! up: how often a batch is tried again is the event source's setting.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod outgoing;
pub mod record;

use domain::limits::{FunctionLimits, Trigger};
use domain::time::Timestamp;
use events::EventType;
use ports::edge::Edge;
use ports::invocation::{Handle, Invocation};
use ports::messages::{Destination, ParkRecord, SendEvents};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outgoing::Patience;
use crate::record::Reading;

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    30,
    Trigger::Stream {
        batch_size: 100,
        parallelization: 10,
        max_retries: 100,
    },
);

/// A batch of the stream, as Lambda hands it over. Records are read one by one, so that one of an unknown shape is not
/// the end of all.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct StreamBatch {
    /// The records, oldest first.
    #[serde(rename = "Records", default)]
    pub records: Vec<Value>,
}

/// What failed, as Lambda's event source wants to know it (`ReportBatchItemFailures`): for a stream, everything from the
/// lowest sequence number named here on comes again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchReport {
    /// The first record that failed, or nothing.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// One record that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// Its sequence number.
    pub item_identifier: String,
}

/// A record failed and has no sequence number, so the stream has to start again at the batch's first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record could not be relayed, and has no sequence number")]
pub struct WholeBatchFailed;

/// Where a record has to go, with its place in the batch.
#[derive(Debug, Default)]
struct Sorted {
    ledger: Vec<(usize, events::OrderEvent)>,
    payments: Vec<(usize, events::OrderEvent)>,
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
        let patience = Patience {
            edge: &self.edge,
            deadline,
        };
        let (parked, ledger, payments) = tokio::join!(
            patience.park(&self.queues, &sorted.park),
            patience.send(&self.queues, Destination::Ledger, &sorted.ledger),
            patience.send(&self.queues, Destination::Payments, &sorted.payments),
        );
        let first_failed = [parked, ledger, payments].into_iter().flatten().min();
        let counts = (sorted.ledger.len(), sorted.payments.len(), sorted.park.len());
        tracing::info!(
            records = batch.records.len(),
            to_ledger = counts.0,
            to_payments = counts.1,
            parked = counts.2,
            failed_from = first_failed,
            "relayed"
        );
        let Some(first) = first_failed else {
            return Ok(BatchReport::default());
        };
        let number = batch.records.get(first).and_then(record::sequence_number);
        let item_identifier = number.ok_or(WholeBatchFailed)?.to_owned();
        Ok(BatchReport {
            batch_item_failures: vec![ItemFailure { item_identifier }],
        })
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
                if matches!(event.kind, EventType::Placed | EventType::CancelRequested) {
                    sorted.payments.push((place, (*event).clone()));
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
