//! Reads the stored state (tables, the gateway's log, the ledger) directly and not through the API.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::shard::Shard;
use http::Request;
use ledger::{Database, SignIn};
use serde_json::{Value, json};

use super::world::World;

/// An order as the table stores it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredOrder {
    pub(crate) id: String,
    pub(crate) shopper: String,
    pub(crate) sku: String,
    pub(crate) status: String,
    pub(crate) version: i64,
    pub(crate) units: u32,
    pub(crate) amount: i64,
    pub(crate) indexed_open: bool,
}

impl StoredOrder {
    pub(crate) fn is_open(&self) -> bool {
        matches!(
            self.status.as_str(),
            "placed" | "paying" | "action_required" | "payment_failed"
        )
    }
}

/// A row of the ledger with its captured and refunded amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerRow {
    pub(crate) status: String,
    pub(crate) version: i64,
    pub(crate) amount: i64,
    pub(crate) captures: i64,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    pub(crate) correlation: Option<String>,
}

/// The number of the gateway's charges of an order, and the charged amount without refunds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) charges: u32,
    pub(crate) net: i64,
}

/// The units of a drop or SKU, summed over its shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Units {
    pub(crate) allocated: u32,
    pub(crate) free: u32,
    pub(crate) sold: u32,
    pub(crate) claimed: u32,
}

impl World {
    async fn scan(&self, variable: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut start = Value::Null;
        loop {
            let mut body = json!({"TableName": self.file.tables[variable], "ConsistentRead": true});
            if !start.is_null() {
                body["ExclusiveStartKey"] = start;
            }
            let request = Request::post(&self.file.dynamodb_url)
                .header("content-type", "application/x-amz-json-1.0")
                .header("x-amz-target", "DynamoDB_20120810.Scan")
                .header(
                    "authorization",
                    "AWS4-HMAC-SHA256 Credential=local/20260101/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
                )
                .body(Bytes::from(body.to_string()));
            let mut page = self.send(request.unwrap()).await.expect(200);
            if let Value::Array(found) = page["Items"].take() {
                items.extend(found);
            }
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return items;
            }
        }
    }

    /// Reads the shards of a drop, by key.
    pub(crate) async fn shards(&self, drop: &str) -> BTreeMap<String, Shard> {
        let number = |v: &Value| v["N"].as_str().unwrap().parse().unwrap();
        self.of_drop("STOCK_TABLE", drop)
            .await
            .into_iter()
            .map(|(key, item)| {
                let claims = item["c"]["M"].as_object().unwrap();
                let claim = |(shopper, claim): (&String, &Value)| {
                    (
                        shopper.parse().unwrap(),
                        claim["S"].as_str().unwrap().parse().unwrap(),
                    )
                };
                let shard = Shard {
                    allocated: number(&item["a"]),
                    free: number(&item["f"]),
                    sold: number(&item["s"]),
                    claims: claims.iter().map(claim).collect(),
                };
                assert!(shard.adds_up(), "{key}: {shard:?}");
                (key, shard)
            })
            .collect()
    }

    pub(crate) async fn units(&self, drop: &str) -> Units {
        self.shards(drop)
            .await
            .values()
            .fold(Units::default(), |all, shard| Units {
                allocated: all.allocated + shard.allocated,
                free: all.free + shard.free,
                sold: all.sold + shard.sold,
                claimed: all.claimed + shard.claimed(),
            })
    }

    /// Reads the units in open and paid orders by shopper, as counted for the limit.
    pub(crate) async fn purchases(&self, drop: &str) -> BTreeMap<String, u32> {
        let items = self.of_drop("PURCHASES_TABLE", drop).await;
        items
            .into_iter()
            .map(|(key, item)| {
                let shopper = key.split_once('#').unwrap().1.to_owned();
                // An item that exists only for expired holds has no units.
                let units = item["n"]["N"].as_str().unwrap_or("0");
                (shopper, units.parse().unwrap())
            })
            .collect()
    }

    pub(crate) async fn orders(&self, drop: &str) -> Vec<StoredOrder> {
        let items = self.of_drop("ORDERS_TABLE", drop).await;
        items
            .into_iter()
            .map(|(id, item)| {
                let doc: Value = serde_json::from_str(item["doc"]["S"].as_str().unwrap()).unwrap();
                StoredOrder {
                    id,
                    shopper: item["shopper_id"]["S"].as_str().unwrap().to_owned(),
                    sku: doc["reservation"]
                        .as_str()
                        .unwrap()
                        .split('.')
                        .nth(1)
                        .unwrap()
                        .to_owned(),
                    status: item["status"]["S"].as_str().unwrap().to_owned(),
                    version: item["version"]["N"].as_str().unwrap().parse().unwrap(),
                    units: u32::try_from(doc["units"].as_u64().unwrap()).unwrap(),
                    amount: doc["amount"]["amount_minor"].as_i64().unwrap(),
                    indexed_open: item.get("open").is_some(),
                }
            })
            .collect()
    }

    /// Reads the items of a table that belong to a drop, by key.
    async fn of_drop(&self, variable: &str, drop: &str) -> BTreeMap<String, Value> {
        let (prefix, in_doc) = (format!("{drop}#"), format!("\"{drop}."));
        let mut found = BTreeMap::new();
        for item in self.scan(variable).await {
            let key = item["pk"]["S"].as_str().unwrap().to_owned();
            let doc = item["doc"]["S"].as_str().unwrap_or_default();
            if key.starts_with(&prefix) || key == drop || doc.contains(&in_doc) {
                found.insert(key, item);
            }
        }
        found
    }

    /// Reads all stored data of a drop that a request could have changed.
    pub(crate) async fn image(&self, drop: &str) -> BTreeMap<String, BTreeMap<String, Value>> {
        let mut image = BTreeMap::new();
        for variable in ["STOCK_TABLE", "PURCHASES_TABLE", "ORDERS_TABLE", "DROPS_TABLE"] {
            image.insert(variable.to_owned(), self.of_drop(variable, drop).await);
        }
        image
    }

    /// Sums the money that the lines of the gateway's log show for an order.
    pub(crate) fn money(&self, order: &str) -> Money {
        let log = std::fs::read_to_string(&self.file.gateway_log).unwrap();
        let mut money = Money::default();
        // The gateway may have written only a part of the last line, so a line without its end is skipped.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()) {
            if line["order_id"] != order {
                continue;
            }
            let amount = line["amount"].as_i64().unwrap();
            match line["event"].as_str().unwrap() {
                "charged" => {
                    money.charges += 1;
                    money.net += amount;
                }
                "refunded" => money.net -= amount,
                _ => {}
            }
        }
        money
    }

    /// Reads the ledger's rows of a drop, by order.
    pub(crate) async fn ledger(&self, drop: &str) -> BTreeMap<String, LedgerRow> {
        let address = self.file.database_url.parse().unwrap();
        let roots = self.file.database_roots.parse().unwrap();
        let database = Database::new(address, roots, SignIn::nothing());
        let (client, connection) = database.connect().await.unwrap();
        let query = "SELECT o.order_id, o.status, o.version, o.amount_minor, \
                     count(e.*) FILTER (WHERE e.kind = 'capture'), \
                     coalesce(sum(e.amount_minor) FILTER (WHERE e.kind = 'capture'), 0)::bigint, \
                     coalesce(sum(e.amount_minor) FILTER (WHERE e.kind = 'refund'), 0)::bigint, o.correlation_id \
                     FROM ledger_orders o LEFT JOIN ledger_entries e USING (order_id) WHERE o.drop_id = $1 \
                     GROUP BY o.order_id";
        let rows = client.query(query, &[&drop]).await.unwrap();
        let rows = rows
            .iter()
            .map(|row| {
                let found = LedgerRow {
                    status: row.get(1),
                    version: row.get(2),
                    amount: row.get(3),
                    captures: row.get(4),
                    captured: row.get(5),
                    refunded: row.get(6),
                    correlation: row.get(7),
                };
                (row.get(0), found)
            })
            .collect();
        drop_client(client, connection).await;
        rows
    }
}

async fn drop_client<E>(client: tokio_postgres::Client, connection: tokio::task::JoinHandle<Result<(), E>>) {
    drop(client);
    let _ = connection.await;
}
