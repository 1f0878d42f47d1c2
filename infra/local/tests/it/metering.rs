//! Tests the metered cost of requests against figures computed by hand from AWS's rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use stack_api::TableUse;
use stampede_local::dynamodb::Dynamo;
use stampede_local::meter::{Caller, Meter};
use stampede_local::template::Table;

struct Desk {
    dynamo: Dynamo,
    meter: Arc<Meter>,
}

impl Desk {
    fn new() -> Self {
        let table = |name: &str| {
            let definition = json!({
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            });
            let Value::Object(definition) = definition else {
                unreachable!()
            };
            (
                name.to_owned(),
                Table {
                    name: name.to_owned(),
                    definition,
                    streamed: false,
                },
            )
        };
        let meter = Arc::new(Meter::default());
        let tables = BTreeMap::from([table("stock"), table("orders")]);
        Self {
            dynamo: Dynamo::create(&tables, Arc::clone(&meter)).unwrap(),
            meter,
        }
    }

    fn send(&self, operation: &str, body: &Value) -> (u16, Value) {
        let answer = self
            .dynamo
            .answer(operation, body.to_string().as_bytes(), Caller::Outside);
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// Sends a request. Returns its usage of the table `stock`, without other tables, and the answer's status and body.
    fn cost(&self, operation: &str, body: &Value) -> (TableUse, u16, Value) {
        let stock = || {
            self.meter
                .report()
                .tables
                .get("stock")
                .copied()
                .unwrap_or_default()
        };
        let before = stock();
        let (status, answer) = self.send(operation, body);
        let after = stock();
        let used = TableUse {
            wcu: after.wcu - before.wcu,
            rcu: after.rcu - before.rcu,
            writes: after.writes - before.writes,
            refused_writes: after.refused_writes - before.refused_writes,
            reads: after.reads - before.reads,
            transactions: after.transactions - before.transactions,
            cancelled_transactions: after.cancelled_transactions - before.cancelled_transactions,
        };
        (used, status, answer)
    }

    fn put(&self, key: &str, bytes: usize) {
        let (_, status, _) = self.cost(
            "PutItem",
            &json!({"TableName": "stock", "Item": item(key, bytes)}),
        );
        assert_eq!(status, 200);
    }
}

/// An item of exactly `bytes`, by DynamoDB's rule that attribute names and values count.
fn item(key: &str, bytes: usize) -> Value {
    let filling = bytes - "pk".len() - key.len() - "x".len();
    json!({"pk": {"S": key}, "x": {"S": "x".repeat(filling)}})
}

fn update(key: &str, condition: &str) -> Value {
    json!({
        "TableName": "stock",
        "Key": {"pk": {"S": key}},
        "UpdateExpression": "SET y = :y",
        "ConditionExpression": condition,
        "ExpressionAttributeValues": {":y": {"N": "1"}},
    })
}

#[test]
fn a_write_costs_a_unit_per_kilobyte_begun() {
    let desk = Desk::new();
    for (bytes, units) in [(100, 1.0), (1_024, 1.0), (1_025, 2.0), (3_000, 3.0)] {
        let (used, _, answer) = desk.cost(
            "PutItem",
            &json!({"TableName": "stock", "Item": item("a", bytes)}),
        );
        // A write that shrinks an item costs by the larger of both sizes; sizes only grow in this test.
        assert_eq!(used.wcu, units, "{bytes} bytes");
        assert_eq!(used.writes, 1, "{bytes} bytes");
        assert!(answer.get("ConsumedCapacity").is_none(), "nobody asked for it");
    }
}

#[test]
fn a_refused_write_costs_by_what_is_there() {
    let desk = Desk::new();
    desk.put("small", 900);
    desk.put("large", 2_500);
    for (key, units) in [("absent", 1.0), ("small", 1.0), ("large", 3.0)] {
        let (used, status, answer) = desk.cost("UpdateItem", &update(key, "attribute_exists(z)"));
        assert_eq!(status, 400, "{key}");
        assert_eq!(used.wcu, units, "{key}");
        assert_eq!(used.refused_writes, 1, "{key}");
        assert_eq!(used.writes, 0, "{key}");
        assert!(answer.get("Item").is_none(), "nobody asked for the old item");
    }
    let mut asking = update("small", "attribute_exists(z)");
    asking["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD".into();
    let (used, _, answer) = desk.cost("UpdateItem", &asking);
    assert_eq!(used.wcu, 1.0);
    assert_eq!(answer["Item"]["pk"]["S"], "small");
}

#[test]
fn a_malformed_request_costs_nothing() {
    let desk = Desk::new();
    let (used, status, _) = desk.cost("UpdateItem", &update("a", "no such (("));
    assert_eq!(status, 400);
    assert_eq!(used, TableUse::default());
    let (used, status, answer) = desk.cost("UpdateItem", &json!({"TableName": 7}));
    assert_eq!(status, 400);
    assert_eq!(used, TableUse::default());
    assert!(answer["__type"].as_str().unwrap().contains("Exception"));
}

#[test]
fn an_eventually_consistent_read_costs_half_a_unit_per_four_kilobytes() {
    let desk = Desk::new();
    desk.put("a", 4_096);
    desk.put("b", 4_097);
    let get = |key: &str, consistent: bool| json!({"TableName": "stock", "Key": {"pk": {"S": key}}, "ConsistentRead": consistent});
    for (key, consistent, units) in [
        ("a", false, 0.5),
        ("a", true, 1.0),
        ("b", false, 1.0),
        ("b", true, 2.0),
        ("absent", false, 0.5),
        ("absent", true, 1.0),
    ] {
        assert_eq!(
            desk.cost("GetItem", &get(key, consistent)).0.rcu,
            units,
            "{key} {consistent}"
        );
    }
    let batch = json!({"RequestItems": {"stock": {"Keys": [{"pk": {"S": "a"}}, {"pk": {"S": "b"}}, {"pk": {"S": "absent"}}]}}});
    let (used, _, _) = desk.cost("BatchGetItem", &batch);
    assert_eq!(used.rcu, 2.0);
    assert_eq!(used.reads, 1);
}

#[test]
fn a_transaction_costs_double_also_when_it_is_cancelled() {
    let desk = Desk::new();
    desk.put("large", 1_500);
    let transaction = |condition: &str| {
        let mut shard = update("large", condition);
        shard["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD".into();
        json!({"TransactItems": [
            {"Update": shard},
            {"Put": {"TableName": "orders", "Item": {"pk": {"S": "o1"}}}},
            {"Put": {"TableName": "stock", "Item": item("new", 2_100)}},
        ]})
    };
    // The item `large` occupies 2 blocks of 1 KB and `new` 3 blocks, so with the factor 2 they cost 10 units. The
    // order's 2 units are booked to the table `orders`.
    let (used, status, _) = desk.cost("TransactWriteItems", &transaction("attribute_exists(z)"));
    assert_eq!(status, 400);
    assert_eq!(used.wcu, 10.0);
    assert_eq!(used.cancelled_transactions, 1);
    assert_eq!(used.transactions, 0);
    assert_eq!(desk.meter.report().tables["orders"].wcu, 2.0);
    let (used, status, _) = desk.cost("TransactWriteItems", &transaction("attribute_exists(pk)"));
    assert_eq!(status, 200);
    assert_eq!(used.wcu, 10.0);
    assert_eq!(used.cancelled_transactions, 0);
    assert_eq!(used.transactions, 1);
    assert_eq!(desk.meter.report().tables["orders"].wcu, 4.0);
    let reads = json!({"TransactItems": [{"Get": {"TableName": "stock", "Key": {"pk": {"S": "large"}}}}]});
    assert_eq!(desk.cost("TransactGetItems", &reads).0.rcu, 2.0);
}
