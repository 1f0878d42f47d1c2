//! Defines the bodies of requests and answers about orders.

use domain::ids::{DropId, OrderId, ReservationId, SkuId, is_name};
use domain::limits::{MAX_ADDRESS_LINE_BYTES, MAX_PAYMENT_METHOD_BYTES};
use domain::money::Money;
use domain::order::{DeclineReason, EndReason, Order, OrderStatus};
use domain::text::is_text;
use serde::{Deserialize, Serialize};

use crate::address;
pub use crate::address::Shipping;
use crate::moment::Moment;
use crate::problem::FieldProblem;

/// The body of a checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckoutBody {
    /// The reservation to order.
    #[schema(value_type = String, pattern = "^[a-z0-9-]{1,20}[.][A-Za-z0-9-]{1,16}[.][0-9]{1,4}[.][A-Za-z0-9_-]{10}$")]
    pub reservation_id: ReservationId,
    /// The amount that the shopper consents to pay: it must be the reservation's amount.
    #[schema(value_type = MoneySchema)]
    pub amount: Money,
    /// The gateway's token for the means of payment. It is never card data.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub payment_method: String,
    /// The delivery address.
    pub shipping: Shipping,
}

/// The body that submits another card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentBody {
    /// The gateway's token for the means of payment. It is never card data.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub payment_method: String,
}

impl PaymentBody {
    /// All fields that break a rule which the form of the JSON does not express.
    #[must_use]
    pub fn mistakes(&self) -> Vec<FieldProblem> {
        if is_token(&self.payment_method) {
            return Vec::new();
        }
        vec![FieldProblem::new("payment_method", TOKEN)]
    }
}

const TOKEN: &str = "a token of the payment gateway: 1 to 64 of A-Z, a-z, 0-9, _ and -";

fn is_token(method: &str) -> bool {
    is_name(method, MAX_PAYMENT_METHOD_BYTES)
}

impl CheckoutBody {
    /// All fields that break a rule which the form of the JSON does not express.
    #[must_use]
    pub fn mistakes(&self) -> Vec<FieldProblem> {
        let mut found = Vec::new();
        let mut check = |ok: bool, field: &str, message: &str| {
            if !ok {
                found.push(FieldProblem::new(field, message));
            }
        };
        let line = |text: &str| is_text(text, MAX_ADDRESS_LINE_BYTES);
        const LINE: &str = "1 to 200 bytes, without control characters";
        check(is_token(&self.payment_method), "payment_method", TOKEN);
        let positive = self.amount.amount_minor > 0;
        check(positive, "amount.amount_minor", "the reservation's amount");
        let shipping = &self.shipping;
        for (field, text) in [
            ("name", Some(&shipping.name)),
            ("line1", Some(&shipping.line1)),
            ("line2", shipping.line2.as_ref()),
            ("postal_code", shipping.postal_code.as_ref()),
            ("city", shipping.city.as_ref()),
            ("region", shipping.region.as_ref()),
        ] {
            let fits = text.is_none_or(|text| line(text));
            check(fits, &format!("shipping.{field}"), LINE);
        }
        for (field, message) in address::mistakes(shipping) {
            check(false, &format!("shipping.{field}"), &message);
        }
        let email = line(&shipping.email)
            && (shipping.email.split_once('@'))
                .is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
        check(email, "shipping.email", "an e-mail address");
        check(
            shipping.phone.as_deref().is_none_or(is_phone),
            "shipping.phone",
            "in international form: + and 5 to 15 digits, with spaces, dots, hyphens and parentheses between them",
        );
        found
    }
}

/// Whether a text is a telephone number in international form (ITU-T E.164); spaces and punctuation between its
/// digits are allowed.
fn is_phone(text: &str) -> bool {
    let Some(number) = text.strip_prefix('+') else {
        return false;
    };
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let written = |b: u8| b.is_ascii_digit() || b" ().-".contains(&b);
    (5..=15).contains(&digits) && text.len() <= 31 && number.bytes().all(written)
}

/// An action of the shopper that the payment requires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActionView {
    /// The address of the page on which the shopper takes the action.
    pub url: String,
    /// The time until which the action must be finished.
    #[schema(value_type = String, format = DateTime)]
    pub deadline: Moment,
}

/// A declined card, after which the shopper may submit another card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PaymentFailureView {
    /// Why the card was declined, as far as the shopper may know.
    #[schema(value_type = DeclineReasonSchema)]
    pub reason: DeclineReason,
    /// The time until which another card may be submitted.
    #[schema(value_type = String, format = DateTime)]
    pub deadline: Moment,
    /// The number of further cards that may be submitted.
    pub cards_left: u32,
}

/// The state of an order, and the next action of its shopper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrderView {
    /// The order's identifier.
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// The reservation from which the order was made.
    #[schema(value_type = String)]
    pub reservation_id: ReservationId,
    /// The identifier of the order's drop.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The ordered SKU.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// The number of ordered units.
    pub quantity: u32,
    /// The price of all units.
    #[schema(value_type = MoneySchema)]
    pub amount: Money,
    /// The order's status.
    #[schema(value_type = OrderStatusSchema)]
    pub status: OrderStatus,
    /// The reason why the order ended without payment; `null` otherwise.
    #[schema(value_type = Option<EndReasonSchema>)]
    pub reason: Option<EndReason>,
    /// Whether the order is to end unpaid and waits for the gateway's confirmation.
    pub cancel_requested: bool,
    /// The action that the shopper must take; `null` if none is required.
    pub action: Option<ActionView>,
    /// The declined card; `null` unless another card may be submitted.
    pub payment_failure: Option<PaymentFailureView>,
    /// The time limit of the next step: of the shopper while an action or another card is awaited, else of the gateway.
    #[schema(value_type = String, format = DateTime)]
    pub payment_deadline: Moment,
    /// The time at which the order was placed.
    #[schema(value_type = String, format = DateTime)]
    pub placed_at: Moment,
    /// The time of the order's last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Moment,
}

impl From<&Order> for OrderView {
    fn from(order: &Order) -> Self {
        let shard = &order.reservation.shard;
        Self {
            order_id: order.id.clone(),
            reservation_id: order.reservation.clone(),
            drop_id: shard.drop.clone(),
            sku: shard.sku.clone(),
            quantity: order.units,
            amount: order.amount,
            status: order.status,
            reason: order.reason,
            cancel_requested: order.status.is_open() && order.cancel_requested.is_some(),
            action: order.action.as_ref().map(|a| ActionView {
                url: a.url.clone(),
                deadline: a.deadline.into(),
            }),
            payment_failure: (order.status == OrderStatus::PaymentFailed && order.cancel_requested.is_none())
                .then(|| order.current_try()?.declined)
                .flatten()
                .map(|reason| PaymentFailureView {
                    reason,
                    deadline: order.payment_deadline.into(),
                    cards_left: order.cards_left,
                }),
            payment_deadline: order.payment_deadline.into(),
            placed_at: order.placed_at.into(),
            updated_at: order.updated_at.into(),
        }
    }
}

/// A page of a shopper's orders, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrderList {
    /// The orders of this page.
    pub orders: Vec<OrderView>,
    /// The `cursor` of the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

/// An amount of money in one currency.
#[derive(utoipa::ToSchema)]
#[schema(as = Money)]
#[allow(dead_code)]
pub struct MoneySchema {
    /// The amount in minor units, such as cents.
    amount_minor: i64,
    /// The currency, as in ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
}

schema_of_names! {
    /// The progress of an order from its placing to its payment or its end.
    OrderStatusSchema = "OrderStatus", OrderStatus
}

schema_of_names! {
    /// The reason why an order ended without payment.
    EndReasonSchema = "EndReason", EndReason
}

schema_of_names! {
    /// The reason why a card was declined, as far as the shopper may know it.
    DeclineReasonSchema = "DeclineReason", DeclineReason
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> serde_json::Value {
        serde_json::json!({
            "reservation_id": "d.A.0.abcdefghij", "amount": {"amount_minor": 4900, "currency": "EUR"},
            "payment_method": "pm_card_visa",
            "shipping": {"name": "Ada", "line1": "1 Way", "postal_code": "20457", "city": "B", "country": "DE", "email": "a@b.c"}
        })
    }

    #[test]
    fn all_mistakes_are_named_together() {
        let good: CheckoutBody = serde_json::from_value(body()).unwrap();
        assert_eq!(good.mistakes(), vec![]);
        let mut bad = body();
        bad["amount"]["amount_minor"] = (-1).into();
        bad["payment_method"] = "4242 4242".into();
        for field in [
            "name",
            "line1",
            "line2",
            "postal_code",
            "city",
            "region",
            "country",
            "email",
            "phone",
        ] {
            bad["shipping"][field] = "\n".into();
        }
        let bad: CheckoutBody = serde_json::from_value(bad).unwrap();
        assert_eq!(bad.mistakes().len(), 11);
        assert_eq!(format!("{:?}", bad.shipping), "Shipping(..)");
    }

    #[test]
    fn a_telephone_number_is_international() {
        for good in ["+4940123456", "+49 (40) 123-456", "+1.415.555.0100"] {
            assert!(is_phone(good), "{good}");
        }
        for bad in [
            "",
            "+",
            "040123456",
            "+49 40 x",
            "+1234",
            "+1234567890123456",
            "+49\n40123456",
        ] {
            assert!(!is_phone(bad), "{bad}");
        }
    }

    #[test]
    fn an_unknown_member_is_refused() {
        let mut bad = body();
        bad["shiping"] = 1.into();
        assert!(serde_json::from_value::<CheckoutBody>(bad).is_err());
    }
}
