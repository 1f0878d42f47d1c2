//! Starts one database for each test: an embedded server on a free loopback port, called over HTTP.

use std::collections::HashMap;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType,
};
use contracts::prescale::{Entry, Ledger, PrescalePorts};
use contracts::{Database, DropPorts, IssuerPorts, OrderPorts, StatusPorts, StockPorts};
use domain::ids::OrderId;
use domain::time::Timestamp;
use dynamodb::{DropStore, IssuerStore, OrderStore, PrescaleStore, StatusStore, StockStore, Tables};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A database with its empty tables. The server stops when this value is dropped.
pub(crate) struct Local {
    pub(crate) client: Client,
    pub(crate) tables: Tables,
    server: JoinHandle<()>,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Makes a client for a local server, without retries.
pub(crate) fn client(url: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "tests"))
        .http_client(connector::plain(std::time::Duration::from_secs(1)))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

impl Local {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let database = dynoxide::Database::memory().unwrap();
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database));
        let client = client(&url);
        let tables = Tables {
            stock: "stock".to_owned(),
            purchases: "purchases".to_owned(),
            orders: "orders".to_owned(),
            addresses: "addresses".to_owned(),
            drops: "drops".to_owned(),
            status: "status".to_owned(),
            prescale: "prescale".to_owned(),
        };
        for (table, indexes) in [
            (&tables.stock, &[][..]),
            (&tables.purchases, &[]),
            (
                &tables.orders,
                &[
                    ("open", "open", "due_at"),
                    ("by-shopper", "shopper_id", "placed_at"),
                ],
            ),
            (&tables.addresses, &[]),
            (&tables.drops, &[("calendar", "listed", "starts_at")]),
            (&tables.status, &[]),
            (&tables.prescale, &[]),
        ] {
            create(&client, table, indexes).await;
        }
        Self {
            client,
            tables,
            server,
        }
    }

    /// Reads an item without the adapters.
    pub(crate) async fn item(&self, table: &str, key: &str) -> Option<HashMap<String, AttributeValue>> {
        let read = self.client.get_item().table_name(table).consistent_read(true);
        let read = read.key("pk", AttributeValue::S(key.to_owned()));
        read.send().await.unwrap().item
    }
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
        .unwrap()
}

fn attribute(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(kind)
        .build()
        .unwrap()
}

/// Creates a table with the key `pk`, and indexes with a name, a text key and a number key.
async fn create(client: &Client, table: &str, indexes: &[(&str, &str, &str)]) {
    let mut create = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash))
        .attribute_definitions(attribute("pk", ScalarAttributeType::S));
    for (name, hash, range) in indexes {
        let all = Projection::builder().projection_type(ProjectionType::All).build();
        let index = GlobalSecondaryIndex::builder()
            .index_name(*name)
            .key_schema(key(hash, KeyType::Hash))
            .key_schema(key(range, KeyType::Range))
            .projection(all);
        create = create
            .attribute_definitions(attribute(hash, ScalarAttributeType::S))
            .attribute_definitions(attribute(range, ScalarAttributeType::N))
            .global_secondary_indexes(index.build().unwrap());
    }
    create.send().await.unwrap();
}

impl Database for Local {
    fn stock(&self) -> impl StockPorts {
        StockStore::new(&self.client, &self.tables)
    }

    fn orders(&self) -> impl OrderPorts {
        OrderStore::new(&self.client, &self.tables)
    }

    fn drops(&self) -> impl DropPorts {
        DropStore::new(&self.client, &self.tables)
    }

    fn status(&self) -> impl StatusPorts {
        StatusStore::new(&self.client, &self.tables)
    }

    fn issuers(&self) -> impl IssuerPorts {
        IssuerStore::new(&self.client, &self.tables)
    }

    async fn address(&self, id: &OrderId) -> Option<String> {
        let item = self.item(&self.tables.addresses, id.as_str()).await?;
        item.get("address").and_then(|a| a.as_s().ok()).cloned()
    }
}

impl Ledger for Local {
    fn store(&self) -> impl PrescalePorts {
        PrescaleStore::new(&self.client, &self.tables)
    }

    async fn entry(&self, fencing: u64, number: u32) -> Option<Entry> {
        let key = format!("audit#{fencing}#{number}");
        let item = self.item(&self.tables.prescale, &key).await?;
        let text = |name: &str| item[name].as_s().unwrap().clone();
        let drops = item["drops"].as_l().unwrap().iter();
        Some(Entry {
            at: Timestamp::from_millis(item["at"].as_n().unwrap().parse().unwrap()),
            run: text("run"),
            mode: text("mode"),
            drops: drops.map(|drop| drop.as_s().unwrap().clone()).collect(),
            step: serde_json::from_str(&text("step")).unwrap(),
            outcome: item.contains_key("outcome").then(|| text("outcome")),
        })
    }
}
