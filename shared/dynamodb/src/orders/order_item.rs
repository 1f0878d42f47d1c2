//! Reads and writes an order's item: the attributes that indexes and people need, and the whole order as JSON in `doc`.

use std::collections::HashMap;

use domain::order::Order;
use domain::time::Timestamp;
use ports::StoreError;
use serde_json::Value;

use crate::item::{DOC, Item, KEY, json, moment, ms, n, number, s, text, unreadable};

pub(crate) const TABLE: &str = "orders";
/// The sparse index of open orders.
pub(crate) const OPEN_INDEX: &str = "open";
/// The index of a shopper's orders.
pub(crate) const SHOPPER_INDEX: &str = "by-shopper";

/// The attribute with the time at which an open order is due, in ms since 1970.
pub(crate) const DUE_AT: &str = "due_at";

/// The key of a bucket in the index `open`: the bucket's number in hexadecimal.
pub(crate) fn bucket_key(bucket: u8) -> String {
    format!("{bucket:x}")
}

pub(crate) fn order_item(order: &Order) -> Result<Item, StoreError> {
    let mut item = HashMap::from([
        (KEY.to_owned(), s(order.id.as_str())),
        ("version".to_owned(), n(order.version)),
        ("status".to_owned(), s(order.status.as_str())),
        ("shopper_id".to_owned(), s(order.shopper.as_str())),
        ("placed_at".to_owned(), ms(order.placed_at)),
        (DUE_AT.to_owned(), ms(order.due_at)),
        (DOC.to_owned(), json("an order", order)?),
    ]);
    if let Some(bucket) = order.open_bucket() {
        item.insert("open".to_owned(), s(bucket_key(bucket)));
    }
    Ok(item)
}

/// Reads an order from its item: the document in `doc`, and the due time that is stored beside it.
pub(crate) fn order_of(item: &Item) -> Result<Order, StoreError> {
    let key = text(TABLE, item, KEY)?;
    let version: u32 = number(TABLE, item, "version")?;
    let due_at = (item.contains_key(DUE_AT).then(|| moment(TABLE, item, DUE_AT))).transpose()?;
    order_from_parts(key, version, due_at, text(TABLE, item, DOC)?)
        .map_err(|OrderImageError(what)| unreadable(TABLE, what))
}

/// An image of the stream is not a readable order. The error names the attribute and not its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the image of an order has no readable `{0}`")]
pub struct OrderImageError(&'static str);

/// Reads an order out of an image in a record of the orders table's stream: an item in DynamoDB's JSON, as Lambda
/// passes it in `dynamodb.NewImage` and `dynamodb.OldImage`.
///
/// Unknown attributes are ignored.
///
/// # Errors
/// [`OrderImageError`] when key, version or document is missing, or when they contradict each other.
pub fn order_from_stream_json(image: &Value) -> Result<Order, OrderImageError> {
    let part = |name: &'static str, kind: &str| {
        let value = image.get(name).and_then(|value| value.get(kind));
        value.and_then(Value::as_str).ok_or(OrderImageError(name))
    };
    let number = |name| part(name, "N")?.parse::<i64>().map_err(|_| OrderImageError(name));
    let version = u32::try_from(number("version")?).map_err(|_| OrderImageError("version"))?;
    let due_at = (image.get(DUE_AT).map(|_| number(DUE_AT))).transpose()?;
    let due_at = due_at.map(Timestamp::from_millis);
    order_from_parts(part(KEY, "S")?, version, due_at, part(DOC, "S")?)
}

/// The due time is also stored beside the document. Moving a check changes only that attribute, so the attribute has
/// priority over the document.
fn order_from_parts(
    key: &str,
    version: u32,
    due_at: Option<Timestamp>,
    doc: &str,
) -> Result<Order, OrderImageError> {
    let order: Order = serde_json::from_str(doc).map_err(|_| OrderImageError(DOC))?;
    if order.id.as_str() != key {
        return Err(OrderImageError(KEY));
    }
    if order.version != version {
        return Err(OrderImageError("version"));
    }
    let due_at = due_at.unwrap_or(order.due_at);
    Ok(Order { due_at, ..order })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::AttributeValue;
    use contracts::fixtures;
    use domain::order::EndReason;
    use serde_json::json;

    /// An item as a stream record shows it.
    fn image(item: &Item) -> Value {
        item.iter()
            .map(|(name, value)| {
                let value = match value {
                    AttributeValue::S(text) => json!({ "S": text }),
                    AttributeValue::N(digits) => json!({ "N": digits }),
                    other => panic!("no such value in an order: {other:?}"),
                };
                (name.clone(), value)
            })
            .collect()
    }

    #[test]
    fn an_order_survives_its_item_and_its_image() {
        let order = fixtures::placing("ada", "k", 2, 3).order;
        let item = order_item(&order).unwrap();
        assert_eq!(order_of(&item).unwrap(), order);
        assert_eq!(order_from_stream_json(&image(&item)).unwrap(), order);
    }

    /// An order whose first card is charged costs one write unit for each change, with identifiers as long as the
    /// gateway and the issuers make them.
    #[test]
    fn a_usual_order_stays_below_one_write_unit() {
        let mut order = fixtures::placing("sixteen-bytes-id", "k", 1, 3).order;
        order.correlation = Some("JKJaXmPLvHcESHA=".parse().unwrap());
        order.tries[0].method = "pm_1PgafyB7WZ01zgkWa4yI9wW7".to_owned();
        let at = |seconds| order.placed_at.plus_seconds(seconds);
        let payment = "pi_3PgafyB7WZ01zgkW0xYyq4bN".parse().unwrap();
        let paying = order.with_payment(payment, at(1)).unwrap().order;
        let paid = paying.settle(at(2)).unwrap().order;
        for order in [&order, &paying, &paid] {
            let bytes: usize = order_item(order)
                .unwrap()
                .iter()
                .map(|(name, value)| {
                    let text = value.as_s().or(value.as_n()).unwrap();
                    name.len() + text.len()
                })
                .sum();
            assert!(
                bytes < domain::limits::WRITE_UNIT_BYTES,
                "{bytes} bytes: {order:?}"
            );
        }
    }

    #[test]
    fn only_an_open_order_is_in_the_index_of_open_ones() {
        let order = fixtures::placing("ada", "k", 1, 3).order;
        let bucket = order.open_bucket().unwrap();
        let item = order_item(&order).unwrap();
        assert_eq!(item.get("open"), Some(&s(format!("{bucket:x}"))));
        let later = Timestamp::from_millis(1_800_000_001_000);
        let undone = order.undo(EndReason::ByShopper, later).unwrap().order;
        assert_eq!(order_item(&undone).unwrap().get("open"), None);
    }

    #[test]
    fn an_image_that_is_no_order_says_what_is_missing_and_nothing_else() {
        let order = fixtures::placing("ada", "k", 1, 3).order;
        let good = image(&order_item(&order).unwrap());
        let broken = [
            ("pk", json!({"S": "o".repeat(27)}), "pk"),
            ("pk", Value::Null, "pk"),
            ("version", json!({"N": "7"}), "version"),
            ("version", json!({"N": "-"}), "version"),
            ("version", json!({"S": "1"}), "version"),
            ("doc", json!({"S": "{\"shipping\":\"secret\"}"}), "doc"),
            ("doc", json!("{}"), "doc"),
        ];
        for (name, value, blamed) in broken {
            let mut image = good.clone();
            image[name] = value;
            assert_eq!(
                order_from_stream_json(&image),
                Err(OrderImageError(blamed)),
                "{image}"
            );
        }
        for nothing in [json!(null), json!([]), json!("x"), json!({})] {
            assert!(order_from_stream_json(&nothing).is_err(), "{nothing}");
        }
    }
}
