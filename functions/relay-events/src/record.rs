//! Parses one record of the orders table's stream.

use domain::order::Order;
use dynamodb::orders::order_from_stream_json;
use events::{MAX_EVENT_BYTES, OrderEvent};
use serde_json::{Value, json};

/// The longest record that is parked whole, in bytes; it fits into one message.
pub const MAX_PARKED_BYTES: usize = 256 * 1024;
/// The kept part of a longer record, in bytes. As a JSON string it may become twice as long.
const KEPT_BYTES: usize = 100 * 1024;

/// The event name of a record that no stream contains: `make ledger-rebuild` sends the items of the orders
/// table under it.
pub const REBUILD: &str = "REBUILD";

/// The result of parsing a stream record, which determines what the relay does with the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    Change(Box<OrderEvent>),
    Removal,
    /// Only the order's due time changed, which makes no new version.
    PutOff,
    /// The record is unreadable for this reason. The reason names the missing part and contains no stored
    /// value.
    Undecodable(String),
}

/// Parses a record.
#[must_use]
pub fn read(record: &Value) -> Reading {
    change(record).unwrap_or_else(Reading::Undecodable)
}

fn change(record: &Value) -> Result<Reading, String> {
    let rebuild = match record.get("eventName").and_then(Value::as_str) {
        Some("INSERT" | "MODIFY") => false,
        Some(REBUILD) => true,
        Some("REMOVE") => return Ok(Reading::Removal),
        _ => return Err("no event name that is known".to_owned()),
    };
    let image = |name: &str| {
        let image = record.get("dynamodb").and_then(|change| change.get(name));
        image
            .filter(|image| !image.is_null())
            .map(order_from_stream_json)
            .transpose()
    };
    let after = image("NewImage")
        .map_err(|error| error.to_string())?
        .ok_or("no image of the order")?;
    // Without a readable old image, the kind of change is unknown, so it is unknown too whether `process-order`
    // needs the event.
    let before = image("OldImage").map_err(|error| format!("before the change: {error}"))?;
    if before.as_ref().is_some_and(|before| before.id != after.id) {
        return Err("two orders in one change".to_owned());
    }
    let is_of_version = |order: &Order| order.version == after.version;
    if !rebuild && before.as_ref().is_some_and(is_of_version) {
        return Ok(Reading::PutOff);
    }
    // In a rebuild the order counts as unchanged, so that its event goes to the ledger only.
    let event = OrderEvent::of_change(if rebuild { Some(&after) } else { before.as_ref() }, &after);
    // An event that a consumer would refuse must not be sent.
    match event.encode() {
        Ok(text) if text.len() <= MAX_EVENT_BYTES => Ok(Reading::Change(Box::new(event))),
        Ok(_) => Err("its event would be too long".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The record's sequence number in the stream.
#[must_use]
pub fn sequence_number(record: &Value) -> Option<&str> {
    record
        .get("dynamodb")?
        .get("SequenceNumber")?
        .as_str()
        .filter(|number| !number.is_empty())
}

/// The parked text of a record: the whole record, or its beginning if it does not fit into a message. The beginning
/// contains the keys, and the table still has the item.
#[must_use]
pub fn to_park(record: &Value) -> String {
    let text = record.to_string();
    if text.len() <= MAX_PARKED_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(KEPT_BYTES);
    json!({ "cut_off_from_bytes": text.len(), "beginning": text.get(..end) }).to_string()
}
