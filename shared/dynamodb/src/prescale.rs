//! Implements the pre-scaling ports for stored state.
//!
//! | key | item |
//! |---|---|
//! | `run` | the lease, and the record of its last holder: taking the lease returns the record |
//! | `readiness#{drop}` | the readiness of a drop, by the newest run |
//! | `learned#{drop}` | the lesson of a drop, by the newest run |
//! | `audit#{fencing}#{number}` | one change, deleted after [`AUDIT_DAYS`] |

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use capacity::learn::Lesson;
use capacity::readiness::Readiness;
use capacity::target::Record;
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::drops::Lease;
use ports::prescale::{Audited, Held, KeepLessons, KeepRun, ReadReadiness, StoreReadiness, WriteAudit};
use ports::stock::Consistency;
use ports::{Conditional, StoreError};

use crate::Tables;
use crate::clients::Clients;
use crate::error::{conditional, written};
use crate::fenced::replace;
use crate::item::{DOC, Item, KEY, document, json, ms, n, s};
use crate::lease::{LeaseItem, lease_of};

const TABLE: &str = "prescale";
/// The key of lease and record.
const RUN: &str = "run";
/// How long a change stays on record, in days: a year of drops, and some weeks for reviews.
pub const AUDIT_DAYS: i64 = 400;

/// The lease, record, changes and readiness of pre-scaling.
#[derive(Debug, Clone)]
pub struct PrescaleStore {
    clients: Clients,
}

fn readiness_key(drop: &DropId) -> String {
    format!("readiness#{drop}")
}

fn lesson_key(drop: &DropId) -> String {
    format!("learned#{drop}")
}

/// The record in an item, if there is one. An unreadable record is treated as missing: the run then reduces nothing,
/// and stores its own record.
fn record_of(item: &Item) -> Option<Record> {
    let Some(AttributeValue::S(json)) = item.get("record") else {
        return None;
    };
    let record = serde_json::from_str(json);
    if record.is_err() {
        tracing::warn!("the record of the last run cannot be read; this run decides without it");
    }
    record.ok()
}

impl PrescaleStore {
    #[must_use]
    pub fn new(client: &Client, tables: &Tables) -> Self {
        Self {
            clients: Clients::new(client, tables),
        }
    }

    fn table(&self) -> &str {
        &self.clients.tables.prescale
    }

    async fn read(&self, key: &str) -> Result<Option<Item>, StoreError> {
        self.clients.get(self.table(), key, Consistency::Strong).await
    }

    /// A write on the run's item that is refused unless `lease` is the current lease.
    async fn under(
        &self,
        lease: &Lease,
        change: impl FnOnce(UpdateItemFluentBuilder) -> UpdateItemFluentBuilder,
    ) -> Result<Conditional<()>, StoreError> {
        let update = self
            .clients
            .client
            .update_item()
            .table_name(self.table())
            .key(KEY, s(RUN))
            .condition_expression("fencing = :fencing")
            .expression_attribute_values(":fencing", n(lease.fencing));
        conditional("UpdateItem", self.table(), change(update).send().await)
    }
}

impl KeepRun for PrescaleStore {
    async fn take(
        &self,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Held, Lease>, StoreError> {
        let item = LeaseItem {
            clients: &self.clients,
            what: TABLE,
            table: self.table(),
            key: RUN.to_owned(),
        };
        match item.take(holder, now, until).await? {
            Ok(item) => Ok(Ok(Held {
                lease: lease_of(TABLE, &item)?,
                record: record_of(&item),
            })),
            Err(theirs) => Ok(Err(theirs)),
        }
    }

    async fn lease(&self) -> Result<Option<Lease>, StoreError> {
        let item = self.read(RUN).await?;
        item.as_ref().map(|item| lease_of(TABLE, item)).transpose()
    }

    async fn leave(&self, lease: &Lease, record: &Record) -> Result<Conditional<()>, StoreError> {
        let record = json("a record", record)?;
        self.under(lease, |update| {
            update
                .update_expression("SET #record = :record")
                .expression_attribute_names("#record", "record")
                .expression_attribute_values(":record", record)
        })
        .await
    }

    async fn release(&self, lease: &Lease, now: Timestamp) -> Result<Conditional<()>, StoreError> {
        self.under(lease, |update| {
            update
                .update_expression("SET #until = :now")
                .expression_attribute_names("#until", "until")
                .expression_attribute_values(":now", ms(now))
        })
        .await
    }
}

impl WriteAudit for PrescaleStore {
    async fn audit(&self, change: &Audited) -> Result<(), StoreError> {
        let expires_at = change.at.as_seconds().saturating_add(AUDIT_DAYS * 86_400);
        let drops = change.drops.iter().map(|drop| s(drop.as_str())).collect();
        let key = format!("audit#{}#{}", change.fencing, change.number);
        let mut item = HashMap::from([
            (KEY.to_owned(), s(key)),
            ("at".to_owned(), ms(change.at)),
            ("run".to_owned(), s(change.run.as_str())),
            ("mode".to_owned(), s(change.mode.as_str())),
            ("drops".to_owned(), AttributeValue::L(drops)),
            ("step".to_owned(), json("a step", &change.step)?),
            ("expires_at".to_owned(), n(expires_at)),
        ]);
        let put = self.clients.client.put_item().table_name(self.table());
        let put = match &change.outcome {
            Some(outcome) => {
                let words = match outcome {
                    Ok(carried) => carried.to_string(),
                    Err(error) => error.to_string(),
                };
                item.insert("outcome".to_owned(), s(words));
                put
            }
            // A delayed write must not remove a known outcome.
            None => put.condition_expression("attribute_not_exists(outcome)"),
        };
        written("PutItem", self.table(), put.set_item(Some(item)).send().await).map(drop)
    }
}

impl StoreReadiness for PrescaleStore {
    async fn store_readiness(
        &self,
        fencing: u64,
        readiness: &Readiness,
    ) -> Result<Conditional<()>, StoreError> {
        let doc = (DOC, json("a readiness", readiness)?);
        let key = readiness_key(&readiness.drop);
        replace(&self.clients, self.table(), key, doc, fencing, readiness.at).await
    }
}

impl KeepLessons for PrescaleStore {
    async fn lesson(&self, drop: &DropId) -> Result<Option<Lesson>, StoreError> {
        let item = self.read(&lesson_key(drop)).await?;
        item.as_ref().map(|item| document(TABLE, item)).transpose()
    }

    async fn keep_lesson(&self, fencing: u64, lesson: &Lesson) -> Result<Conditional<()>, StoreError> {
        let doc = (DOC, json("a lesson", lesson)?);
        let key = lesson_key(&lesson.drop);
        replace(&self.clients, self.table(), key, doc, fencing, lesson.at).await
    }
}

impl ReadReadiness for PrescaleStore {
    async fn readiness(&self, drop: &DropId) -> Result<Option<Readiness>, StoreError> {
        let item = self.read(&readiness_key(drop)).await?;
        item.as_ref().map(|item| document(TABLE, item)).transpose()
    }
}
