//! Items and their attributes.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::time::Timestamp;
use ports::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An item as the SDK has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The primary key of every table.
pub(crate) const KEY: &str = "pk";

/// A text.
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number.
pub(crate) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A moment, as a number of milliseconds.
pub(crate) fn ms(moment: Timestamp) -> AttributeValue {
    n(moment.as_millis())
}

/// Some bytes.
pub(crate) fn b(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// An item cannot be read: says which attribute, never what it held.
pub(crate) fn unreadable(table: &'static str, attribute: &str) -> StoreError {
    StoreError::Broken(format!("an item of {table} has no readable `{attribute}`"))
}

/// The text of an attribute.
pub(crate) fn text<'a>(table: &'static str, item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(unreadable(table, name)),
    }
}

/// A value as JSON text; `what` it is goes into the error.
pub(crate) fn as_json<T: Serialize>(what: &str, value: &T) -> Result<AttributeValue, StoreError> {
    let json = serde_json::to_string(value);
    json.map(s)
        .map_err(|_| StoreError::Broken(format!("{what} cannot be written as JSON")))
}

/// The value whose JSON text the attribute `doc` holds.
pub(crate) fn doc<T: DeserializeOwned>(table: &'static str, item: &Item) -> Result<T, StoreError> {
    serde_json::from_str(text(table, item, "doc")?).map_err(|_| unreadable(table, "doc"))
}

/// The number of an attribute.
pub(crate) fn number<T: FromStr>(table: &'static str, item: &Item, name: &str) -> Result<T, StoreError> {
    match item.get(name) {
        Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| unreadable(table, name)),
        _ => Err(unreadable(table, name)),
    }
}

/// The moment of an attribute.
pub(crate) fn moment(table: &'static str, item: &Item, name: &str) -> Result<Timestamp, StoreError> {
    number(table, item, name).map(Timestamp::from_millis)
}
