//! Finds the items that a request to DynamoDB reads or writes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::partitions::{Access, Place};
use crate::wire::list;

/// The operations that write.
const WRITES: [&str; 5] = [
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "TransactWriteItems",
];

pub(super) fn is_write(operation: &str) -> bool {
    WRITES.contains(&operation)
}

/// The partition key attribute of each table.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<String, String>);

impl Keys {
    /// Reads the partition keys from the tables' definitions.
    #[must_use]
    pub fn of(tables: &BTreeMap<String, crate::template::Table>) -> Self {
        let hash_key = |definition: &serde_json::Map<String, Value>| {
            let schema = definition.get("KeySchema")?.as_array()?;
            let hash = schema
                .iter()
                .find(|part| part.get("KeyType").and_then(Value::as_str) == Some("HASH"))?;
            Some(hash.get("AttributeName")?.as_str()?.to_owned())
        };
        Self(
            tables
                .values()
                .filter_map(|table| Some((table.name.clone(), hash_key(&table.definition)?)))
                .collect(),
        )
    }

    /// The partition of an item, given by its key or as the item to put.
    fn place(&self, table: &str, attributes: &Value, access: Access) -> Option<Place> {
        let key = attributes.get(self.0.get(table)?)?;
        Some(Place::of(table, &key.to_string(), access))
    }

    /// The partitions of a request's items, in the request's order; `None` for an item whose key cannot be read. A
    /// query counts as one item, whose partition follows from all its expression values. A request without items has
    /// none.
    pub(super) fn places(&self, operation: &str, body: &Value) -> Vec<Option<Place>> {
        let access = match is_write(operation) {
            true => Access::Write,
            false => Access::Read,
        };
        let place = |table: &str, part: &Value| {
            let attributes = part.get("Key").or_else(|| part.get("Item"))?;
            self.place(table, attributes, access)
        };
        let one = |part: &Value| place(part.get("TableName")?.as_str()?, part);
        match operation {
            "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" => vec![one(body)],
            "Query" => vec![query(body)],
            "BatchGetItem" => requested(body)
                .flat_map(|(table, asked)| list(asked, "Keys").map(move |key| self.place(table, key, access)))
                .collect(),
            "BatchWriteItem" => requested(body)
                .flat_map(|(table, writes)| {
                    let writes = writes.as_array().into_iter().flatten();
                    writes.map(move |write| place(table, inner(write)?))
                })
                .collect(),
            "TransactWriteItems" | "TransactGetItems" => list(body, "TransactItems")
                .map(|item| one(inner(item)?))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The content of a part of a batch or a transaction: the part's one member has the name of the operation.
fn inner(part: &Value) -> Option<&Value> {
    part.as_object()?.values().next()
}

fn requested(body: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let items = body.get("RequestItems").and_then(Value::as_object);
    items.into_iter().flatten()
}

fn query(body: &Value) -> Option<Place> {
    let table = body.get("TableName")?.as_str()?;
    let values = body.get("ExpressionAttributeValues").map(Value::to_string);
    Some(Place::of(table, &values.unwrap_or_default(), Access::Read))
}

/// Splits a batch of reads: the keys that `admitted` selects, and the rest in the form of `UnprocessedKeys`.
pub(super) fn split(body: &Value, admitted: &[bool]) -> (Value, Value) {
    let (mut now, mut later) = (serde_json::Map::new(), serde_json::Map::new());
    let mut admitted = admitted.iter();
    for (table, asked) in requested(body) {
        let keys = list(asked, "Keys").cloned();
        let (kept, left): (Vec<Value>, Vec<Value>) =
            keys.partition(|_| admitted.next().copied().unwrap_or(true));
        for (to, keys) in [(&mut now, kept), (&mut later, left)] {
            let mut part = asked.clone();
            if let (false, Some(fields)) = (keys.is_empty(), part.as_object_mut()) {
                fields.insert("Keys".to_owned(), Value::Array(keys));
                to.insert(table.clone(), part);
            }
        }
    }
    let mut request = body.clone();
    if let Some(fields) = request.as_object_mut() {
        fields.insert("RequestItems".to_owned(), Value::Object(now));
    }
    (request, Value::Object(later))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys() -> Keys {
        Keys(BTreeMap::from([
            ("stock".to_owned(), "pk".to_owned()),
            ("orders".to_owned(), "pk".to_owned()),
        ]))
    }

    fn at(table: &str, key: &str, access: Access) -> Option<Place> {
        Some(Place::of(table, &json!({"S": key}).to_string(), access))
    }

    #[test]
    fn every_kind_of_request_leads_to_its_items() {
        let item = json!({"pk": {"S": "a"}});
        let one = json!({"TableName": "stock", "Key": item});
        assert_eq!(keys().places("GetItem", &one), [at("stock", "a", Access::Read)]);
        assert_eq!(
            keys().places("UpdateItem", &one),
            [at("stock", "a", Access::Write)]
        );
        let put = json!({"TableName": "orders", "Item": item});
        assert_eq!(keys().places("PutItem", &put), [at("orders", "a", Access::Write)]);
        let batch = json!({"RequestItems": {"stock": {"Keys": [item, {"pk": {"S": "b"}}]}}});
        assert_eq!(
            keys().places("BatchGetItem", &batch),
            [at("stock", "a", Access::Read), at("stock", "b", Access::Read)]
        );
        let writes = json!({"RequestItems": {"stock": [{"PutRequest": {"Item": item}}, {"DeleteRequest": {"Key": item}}]}});
        assert_eq!(
            keys().places("BatchWriteItem", &writes),
            vec![at("stock", "a", Access::Write); 2]
        );
        let transaction = json!({"TransactItems": [{"Put": put}, {"Update": one}]});
        assert_eq!(
            keys().places("TransactWriteItems", &transaction),
            [at("orders", "a", Access::Write), at("stock", "a", Access::Write)]
        );
        assert_eq!(keys().places("Query", &json!({"TableName": "orders"})).len(), 1);
        assert_eq!(keys().places("PutItem", &json!({"TableName": "else"})), [None]);
        assert!(keys().places("ListTables", &json!({})).is_empty());
    }

    #[test]
    fn a_batch_of_reads_comes_apart() {
        let body = json!({"RequestItems": {
            "orders": {"Keys": [1], "ConsistentRead": true},
            "stock": {"Keys": [2, 3]},
        }});
        let (now, later) = split(&body, &[false, true, false]);
        assert_eq!(now, json!({"RequestItems": {"stock": {"Keys": [2]}}}));
        assert_eq!(
            later,
            json!({"orders": {"Keys": [1], "ConsistentRead": true}, "stock": {"Keys": [3]}})
        );
    }
}
