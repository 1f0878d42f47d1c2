//! Implements the status ports: the conductor's survey, written under the fencing number of its lease.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ids::{DropId, SkuId};
use domain::status::DropStatus;
use domain::time::Timestamp;
use futures_util::future::join_all;
use ports::drops::{FreeCounts, ReadCounts, ReadStatus, WriteStatus};
use ports::stock::Consistency;
use ports::{Conditional, StoreError};

use crate::Tables;
use crate::clients::Clients;
use crate::fenced::replace;
use crate::item::{DOC, Item, b, document, json, moment, number, unreadable};

pub(crate) const TABLE: &str = "status";

/// Status documents, free counts and leases.
#[derive(Debug, Clone)]
pub struct StatusStore {
    pub(crate) clients: Clients,
}

fn status_key(drop: &DropId, replica: u8) -> String {
    format!("{drop}#status#{replica}")
}

fn counts_key(drop: &DropId, sku: &SkuId, replica: u8) -> String {
    format!("{drop}#counts#{sku}#{replica}")
}

impl StatusStore {
    #[must_use]
    pub fn new(client: &Client, tables: &Tables) -> Self {
        Self {
            clients: Clients::new(client, tables),
        }
    }

    async fn read(&self, key: String) -> Result<Option<Item>, StoreError> {
        let table = &self.clients.tables.status;
        self.clients.get(table, &key, Consistency::Eventual).await
    }

    /// Replaces each of `copies` copies of a document by `value`, as the attribute `name`. `key` returns the key of a
    /// copy.
    async fn replace(
        &self,
        (copies, key): (u8, impl Fn(u8) -> String),
        (name, value): (&'static str, AttributeValue),
        fencing: u64,
        as_of: Timestamp,
    ) -> Result<Conditional<()>, StoreError> {
        let table = &self.clients.tables.status;
        let writes = (0..copies).map(|replica| {
            let value = (name, value.clone());
            replace(&self.clients, table, key(replica), value, fencing, as_of)
        });
        let mut failed = None;
        for outcome in join_all(writes).await {
            match outcome {
                Ok(Conditional::Done) => {}
                // The holder of a newer lease may have written this copy and not yet the others, so one refusal is
                // enough.
                Ok(Conditional::Refused(())) => return Ok(Conditional::Refused(())),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Conditional::Done), Err)
    }
}

impl ReadStatus for StatusStore {
    async fn status(&self, drop: &DropId, replica: u8) -> Result<Option<DropStatus>, StoreError> {
        let item = self.read(status_key(drop, replica)).await?;
        item.as_ref().map(|item| document(TABLE, item)).transpose()
    }
}

impl ReadCounts for StatusStore {
    async fn counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        replica: u8,
    ) -> Result<Option<FreeCounts>, StoreError> {
        let Some(mut item) = self.read(counts_key(drop, sku, replica)).await? else {
            return Ok(None);
        };
        let Some(AttributeValue::B(free)) = item.remove("free") else {
            return Err(unreadable(TABLE, "free"));
        };
        Ok(Some(FreeCounts {
            as_of: moment(TABLE, &item, "as_of")?,
            fencing: number(TABLE, &item, "fencing")?,
            free: free.into_inner(),
        }))
    }
}

impl WriteStatus for StatusStore {
    async fn write_counts(
        &self,
        drop: &DropId,
        sku: &SkuId,
        counts: &FreeCounts,
        copies: u8,
    ) -> Result<Conditional<()>, StoreError> {
        let key = |replica| counts_key(drop, sku, replica);
        let value = ("free", b(&counts.free));
        self.replace((copies, key), value, counts.fencing, counts.as_of)
            .await
    }

    async fn write_status(&self, status: &DropStatus, copies: u8) -> Result<Conditional<()>, StoreError> {
        let key = |replica| status_key(&status.drop, replica);
        let value = (DOC, json("a status", status)?);
        self.replace((copies, key), value, status.fencing, status.as_of)
            .await
    }
}
