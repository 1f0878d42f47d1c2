//! Makes the draft of a drop, as an operator plans it, and the requests of a shopper.

use domain::ids::ShopperId;
use http::Method;
use serde_json::{Value, json};
use tokens::{Audience, ISSUER};

use super::world::{Reply, World, moment, now_ms, until};

/// The shipping address of every checkout.
pub(crate) fn shipping() -> Value {
    json!({"name": "Ada Byron", "line1": "1 Engine Way", "postal_code": "10115", "city": "Berlin", "country": "DE",
           "email": "ada@example.com"})
}

impl World {
    pub(crate) fn shopper(&'static self, subject: &str) -> Shopper {
        let now = now_ms() / 1000;
        let token = self
            .shoppers
            .sign(Audience::Shopper, subject, now, now + 3_600)
            .unwrap();
        Shopper {
            world: self,
            id: ShopperId::of(ISSUER, subject).to_string(),
            token,
        }
    }
}

/// The settings of a drop that an operator of a journey creates.
pub(crate) struct Plan<'a> {
    pub(crate) drop: &'a str,
    pub(crate) skus: &'a [(&'a str, u32)],
    pub(crate) limit: u32,
    pub(crate) hold_seconds: u32,
    pub(crate) payment_seconds: u32,
    pub(crate) retry_seconds: u32,
    pub(crate) opens_in_ms: i64,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(drop: &'a str, skus: &'a [(&'a str, u32)]) -> Self {
        Self {
            drop,
            skus,
            limit: 2,
            hold_seconds: 300,
            payment_seconds: 120,
            retry_seconds: 60,
            opens_in_ms: -1_000,
        }
    }

    pub(crate) fn body(&self) -> Value {
        let skus: Vec<Value> = self
            .skus
            .iter()
            .map(|(sku, units)| json!({"sku": sku, "title": format!("SKU {sku}"), "price_minor": 4_900, "units": units}))
            .collect();
        json!({
            "title": format!("Drop {}", self.drop), "currency": "EUR", "start_may_be_past": true, "starts_at": moment(self.opens_in_ms),
            "ends_at": moment(600_000), "hold_seconds": self.hold_seconds, "payment_seconds": self.payment_seconds,
            "retry_seconds": self.retry_seconds,
            "per_shopper_limit": self.limit, "expected_shoppers": 1000, "skus": skus,
        })
    }
}

#[derive(Clone)]
pub(crate) struct Shopper {
    pub(super) world: &'static World,
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Shopper {
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Reply {
        self.world.call(method, path, &self.token, key, body).await
    }

    pub(crate) async fn reserve(&self, drop: &str, sku: &str, quantity: u32, key: &str) -> Reply {
        let body = json!({"sku": sku, "quantity": quantity});
        self.call(
            Method::POST,
            &format!("/drops/{drop}/reservations"),
            Some(key),
            Some(body),
        )
        .await
    }

    pub(crate) async fn checkout(&self, reservation: &Value, card: &str, key: &str) -> Reply {
        let body = json!({"reservation_id": reservation["reservation_id"], "amount": reservation["amount"],
                          "payment_method": card, "shipping": shipping()});
        self.call(Method::POST, "/orders", Some(key), Some(body)).await
    }

    pub(crate) async fn release(&self, reservation: &Value) -> Reply {
        let (drop, id) = (
            reservation["drop_id"].as_str().unwrap(),
            reservation["reservation_id"].as_str().unwrap(),
        );
        self.call(
            Method::DELETE,
            &format!("/drops/{drop}/reservations/{id}"),
            None,
            None,
        )
        .await
    }

    pub(crate) async fn cancel(&self, order: &Value) -> Reply {
        let path = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
        self.call(Method::POST, &path, None, None).await
    }

    /// Submits another card for an order.
    pub(crate) async fn pay(&self, order: &Value, card: &str, key: &str) -> Reply {
        let path = format!("/orders/{}/payments", order["order_id"].as_str().unwrap());
        let body = json!({"payment_method": card});
        self.call(Method::POST, &path, Some(key), Some(body)).await
    }

    pub(crate) async fn order(&self, order: &Value) -> Value {
        let path = format!("/orders/{}", order["order_id"].as_str().unwrap());
        self.call(Method::GET, &path, None, None).await.expect(200)
    }

    /// Reserves one unit and checks it out. Returns the order as accepted.
    pub(crate) async fn order_one(&self, drop: &str, sku: &str, card: &str) -> Value {
        let key = format!("{}-{}", self.id, now_ms());
        let reservation = self.reserve(drop, sku, 1, &key).await.expect(201);
        self.checkout(&reservation, card, &key).await.expect(202)
    }

    /// Reserves one unit as soon as a unit is free.
    pub(crate) async fn reserve_when_free(&self, drop: &str, sku: &str) -> Value {
        until(&format!("{} gets a unit of {drop}", self.id), || async move {
            let reply = self
                .reserve(drop, sku, 1, &format!("{}-{}", self.id, now_ms()))
                .await;
            if reply.status == 201 {
                return Some(reply.json);
            }
            reply.expect_problem(409, "sold_out");
            assert_eq!(
                reply.json["availability"], "all_held",
                "gone, and yet it comes back"
            );
            None
        })
        .await
    }

    /// Waits until the order has one of these statuses, and returns it.
    pub(crate) async fn until_status(&self, order: &Value, statuses: &[&str]) -> Value {
        until(&format!("{order} is one of {statuses:?}"), || async move {
            let now = self.order(order).await;
            statuses.contains(&now["status"].as_str().unwrap()).then_some(now)
        })
        .await
    }

    /// Waits until the order is paid, declined, cancelled or refunded, and returns it.
    pub(crate) async fn until_final(&self, order: &Value) -> Value {
        self.until_status(order, &["paid", "declined", "cancelled", "refunded"])
            .await
    }
}
