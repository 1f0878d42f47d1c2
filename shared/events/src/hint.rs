//! Defines hints: messages that name an order whose payment must be checked, without the change of the
//! payment.

use domain::ids::OrderId;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{EventError, EventType, MAX_EVENT_BYTES, OrderEvent, rfc3339};

/// The `source` of every hint.
pub const HINT_SOURCE: &str = "/stampede/payments";
/// The `type` of every hint.
const HINT_TYPE: &str = "com.stampede.payment.hint";

/// The gateway has reported a change of an order's payment. The hint does not contain the change. Its
/// consumer reads the order and, if the order is open, asks the gateway for the payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentHint {
    /// The gateway's id of the event in which it reported the change.
    pub event: String,
    /// The order whose payment changed.
    pub order: OrderId,
    /// The time at which the gateway's event arrived, in milliseconds since 1970.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: OrderId,
    time: String,
}

impl PaymentHint {
    /// The hint as a CloudEvent in JSON, without `data`.
    ///
    /// # Errors
    /// [`EventError`] when the hint's time cannot be written as a date.
    pub fn encode(&self) -> Result<String, EventError> {
        let envelope = Envelope {
            specversion: "1.0".to_owned(),
            id: self.event.clone(),
            source: HINT_SOURCE.to_owned(),
            kind: HINT_TYPE.to_owned(),
            subject: self.order.clone(),
            time: rfc3339(self.at)?,
        };
        serde_json::to_string(&envelope).map_err(|_| EventError("encoding"))
    }
}

/// A message of the payments queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentWork {
    /// The order was changed, or its next check is due.
    Event(Box<OrderEvent>),
    /// The gateway has reported a change of the payment of this order.
    Hint(OrderId),
}

impl PaymentWork {
    /// Reads a message of the payments queue.
    ///
    /// # Errors
    ///
    /// [`EventError`] when the message is neither an order event nor a hint.
    pub fn decode(text: &str) -> Result<Self, EventError> {
        if text.len() > MAX_EVENT_BYTES {
            return Err(EventError("too long"));
        }
        let hint = serde_json::from_str::<Envelope>(text);
        match hint.ok().filter(|hint| hint.source == HINT_SOURCE) {
            Some(hint) if hint.specversion == "1.0" && hint.kind == HINT_TYPE => Ok(Self::Hint(hint.subject)),
            Some(_) => Err(EventError("version or type")),
            None => OrderEvent::decode(text).map(|event| Self::Event(Box::new(event))),
        }
    }

    /// The order event; `None` for a hint.
    fn event(&self) -> Option<&OrderEvent> {
        match self {
            Self::Event(event) => Some(event),
            Self::Hint(_) => None,
        }
    }

    /// The order that the message is about.
    #[must_use]
    pub fn order(&self) -> &OrderId {
        match self {
            Self::Event(event) => &event.data.order_id,
            Self::Hint(order) => order,
        }
    }

    /// The time of the next reminder ([`OrderEvent::next_due`]), if the message is a reminder;
    /// otherwise `None`.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.event().and_then(|event| event.next_due)
    }

    /// The kind of the message, for log lines.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.event().map_or("hint", |event| event.kind.as_str())
    }

    /// Whether the message is the first about a change of the order, and not a reminder or a hint.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.event().is_some_and(|event| event.kind != EventType::Due)
    }

    /// Whether `process-order` must check the order's payment.
    #[must_use]
    pub fn advances_payment(&self) -> bool {
        self.event().is_none_or(|event| event.kind.advances_payment())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_survives_the_wire_and_is_no_order_event() {
        let hint = PaymentHint {
            event: "evt_1".to_owned(),
            order: "oaaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
            at: Timestamp::from_millis(1_800_000_000_123),
        };
        let text = hint.encode().unwrap();
        let work = PaymentWork::decode(&text).unwrap();
        assert_eq!(work, PaymentWork::Hint(hint.order.clone()));
        assert_eq!(work.order(), &hint.order);
        assert_eq!(work.as_str(), "hint");
        assert!(work.advances_payment());
        assert!(OrderEvent::decode(&text).is_err());
        for (from, to) in [
            ("\"1.0\"", "\"0.3\""),
            ("payment.hint", "payment.other"),
            ("/payments", "/others"),
            ("oaaa", "xaaa"),
        ] {
            assert!(PaymentWork::decode(&text.replace(from, to)).is_err(), "{to}");
        }
        assert!(PaymentWork::decode(&" ".repeat(MAX_EVENT_BYTES + 1)).is_err());
    }
}
