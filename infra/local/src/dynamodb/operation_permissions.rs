//! Determines the permissions that a request to DynamoDB needs.
//!
//! The rules are from the developer guide's pages on IAM for batch and transactional operations. A batch needs the
//! batch's action on every table it names. A transaction needs, for each item, the action of the same single read or
//! write, and `ConditionCheckItem` for a check. A request on an index needs the action on the index.

use std::borrow::Cow;
use std::collections::BTreeMap;

use dynoxide::DynoxideError;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::permissions::Need;
use crate::template::table_arn;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Names<'a> {
    #[serde(borrow)]
    table_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    index_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_items: Option<BTreeMap<Cow<'a, str>, IgnoredAny>>,
    #[serde(borrow)]
    transact_items: Option<Vec<Parts<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parts<'a> {
    #[serde(borrow)]
    get: Option<Part<'a>>,
    #[serde(borrow)]
    put: Option<Part<'a>>,
    #[serde(borrow)]
    update: Option<Part<'a>>,
    #[serde(borrow)]
    delete: Option<Part<'a>>,
    #[serde(borrow)]
    condition_check: Option<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part<'a> {
    #[serde(borrow)]
    table_name: Cow<'a, str>,
}

/// The permissions that `operation` needs. None when the request lacks a required table name: DynamoDB itself refuses
/// such a request.
pub(super) fn needs(operation: &str, body: &[u8]) -> Result<Vec<Need>, DynoxideError> {
    let names: Names<'_> =
        serde_json::from_slice(body).map_err(|e| DynoxideError::SerializationException(e.to_string()))?;
    let need = |action: Cow<'static, str>, resource: String| Need { action, resource };
    let whole = || Cow::Owned(format!("dynamodb:{operation}"));
    Ok(match operation {
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = names.request_items.unwrap_or_default();
            tables.keys().map(|table| need(whole(), arn(table))).collect()
        }
        "TransactGetItems" | "TransactWriteItems" => {
            let items = names.transact_items.unwrap_or_default().into_iter();
            let parts = items.flat_map(|item| {
                [
                    ("dynamodb:GetItem", item.get),
                    ("dynamodb:PutItem", item.put),
                    ("dynamodb:UpdateItem", item.update),
                    ("dynamodb:DeleteItem", item.delete),
                    ("dynamodb:ConditionCheckItem", item.condition_check),
                ]
            });
            parts
                .filter_map(|(action, part)| Some(need(action.into(), arn(&part?.table_name))))
                .collect()
        }
        "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query" | "Scan" | "DescribeTable"
        | "DeleteTable" | "UpdateTable" | "CreateTable" | "DescribeTimeToLive" | "UpdateTimeToLive" => {
            let resource = names.table_name.map(|table| match &names.index_name {
                Some(index) => format!("{}/index/{index}", arn(&table)),
                None => arn(&table),
            });
            Vec::from_iter(resource.map(|resource| need(whole(), resource)))
        }
        _ => vec![need(whole(), "*".to_owned())],
    })
}

/// The ARN of a table that is given by name or by ARN.
fn arn(table: &str) -> String {
    if table.starts_with("arn:") {
        table.to_owned()
    } else {
        table_arn(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn texts(operation: &str, body: &Value) -> Vec<String> {
        needs(operation, body.to_string().as_bytes())
            .unwrap()
            .iter()
            .map(|n| format!("{} {}", n.action, n.resource.rsplit(':').next().unwrap()))
            .collect()
    }

    #[test]
    fn each_part_of_a_request_needs_its_own_permission() {
        let one = json!({"TableName": "stock", "Key": {}});
        assert_eq!(texts("GetItem", &one), ["dynamodb:GetItem table/stock"]);
        assert_eq!(
            texts("GetItem", &json!({"TableName": table_arn("stock")})),
            ["dynamodb:GetItem table/stock"]
        );
        let query = json!({"TableName": "orders", "IndexName": "open", "Limit": 3});
        assert_eq!(texts("Query", &query), ["dynamodb:Query table/orders/index/open"]);
        let batch = json!({"RequestItems": {"stock": {"Keys": []}, "purchases": {"Keys": []}}});
        assert_eq!(
            texts("BatchGetItem", &batch),
            [
                "dynamodb:BatchGetItem table/purchases",
                "dynamodb:BatchGetItem table/stock"
            ]
        );
        let transaction = json!({"TransactItems": [
            {"Put": {"TableName": "orders", "Item": {"TableName": {"S": "stock"}}}},
            {"Update": {"TableName": "stock"}},
            {"Delete": {"TableName": "stock"}},
            {"ConditionCheck": {"TableName": "drops"}},
        ]});
        assert_eq!(
            texts("TransactWriteItems", &transaction),
            [
                "dynamodb:PutItem table/orders",
                "dynamodb:UpdateItem table/stock",
                "dynamodb:DeleteItem table/stock",
                "dynamodb:ConditionCheckItem table/drops",
            ]
        );
        assert_eq!(texts("ListTables", &json!({})), ["dynamodb:ListTables *"]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for body in [
            "",
            "[]",
            "{\"TableName\": 7}",
            "{\"TransactItems\": [{\"Put\": {}}]}",
        ] {
            assert!(needs("PutItem", body.as_bytes()).is_err(), "{body}");
        }
    }
}
