//! One record of the stream.

use domain::order::Order;
use dynamodb::orders::order_from_stream_json;
use events::OrderEvent;
use serde_json::Value;

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// An order was made or changed.
    Change(Box<OrderEvent>),
    /// Nothing to tell: an item went away, which no function of ours causes.
    Nothing,
    /// It cannot be read; why, without its contents.
    Undecodable(String),
}

/// Reads a record as Lambda hands it over.
pub(crate) fn read(record: &Value) -> Record {
    let change = record.get("dynamodb");
    let image = |name: &str| {
        change
            .and_then(|change| change.get(name))
            .filter(|image| !image.is_null())
    };
    if record.get("eventName").and_then(Value::as_str) == Some("REMOVE") {
        return Record::Nothing;
    }
    let Some(new) = image("NewImage") else {
        return Record::Undecodable("it has no new image".to_owned());
    };
    let order = |image: &Value| order_from_stream_json(image);
    match (image("OldImage").map(order).transpose(), order(new)) {
        (Ok(old), Ok(new)) => Record::Change(Box::new(event(old.as_ref(), &new))),
        (_, Err(error)) | (Err(error), _) => Record::Undecodable(error.to_string()),
    }
}

fn event(old: Option<&Order>, new: &Order) -> OrderEvent {
    OrderEvent::of_change(old, new)
}

/// The record's place in the stream, which names it in a batch's answer.
pub(crate) fn sequence_number(record: &Value) -> String {
    let number = record
        .get("dynamodb")
        .and_then(|change| change.get("SequenceNumber"));
    number.and_then(Value::as_str).unwrap_or_default().to_owned()
}
