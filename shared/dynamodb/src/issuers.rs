//! Implements the ports of the issuers' documents: two documents in the table of drops, each in copies under keys that
//! no drop can have.
//!
//! | key | item |
//! |---|---|
//! | `issuers#shoppers#{copy}`, `issuers#operators#{copy}` | `doc`: the token issuers with their keys; `version` |
//!
//! One transaction writes all copies of a document: 36 copies of the largest document have 4.0 MB, and a transaction
//! may have 4.2 MB (4 MiB).
//!
//! The documents are in the table of drops, which nearly every function that checks tokens reads anyway, over the same
//! connection. The items have no attribute of the calendar, so the calendar's index does not contain them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::Put;
use ports::issuers::{ISSUER_COPIES, IssuerList, IssuersDocument, ReadIssuers, StoreIssuers};
use ports::stock::Consistency::Eventual;
use ports::{Conditional, StoreError};

use crate::Tables;
use crate::clients::Clients;
use crate::item::{DOC, KEY, n, number, s, text};
use crate::transact;

const TABLE: &str = "drops";

#[derive(Debug, Clone)]
pub struct IssuerStore {
    clients: Clients,
}

impl IssuerStore {
    #[must_use]
    pub fn new(client: &Client, tables: &Tables) -> Self {
        Self {
            clients: Clients::new(client, tables),
        }
    }
}

fn key(list: IssuerList, copy: u8) -> String {
    format!("issuers#{}#{copy}", list.as_str())
}

impl ReadIssuers for IssuerStore {
    async fn issuers(&self, list: IssuerList, copy: u8) -> Result<Option<IssuersDocument>, StoreError> {
        let table = &self.clients.tables.drops;
        let item = self.clients.get(table, &key(list, copy), Eventual).await?;
        let document = |item| {
            Ok(IssuersDocument {
                version: number(TABLE, &item, "version")?,
                text: text(TABLE, &item, DOC)?.to_owned(),
            })
        };
        item.map(document).transpose()
    }
}

impl StoreIssuers for IssuerStore {
    async fn store_issuers(
        &self,
        list: IssuerList,
        document: &IssuersDocument,
    ) -> Result<Conditional<()>, StoreError> {
        let Some(before) = document.version.checked_sub(1) else {
            return Ok(Conditional::Refused(()));
        };
        let table = &self.clients.tables.drops;
        let put = |copy| {
            let put = Put::builder()
                .table_name(table)
                .item(KEY, s(key(list, copy)))
                .item(DOC, s(document.text.as_str()))
                .item("version", n(document.version));
            if before == 0 {
                put.condition_expression("attribute_not_exists(pk)")
            } else {
                put.condition_expression("#version = :before")
                    .expression_attribute_names("#version", "version")
                    .expression_attribute_values(":before", n(before))
            }
        };
        let writes = (0..ISSUER_COPIES).map(|copy| transact::put(put(copy).build()));
        let writes = writes.collect::<Result<Vec<_>, _>>()?;
        transact::conditional(&self.clients.client, table, writes).await
    }
}
