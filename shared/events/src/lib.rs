//! Defines the order events that the outbox and the sweeper send, as CloudEvents 1.0 in structured JSON.
//!
//! An event contains the whole order at one version, so a consumer needs no other data, and can apply
//! versions in any order. The highest version replaces lower versions, and a version that was applied
//! before changes nothing. The data of an event is an allow-list: it contains no address, no e-mail and no
//! payment method.
//!
//! Decoding requires every member that is used, and ignores unknown members, so that a later release may
//! add members.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod hint;

pub use hint::{HINT_SOURCE, PaymentHint, PaymentWork};

use domain::ids::{CorrelationId, DropId, OrderId, ReservationId, ShopperId, SkuId};
use domain::named;
use domain::order::{EndReason, Order, OrderStatus};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The `source` of every order event.
pub const SOURCE: &str = "/stampede/orders";

/// The `type` of every order event, before the name of its [`EventType`].
const TYPE_PREFIX: &str = "com.stampede.order.";

/// The longest event that is decoded, in bytes.
pub const MAX_EVENT_BYTES: usize = 16 * 1024;

named! {
    /// The kind of an order event: the change of the order that it reports, or a reminder. The name of a
    /// kind is the last part of the CloudEvents `type`.
    pub enum EventType {
        /// The order was placed, and its payment may begin.
        Placed = "placed",
        /// The order changed, but no consumer except the ledger must act: for example, a payment id was stored.
        Updated = "updated",
        /// The shopper submitted another card, which must be charged.
        CardAdded = "card_added",
        /// The shopper must act before the payment can continue.
        ActionRequired = "action_required",
        /// The shopper or the operator requested the cancellation, or the operator stated that the gateway does
        /// not have the payment. `process-order` must ask the gateway whether money was taken.
        CancelRequested = "cancel_requested",
        /// The gateway declined the card. The shopper may submit another card.
        PaymentFailed = "payment_failed",
        /// The money was taken, and the order is paid.
        Paid = "paid",
        /// The payment was declined, and the order has ended.
        Declined = "declined",
        /// The order was cancelled, and has ended.
        Cancelled = "cancelled",
        /// The money was refunded.
        Refunded = "refunded",
        /// The order is open, and its next check is due. The sweeper sends this event as a reminder; the outbox
        /// does not.
        Due = "due",
    }
}

impl EventType {
    /// Whether `process-order` must act on the event. The other events report its own changes, or require no
    /// action. They are not sent to `process-order`, which acknowledges them if it receives one.
    #[must_use]
    pub const fn advances_payment(self) -> bool {
        match self {
            Self::Placed | Self::CardAdded | Self::CancelRequested | Self::Due => true,
            Self::Updated
            | Self::ActionRequired
            | Self::PaymentFailed
            | Self::Paid
            | Self::Declined
            | Self::Cancelled
            | Self::Refunded => false,
        }
    }

    /// The news that the shopper gets by mail for the event; `None` if no mail is sent.
    #[must_use]
    pub const fn news(self) -> Option<News> {
        match self {
            Self::Paid => Some(News::Confirmed),
            Self::ActionRequired => Some(News::ActNow),
            Self::PaymentFailed => Some(News::CardDeclined),
            Self::Declined => Some(News::Declined),
            Self::Cancelled => Some(News::Cancelled),
            Self::Placed
            | Self::Updated
            | Self::CardAdded
            | Self::CancelRequested
            | Self::Refunded
            | Self::Due => None,
        }
    }
}

named! {
    /// The kind of news that a shopper gets by mail. Its name is used in log lines, and in the stored list of the news
    /// that were sent.
    pub enum News {
        /// The order is paid and thereby confirmed.
        Confirmed = "confirmed",
        /// The shopper must act before the payment can continue.
        ActNow = "act_now",
        /// The gateway declined the card. The shopper may submit another card.
        CardDeclined = "card_declined",
        /// The payment was declined, and the order has ended.
        Declined = "declined",
        /// The order was cancelled, and has ended.
        Cancelled = "cancelled",
    }
}

/// The part of an order, at one version, that consumers may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderData {
    /// The order's identifier.
    pub order_id: OrderId,
    /// The order's version.
    pub version: u32,
    /// The order's status.
    pub status: OrderStatus,
    /// The reason why the order ended unpaid; `None` while it is open, and for a paid or refunded order.
    pub reason: Option<EndReason>,
    /// The reservation that became the order.
    pub reservation_id: ReservationId,
    /// The drop that sells the units.
    pub drop_id: DropId,
    /// The SKU of the units.
    pub sku: SkuId,
    /// The shopper's identifier: a hash of the token's issuer and subject.
    pub shopper_id: ShopperId,
    /// The number of ordered units.
    pub quantity: u32,
    /// The amount for all units, in minor units of the currency.
    pub amount_minor: i64,
    /// The currency's code in ISO 4217.
    pub currency: String,
    /// The gateway's id of the payment; `None` if no payment was created.
    pub payment_id: Option<String>,
    /// The time at which the order was placed, in milliseconds since 1970.
    pub placed_at_ms: Timestamp,
    /// The time of the change that made this version, in milliseconds since 1970.
    pub updated_at_ms: Timestamp,
}

/// An order event: the change of an order, or a reminder, with the order's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEvent {
    /// The kind of the event.
    pub kind: EventType,
    /// The order's data after the change.
    pub data: OrderData,
    /// The correlation id of the purchase; `None` for an order that was stored without one.
    pub correlation: Option<CorrelationId>,
    /// The time of the next reminder, after which this reminder is outdated; `None` for an event that is not
    /// a reminder.
    pub next_due: Option<Timestamp>,
}

/// The error for a message that is not an event of this project. It contains no part of the message, which
/// may be personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an order event: {0}")]
pub struct EventError(&'static str);

/// The envelope of an event: the attributes that CloudEvents 1.0 requires, and those that this project uses.
#[derive(Serialize, Deserialize)]
struct Envelope {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: String,
    /// The attribute of the CloudEvents extension "Correlation":
    /// <https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/correlation.md>.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlationid: Option<CorrelationId>,
    /// This project's own attribute, which only reminders have: [`OrderEvent::next_due`] in milliseconds
    /// since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nextduems: Option<Timestamp>,
    data: OrderData,
}

impl OrderEvent {
    /// The event for the change from `before` (`None` for a new order) to `after`.
    #[must_use]
    pub fn of_change(before: Option<&Order>, after: &Order) -> Self {
        let changed = before.is_none_or(|b| b.status != after.status);
        let kind = match after.status {
            status
                if status.is_open()
                    && after.cancel_requested.is_some_and(EndReason::is_asked_for)
                    && before.is_some_and(|b| {
                        b.cancel_requested.is_none() || b.is_not_at_gateway() != after.is_not_at_gateway()
                    }) =>
            {
                EventType::CancelRequested
            }
            // The bank requires an action on a further page.
            OrderStatus::ActionRequired
                if before.is_some_and(|b| b.page() != after.page() && after.page().is_some()) =>
            {
                EventType::ActionRequired
            }
            _ if !changed => EventType::Updated,
            OrderStatus::Placed => EventType::Placed,
            OrderStatus::Paying if before.is_some_and(|b| b.status == OrderStatus::PaymentFailed) => {
                EventType::CardAdded
            }
            OrderStatus::Paying => EventType::Updated,
            OrderStatus::PaymentFailed => EventType::PaymentFailed,
            OrderStatus::ActionRequired => EventType::ActionRequired,
            OrderStatus::Paid => EventType::Paid,
            OrderStatus::Declined => EventType::Declined,
            OrderStatus::Cancelled => EventType::Cancelled,
            OrderStatus::Refunded => EventType::Refunded,
        };
        Self {
            kind,
            data: OrderData::of(after),
            correlation: after.correlation.clone(),
            next_due: None,
        }
    }

    /// The sweeper's reminder that a check of `order` is due. `order` already contains its next due time.
    #[must_use]
    pub fn due(order: &Order) -> Self {
        Self {
            kind: EventType::Due,
            data: OrderData::of(order),
            correlation: order.correlation.clone(),
            next_due: Some(order.due_at),
        }
    }

    /// The event's `id`. It is the same each time that the event is sent, so that consumers can
    /// recognise repeats.
    #[must_use]
    pub fn id(&self) -> String {
        let suffix = match self.next_due {
            Some(next) => format!(":due:{}", next.as_millis()),
            None => String::new(),
        };
        format!("{}:{}{suffix}", self.data.order_id, self.data.version)
    }

    /// The event as a CloudEvent in JSON.
    ///
    /// # Errors
    ///
    /// [`EventError`] when the event's time cannot be written as a date.
    pub fn encode(&self) -> Result<String, EventError> {
        let envelope = Envelope {
            specversion: "1.0".to_owned(),
            id: self.id(),
            source: SOURCE.to_owned(),
            kind: format!("{TYPE_PREFIX}{}", self.kind),
            subject: self.data.order_id.to_string(),
            time: rfc3339(self.data.updated_at_ms)?,
            datacontenttype: "application/json".to_owned(),
            correlationid: self.correlation.clone(),
            nextduems: self.next_due,
            data: self.data.clone(),
        };
        serde_json::to_string(&envelope).map_err(|_| EventError("encoding"))
    }

    /// Reads an event from a CloudEvent in JSON.
    ///
    /// # Errors
    ///
    /// [`EventError`] when the text is too long, is not a CloudEvent 1.0, has another source, contains no
    /// order, or has a subject other than the order's id.
    pub fn decode(text: &str) -> Result<Self, EventError> {
        if text.len() > MAX_EVENT_BYTES {
            return Err(EventError("too long"));
        }
        let envelope: Envelope = serde_json::from_str(text).map_err(|_| EventError("form"))?;
        let kind = envelope
            .kind
            .strip_prefix(TYPE_PREFIX)
            .and_then(|name| name.parse().ok());
        let kind = kind.ok_or(EventError("form"))?;
        if envelope.specversion != "1.0" || envelope.source != SOURCE {
            return Err(EventError("version or source"));
        }
        if envelope.subject != envelope.data.order_id.as_str() {
            return Err(EventError("subject"));
        }
        Ok(Self {
            kind,
            data: envelope.data,
            correlation: envelope.correlationid,
            next_due: envelope.nextduems,
        })
    }
}

/// The time in RFC 3339, as CloudEvents requires.
fn rfc3339(at: Timestamp) -> Result<String, EventError> {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| EventError("time"))?;
    time.format(&Rfc3339).map_err(|_| EventError("time"))
}

impl OrderData {
    fn of(order: &Order) -> Self {
        Self {
            order_id: order.id.clone(),
            version: order.version,
            status: order.status,
            reason: order.reason,
            reservation_id: order.reservation.clone(),
            drop_id: order.reservation.shard.drop.clone(),
            sku: order.reservation.shard.sku.clone(),
            shopper_id: order.shopper.clone(),
            quantity: order.units,
            amount_minor: order.amount.amount_minor,
            currency: order.amount.currency.to_string(),
            payment_id: order.payment_id.as_ref().map(ToString::to_string),
            placed_at_ms: order.placed_at,
            updated_at_ms: order.updated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::claim::{Claim, ClaimState};
    use domain::ids::{Nonce, ShardKey};
    use domain::money::Money;
    use domain::order::{DeclineReason, Fingerprint, Placement};
    use domain::saga::Terms;
    use proptest::prelude::*;

    fn order() -> Order {
        let (drop, shopper): (DropId, ShopperId) = ("d".parse().unwrap(), "ada".parse().unwrap());
        let now = Timestamp::from_millis(1_800_000_000_123);
        let nonce = Nonce::of_request(&drop, &"A".parse().unwrap(), &shopper, "k", now);
        let claim = Claim {
            state: ClaimState::Ordered,
            units: 1,
            deadline: now.plus_seconds(60),
            nonce: nonce.clone(),
        };
        let reservation = ReservationId {
            shard: ShardKey {
                drop,
                sku: "A".parse().unwrap(),
                index: 3,
            },
            nonce,
        };
        let amount = Money {
            amount_minor: 4900,
            currency: "EUR".parse().unwrap(),
        };
        let (payment_method, fingerprint) = ("pm_secret".to_owned(), Fingerprint::of_request(b"k", b"c"));
        Order::place(
            Placement {
                reservation,
                shopper,
                claim,
                amount,
                payment_method,
                fingerprint,
                terms: Terms {
                    payment_seconds: 60,
                    retry_seconds: 60,
                    gateway_wait_seconds: 7_200,
                    cards: 3,
                },
            },
            now,
        )
    }

    #[test]
    fn each_change_has_its_event() {
        let now = Timestamp::from_millis(1_800_000_001_000);
        let placed = order();
        let paying = placed.with_payment("pi_1".parse().unwrap(), now).unwrap().order;
        let asked = paying.request_cancel(EndReason::ByShopper, now).unwrap().order;
        let acting = paying
            .require_action("https://bank.example".into(), now)
            .unwrap()
            .order;
        let kind = |before: Option<&Order>, after: &Order| OrderEvent::of_change(before, after).kind;
        assert_eq!(kind(None, &placed), EventType::Placed);
        assert_eq!(kind(Some(&placed), &paying), EventType::Updated);
        assert_eq!(kind(Some(&paying), &asked), EventType::CancelRequested);
        let other = acting
            .require_action("https://bank.example/2".into(), now)
            .unwrap();
        assert_eq!(kind(Some(&acting), &other.order), EventType::ActionRequired);
        let stated = asked.not_at_gateway(now).unwrap();
        assert_eq!(kind(Some(&asked), &stated.order), EventType::CancelRequested);
        assert_eq!(kind(Some(&paying), &acting), EventType::ActionRequired);
        assert_eq!(
            kind(Some(&acting), &acting.settle(now).unwrap().order),
            EventType::Paid
        );
        assert_eq!(
            kind(
                Some(&asked),
                &asked.undo(EndReason::ByShopper, now).unwrap().order
            ),
            EventType::Cancelled
        );
    }

    /// Tries every change of an order from every state. `process-order` must act on the events of a new
    /// order, of a further card, of a cancellation request for an order that is still open, and of the
    /// sweeper's reminder. It must not act on the events of its own changes.
    #[test]
    fn a_payment_is_driven_by_what_others_want_of_it_in_every_state() {
        use OrderStatus::{
            ActionRequired, Cancelled, Declined, Paid, Paying, PaymentFailed, Placed, Refunded,
        };
        let now = Timestamp::from_millis(1_800_000_001_000);
        let placed = order();
        assert!(OrderEvent::of_change(None, &placed).kind.advances_payment());
        let mut seen = Vec::new();
        let mut left = vec![placed];
        while let Some(before) = left.pop() {
            let state = |order: &Order| (order.status, order.payment_id.clone(), order.cancel_requested);
            if seen.contains(&state(&before)) {
                continue;
            }
            seen.push(state(&before));
            assert!(OrderEvent::due(&before).kind.advances_payment());
            let no = DeclineReason::CardDeclined;
            let by_driver = [
                before.acted(now),
                before.declined(no, None, now),
                before.try_again(no, None, now),
                before.declined_for_good(no, None, now),
                before.request_cancel(EndReason::PaymentDeadline, now),
                before.with_payment("pi_1".parse().unwrap(), now),
                before.require_action("https://bank.example".into(), now),
                before.settle(now),
                before.undo(EndReason::PaymentDeclined, now),
                before.undo(EndReason::PaymentDeadline, now),
                before.undo(EndReason::GatewayUnavailable, now),
                before.refund(now),
            ];
            let by_others = [
                before.keep(60, Fingerprint::of_request(b"3", b"3"), now),
                before.request_cancel(EndReason::ByShopper, now),
                before.another_card("pm_2".into(), Fingerprint::of_request(b"2", b"2"), now),
            ];
            let wishes = before.cancel_requested.is_none();
            if before.history.count(domain::saga::Cause::Kept) > 1 {
                continue;
            }
            for (n, step) in by_driver.into_iter().chain(by_others).enumerate() {
                let Ok(step) = step else { continue };
                let kind = OrderEvent::of_change(Some(&before), &step.order).kind;
                let asks = (n == 13 && wishes && step.order.status.is_open()) || n == 14;
                assert_eq!(kind.advances_payment(), asks, "{kind:?} of {before:?}");
                left.push(step.order);
            }
        }
        for status in [
            Placed,
            Paying,
            ActionRequired,
            PaymentFailed,
            Paid,
            Declined,
            Cancelled,
            Refunded,
        ] {
            assert!(seen.iter().any(|(seen, _, _)| *seen == status), "{status:?}");
        }
    }

    #[test]
    fn an_event_survives_the_wire_and_leaves_secrets_behind() {
        let event = OrderEvent::of_change(None, &order());
        let text = event.encode().unwrap();
        assert_eq!(OrderEvent::decode(&text).unwrap(), event);
        let fingerprint = order().fingerprint.to_string();
        assert!(!text.contains("pm_secret") && !text.contains(&fingerprint));
        assert!(text.contains(r#""time":"2027-01-15T08:00:00.123Z""#), "{text}");
    }

    #[test]
    fn the_correlation_id_goes_along_where_there_is_one() {
        let without = OrderEvent::of_change(None, &order());
        let text = without.encode().unwrap();
        assert_eq!(without.correlation, None);
        assert!(!text.contains("correlationid"), "{text}");
        let placed = Order {
            correlation: Some("JKJaXmPLvHcESHA=".parse().unwrap()),
            ..order()
        };
        let paid = placed.settle(placed.placed_at).unwrap().order;
        for event in [
            OrderEvent::of_change(Some(&placed), &paid),
            OrderEvent::due(&placed),
        ] {
            let text = event.encode().unwrap();
            assert!(text.contains(r#""correlationid":"JKJaXmPLvHcESHA=""#), "{text}");
            assert_eq!(OrderEvent::decode(&text).unwrap(), event);
            // CloudEvents forbids an empty value, and an e-mail address is not a correlation id.
            for other in ["", "ada@example.org"] {
                assert!(OrderEvent::decode(&text.replace("JKJaXmPLvHcESHA=", other)).is_err());
            }
        }
    }

    #[test]
    fn strangers_are_refused() {
        let text = OrderEvent::of_change(None, &order()).encode().unwrap();
        for (from, to) in [
            ("\"1.0\"", "\"0.3\""),
            (SOURCE, "/other"),
            ("order.placed", "order.eaten"),
            ("\"subject\":\"o", "\"subject\":\"p"),
        ] {
            assert!(OrderEvent::decode(&text.replace(from, to)).is_err(), "{from}");
        }
        // Spaces after the event change only its length.
        let padded = |bytes: usize| OrderEvent::decode(&format!("{text:bytes$}"));
        assert!(padded(MAX_EVENT_BYTES).is_ok());
        assert!(padded(MAX_EVENT_BYTES + 1).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,200}") {
            prop_assert!(OrderEvent::decode(&text).is_err());
        }
    }
}
