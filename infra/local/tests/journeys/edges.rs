//! Tests idempotency keys and repeats in edge cases, changed start times, and limits of drafts and addresses.

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::people::{Plan, shipping};
use super::world::{World, millis, moment, now_ms, until};

/// A shopper's shards follow from the first allocation. A restock does not change them, so a repeat finds its
/// reservation.
pub(crate) async fn after_a_restock_every_repeat_finds_its_own(world: &'static World) {
    let drop = "edgerestock";
    world.publish(&Plan::new(drop, &[("A", 200)])).await;
    let shoppers: Vec<_> = (0..100).map(|n| world.shopper(&format!("edge{n}"))).collect();
    let mut first = Vec::new();
    for some in shoppers.chunks(10) {
        first.extend(join_all(some.iter().map(|shopper| shopper.reserve(drop, "A", 1, "k"))).await);
    }
    let body = json!({"sku": "A", "units": 2_000});
    world
        .operate(drop, "restock", Some("more"), Some(body))
        .await
        .expect(200);
    // Processes read the larger plan within a second.
    world.until_available(drop, "available").await;
    let mut all = Vec::new();
    for (shopper, first) in shoppers.iter().zip(first) {
        let first = first.expect(201);
        let again = shopper.reserve(drop, "A", 1, "k").await.expect(201);
        assert_eq!(again["reservation_id"], first["reservation_id"], "{}", shopper.id);
        all.push((shopper, first));
    }
    for (shopper, first) in all {
        shopper.release(&first).await.expect(204);
    }
}

/// A key makes a new reservation after each kind of end: released, expired, and an order that ended.
pub(crate) async fn a_key_makes_a_new_reservation_once_its_own_has_ended(world: &'static World) {
    let drop = "edgekeys";
    world
        .publish(&Plan {
            hold_seconds: 15,
            ..Plan::new(drop, &[("A", 48), ("B", 48)])
        })
        .await;
    let ada = world.shopper("edgeada");
    let reserve = async || ada.reserve(drop, "A", 1, "k").await;
    let first = reserve().await.expect(201);
    let of_b = ada.reserve(drop, "B", 1, "k").await.expect(201);
    assert_ne!(
        of_b["reservation_id"], first["reservation_id"],
        "a key counts for one SKU"
    );
    ada.release(&of_b).await.expect(204);
    ada.release(&first).await.expect(204);
    let second = reserve().await.expect(201);
    assert_ne!(second["reservation_id"], first["reservation_id"]);
    let order = ada
        .checkout(&second, "pm_card_chargeDeclined", "o")
        .await
        .expect(202);
    ada.until_status(&order, &["payment_failed"]).await;
    ada.cancel(&order).await.expect(202);
    assert_eq!(ada.until_final(&order).await["status"], "cancelled");
    let third = reserve().await.expect(201);
    assert_ne!(third["reservation_id"], second["reservation_id"]);
    let paid = ada.checkout(&third, "pm_card_visa", "p").await.expect(202);
    assert_ne!(paid["order_id"], order["order_id"]);
    assert_eq!(ada.until_final(&paid).await["status"], "paid");
    // The hold is renewed no earlier than other shoppers may take the units.
    let held = reserve().await.expect(201);
    let renewed = until("the expired hold is renewed", || async {
        let reply = reserve().await;
        (reply.status == 201 && reply.json["reservation_id"] != held["reservation_id"]).then_some(reply.json)
    })
    .await;
    assert!(now_ms() >= millis(&held["expires_at"]), "{held}");
    ada.release(&renewed).await.expect(204);
}

pub(crate) async fn repeats_are_answered_while_paused_and_others_are_not(world: &'static World) {
    let drop = "edgepause";
    world.publish(&Plan::new(drop, &[("A", 24)])).await;
    let (ada, bob) = (world.shopper("edgepada"), world.shopper("edgepbob"));
    let held = ada.reserve(drop, "A", 1, "k").await.expect(201);
    world.operate(drop, "pause", None, None).await.expect(200);
    until("others are refused", || async {
        let reply = bob.reserve(drop, "A", 1, &format!("k{}", now_ms())).await;
        if reply.status == 201 {
            bob.release(&reply.json).await.expect(204);
            return None;
        }
        reply.expect_problem(409, "paused");
        Some(())
    })
    .await;
    for _ in 0..8 {
        let again = ada.reserve(drop, "A", 1, "k").await.expect(201);
        assert_eq!(again["reservation_id"], held["reservation_id"]);
    }
    ada.release(&held).await.expect(204);
    ada.reserve(drop, "A", 1, "k").await.expect_problem(409, "paused");
}

pub(crate) async fn a_start_moves_with_its_end_and_the_waiting_learn_it(world: &'static World) {
    let drop = "edgestart";
    world
        .publish(&Plan {
            opens_in_ms: 60_000,
            ..Plan::new(drop, &[("A", 4)])
        })
        .await;
    let before = world.operate(drop, "get", None, None).await.expect(200);
    let to = moment(120_000);
    let move_to = async |to: &str| {
        let body = json!({"starts_at": to});
        world.operate(drop, "reschedule", None, Some(body)).await
    };
    for _ in 0..2 {
        let moved = move_to(&to).await.expect(200);
        assert_eq!(millis(&moved["starts_at"]), millis(&json!(to)));
        let by = millis(&moved["starts_at"]) - millis(&before["starts_at"]);
        assert_eq!(millis(&moved["ends_at"]) - millis(&before["ends_at"]), by);
    }
    move_to(&moment(30_000))
        .await
        .expect_problem(400, "invalid_request");
    let message = json!({"message": "Five minutes more."});
    world
        .operate(drop, "message", None, Some(message))
        .await
        .expect(200);
    until("the status tells both", || async {
        let status = world.get(&format!("/drops/{drop}/status")).await.expect(200);
        (millis(&status["starts_at"]) == millis(&json!(to)) && status["message"] == "Five minutes more.")
            .then_some(())
    })
    .await;
    let too_long = json!({"message": "x".repeat(281)});
    world
        .operate(drop, "message", None, Some(too_long))
        .await
        .expect_problem(400, "invalid_request");
    let none = json!({"message": null});
    world.operate(drop, "message", None, Some(none)).await.expect(200);
    let open = "edgeopen";
    world.publish(&Plan::new(open, &[("A", 4)])).await;
    let body = json!({"starts_at": moment(60_000)});
    world
        .operate(open, "reschedule", None, Some(body))
        .await
        .expect_problem(409, "wrong_state");
}

pub(crate) async fn a_draft_with_impossible_money_or_a_past_start_is_refused(world: &'static World) {
    let drop = "edgedraft";
    let good = Plan::new(drop, &[("A", 4)]).body();
    let put = async |body: Value| world.operate(drop, "put", None, Some(body)).await;
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let mut yen = with("/currency", json!("JPY"));
    yen["skus"][0]["price_minor"] = json!(49);
    for (body, field) in [
        (with("/currency", json!("ZZZ")), "currency"),
        (with("/skus/0/price_minor", json!(1)), "skus[0].price_minor"),
        (yen, "skus[0].price_minor"),
        (with("/start_may_be_past", json!(false)), "starts_at"),
    ] {
        let reply = put(body.clone()).await;
        reply.expect_problem(400, "invalid_request");
        assert_eq!(reply.json["errors"][0]["field"], field, "{body}");
    }
    let mut dinar = with("/currency", json!("KWD"));
    dinar["skus"][0]["price_minor"] = json!(4_990);
    put(dinar).await.expect(201);
}

pub(crate) async fn addresses_of_several_countries_are_shipped_to(world: &'static World) {
    let drop = "edgeaddress";
    world
        .publish(&Plan {
            limit: 1,
            ..Plan::new(drop, &[("A", 48)])
        })
        .await;
    let change = |changes: Value| {
        let mut shipping = shipping();
        for (field, value) in changes.as_object().unwrap() {
            shipping[field] = value.clone();
        }
        let fields = shipping.as_object_mut().unwrap();
        fields.retain(|_, value| !value.is_null());
        shipping
    };
    for (n, (changes, refused)) in [
        (
            json!({"country": "US", "postal_code": "95014", "city": "Cupertino", "region": "CA"}),
            None,
        ),
        (
            json!({"country": "HK", "postal_code": null, "city": "旺角", "region": "九龍", "phone": "+852 2123 4567"}),
            None,
        ),
        (json!({"country": "US", "postal_code": "95014"}), Some("shipping.region")),
        (json!({"postal_code": null}), Some("shipping.postal_code")),
        (json!({"country": "XX"}), Some("shipping.country")),
        (json!({"phone": "040 123"}), Some("shipping.phone")),
    ]
    .into_iter()
    .enumerate()
    {
        let shopper = world.shopper(&format!("edgeat{n}"));
        let held = shopper.reserve(drop, "A", 1, "k").await.expect(201);
        let body = json!({"reservation_id": held["reservation_id"], "amount": held["amount"],
                          "payment_method": "pm_card_visa", "shipping": change(changes.clone())});
        let reply = shopper.call(Method::POST, "/orders", Some("k"), Some(body)).await;
        match refused {
            None => {
                let order = reply.expect(202);
                assert_eq!(shopper.until_final(&order).await["status"], "paid");
            }
            Some(field) => {
                reply.expect_problem(400, "invalid_request");
                assert_eq!(reply.json["errors"][0]["field"], field, "{changes}");
                shopper.release(&held).await.expect(204);
            }
        }
    }
}
