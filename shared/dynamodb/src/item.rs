//! Reads and writes attributes of items.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::time::Timestamp;
use ports::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An item in the SDK's form.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The primary key of every table.
pub(crate) const KEY: &str = "pk";
/// The attribute that holds a whole document as JSON.
pub(crate) const DOC: &str = "doc";

/// Makes a text attribute (type `S` of DynamoDB).
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// Makes a number attribute (type `N` of DynamoDB).
pub(crate) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A moment, as a number of milliseconds.
pub(crate) fn ms(moment: Timestamp) -> AttributeValue {
    n(moment.as_millis())
}

/// Makes a binary attribute (type `B` of DynamoDB).
pub(crate) fn b(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// An error for an unreadable item: it names the attribute and not its value.
pub(crate) fn unreadable(table: &'static str, attribute: &str) -> StoreError {
    StoreError::Broken(format!("an item of {table} has no readable `{attribute}`"))
}

pub(crate) fn text<'a>(table: &'static str, item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(unreadable(table, name)),
    }
}

/// The parsed text of an attribute.
pub(crate) fn parsed<T: FromStr>(table: &'static str, item: &Item, name: &str) -> Result<T, StoreError> {
    text(table, item, name)?
        .parse()
        .map_err(|_| unreadable(table, name))
}

pub(crate) fn document<T: DeserializeOwned>(table: &'static str, item: &Item) -> Result<T, StoreError> {
    serde_json::from_str(text(table, item, DOC)?).map_err(|_| unreadable(table, DOC))
}

/// `value` as JSON; `what` names the value in an error.
pub(crate) fn json(what: &str, value: &impl Serialize) -> Result<AttributeValue, StoreError> {
    let text = serde_json::to_string(value);
    text.map(s)
        .map_err(|_| StoreError::broken(format!("{what} cannot be written as JSON")))
}

pub(crate) fn number<T: FromStr>(table: &'static str, item: &Item, name: &str) -> Result<T, StoreError> {
    match item.get(name) {
        Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| unreadable(table, name)),
        _ => Err(unreadable(table, name)),
    }
}

pub(crate) fn moment(table: &'static str, item: &Item, name: &str) -> Result<Timestamp, StoreError> {
    number(table, item, name).map(Timestamp::from_millis)
}
