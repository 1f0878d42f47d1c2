//! Holds the client that every store of this crate uses.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use ports::StoreError;
use ports::stock::Consistency;

use crate::Tables;
use crate::error::store_error;
use crate::item::{Item, KEY, s};

/// The client and the names of the tables.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) client: Client,
    pub(crate) tables: Arc<Tables>,
}

impl Clients {
    pub(crate) fn new(client: &Client, tables: &Tables) -> Self {
        Self {
            client: client.clone(),
            tables: Arc::new(tables.clone()),
        }
    }

    /// An update of the item under `key`.
    pub(crate) fn update(&self, table: &str, key: impl Into<String>) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(table).key(KEY, s(key))
    }

    /// A write of a whole item.
    pub(crate) fn put(&self, table: &str, item: Item) -> PutItemFluentBuilder {
        self.client.put_item().table_name(table).set_item(Some(item))
    }

    /// A query of an index of the table.
    pub(crate) fn query(&self, table: &str, index: &str) -> QueryFluentBuilder {
        self.client.query().table_name(table).index_name(index)
    }

    /// The item under `key`; `None` if it does not exist.
    pub(crate) async fn get(
        &self,
        table: &str,
        key: &str,
        consistency: Consistency,
    ) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(table).key(KEY, s(key));
        let sent = get
            .consistent_read(consistency == Consistency::Strong)
            .send()
            .await;
        let output = sent.map_err(|error| store_error("GetItem", table, &error))?;
        Ok(output.item)
    }
}
