//! Models the stream of the orders table. The stream contains every change, in order for each order, in lanes that are
//! relayed concurrently.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use domain::ids::OrderId;
use domain::order::Order;
use memory::{MemoryStore, OrderChange};
use relay_events::{BatchReport, StreamBatch};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::chance::key_of;
use crate::lock::lock;

pub(crate) struct Record {
    number: u64,
    change: OrderChange,
}

/// A part of the stream that is relayed in order.
#[derive(Default)]
pub(crate) struct Lane {
    records: Mutex<VecDeque<Record>>,
    pub(crate) more: Notify,
}

pub struct Stream {
    pub(crate) lanes: Vec<Arc<Lane>>,
    /// The number of records so far.
    records: AtomicU64,
}

impl Stream {
    /// An empty stream with this many lanes.
    #[must_use]
    pub fn new(lanes: u8) -> Self {
        Self {
            lanes: (0..lanes.max(1)).map(|_| Arc::default()).collect(),
            records: AtomicU64::new(0),
        }
    }

    /// Adds the table's latest changes.
    pub fn take_from(&self, memory: &MemoryStore) {
        for change in memory.take_changes() {
            let number = self.records.fetch_add(1, Ordering::Relaxed) + 1;
            let lanes = self.lanes.len() as u64;
            let lane = usize::try_from(key_of(change.after.id.as_str()) % lanes).unwrap_or(0);
            if let Some(lane) = self.lanes.get(lane) {
                lane.records().push_back(Record { number, change });
                lane.more.notify_one();
            }
        }
    }

    /// Whether every record was relayed.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| lane.records().is_empty())
    }
}

/// The first seven characters of an order's id, as a label. They contain 30 bits of a hash, so the orders of one drop
/// rarely share a label.
pub(crate) fn short(id: &OrderId) -> &str {
    id.as_str().get(..7).unwrap_or_default()
}

impl Lane {
    pub(crate) fn records(&self) -> MutexGuard<'_, VecDeque<Record>> {
        lock(&self.records)
    }

    /// The number of handled records of a batch, by the relay's report.
    pub(crate) fn handled(&self, report: &BatchReport, first: u64, size: u64) -> u64 {
        let Some(failed) = report.batch_item_failures.first() else {
            return size;
        };
        let number: u64 = failed.item_identifier.parse().unwrap_or(first);
        let records = self.records();
        let before = records.iter().take_while(|record| record.number < number).count();
        before as u64
    }

    /// The next batch, with its label and its first record's number; `None` if the lane is empty.
    pub(crate) fn next_batch(&self, most: u64, tries: u64) -> Option<(String, u64, StreamBatch)> {
        let waiting = self.records();
        let first = waiting.front()?;
        let after = &first.change.after;
        let label = format!("relay:{}:{}:{tries}", short(&after.id), after.version);
        let taken = waiting.iter().take(usize::try_from(most).unwrap_or(1));
        let records = taken.map(|record| record_json(record.number, &record.change));
        let records = records.collect();
        Some((label, first.number, StreamBatch { records }))
    }
}

/// The record of a change with this sequence number, in Lambda's format.
#[must_use]
pub fn record_json(number: u64, change: &OrderChange) -> Value {
    let OrderChange { before, after } = change;
    let mut change = json!({
        "ApproximateCreationDateTime": after.updated_at.as_seconds(),
        "Keys": {"pk": {"S": after.id.as_str()}},
        "SequenceNumber": format!("{number:021}"),
        "SizeBytes": 700,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
        "NewImage": image(after),
    });
    if let (Some(before), Some(change)) = (before, change.as_object_mut()) {
        change.insert("OldImage".to_owned(), image(before));
    }
    json!({
        "eventID": number.to_string(),
        "eventName": if before.is_some() { "MODIFY" } else { "INSERT" },
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": change,
    })
}

/// An order's item, as the table's adapter writes it.
fn image(order: &Order) -> Value {
    json!({
        "pk": {"S": order.id.as_str()},
        "version": {"N": order.version.to_string()},
        "status": {"S": order.status.as_str()},
        "shopper_id": {"S": order.shopper.as_str()},
        "placed_at": {"N": order.placed_at.as_millis().to_string()},
        "due_at": {"N": order.due_at.as_millis().to_string()},
        "doc": {"S": serde_json::to_string(order).unwrap_or_default()},
    })
}
