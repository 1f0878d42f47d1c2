//! The ports of the issuers' documents: two items in the table of drops, under keys that no drop can have.
//!
//! | key | item |
//! |---|---|
//! | `issuers#shoppers`, `issuers#operators` | `doc`: the token issuers with their keys; `version` |
//!
//! They are in the table of drops, which nearly every function that checks tokens reads anyway, over the same
//! connection. They have none of the calendar's attributes, so the index does not contain them.

use aws_sdk_dynamodb::Client;
use ports::issuers::{IssuerList, IssuersDocument, ReadIssuers, StoreIssuers};
use ports::stock::Consistency::Eventual;
use ports::{Conditional, StoreError};

use crate::Tables;
use crate::clients::Clients;
use crate::error::conditional;
use crate::item::{DOC, KEY, n, number, s, text};

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

fn key(list: IssuerList) -> String {
    format!("issuers#{}", list.as_str())
}

impl ReadIssuers for IssuerStore {
    async fn issuers(&self, list: IssuerList) -> Result<Option<IssuersDocument>, StoreError> {
        let table = &self.clients.tables.drops;
        let item = self.clients.get(table, &key(list), Eventual).await?;
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
        let put = self.clients.writes.put_item();
        let put = put
            .table_name(&self.clients.tables.drops)
            .item(KEY, s(key(list)))
            .item(DOC, s(document.text.as_str()))
            .item("version", n(document.version));
        let put = if before == 0 {
            put.condition_expression("attribute_not_exists(pk)")
        } else {
            put.condition_expression("#version = :before")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":before", n(before))
        };
        conditional("PutItem", &self.clients.tables.drops, put.send().await)
    }
}
