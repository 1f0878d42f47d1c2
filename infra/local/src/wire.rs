//! Defines the types of DynamoDB's answers and SQS's messages, which the local services and the injected faults share.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// The answer to one request of DynamoDB.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { status, body }
    }
}

/// The elements of a member that is a list; none if the member is something else.
pub(crate) fn list<'a>(of: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let elements = of.get(member).and_then(Value::as_array);
    elements.into_iter().flatten()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message {
    pub message_id: String,
    /// The receipt of this delivery, which `DeleteMessage` needs.
    pub receipt_handle: String,
    pub body: String,
    #[serde(rename = "MD5OfBody")]
    pub md5_of_body: String,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub message_attributes: BTreeMap<String, Value>,
}
