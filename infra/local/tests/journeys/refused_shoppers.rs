//! Tests bad input of shoppers, route by route.

use http::Method;
use serde_json::{Value, json};

use super::scene::{Bad, CANCELLED, DRAFT, DROP, Scene, UPCOMING};

pub(crate) async fn reservations(scene: &Scene) {
    let path = format!("/drops/{DROP}/reservations");
    let by = &scene.ada.token;
    let post = |what: &str, path: &str, body| scene.json(what, Method::POST, path, by, body);
    for quantity in [
        json!(0),
        json!(4),
        json!(-1),
        json!(4_294_967_295_u32),
        json!(u64::MAX),
        json!(1.5),
        json!("1"),
        json!(null),
        json!([1]),
    ] {
        let body = json!({"sku": "B", "quantity": quantity});
        let reply = scene
            .refused(
                &post(&format!("quantity {quantity}"), &path, body),
                400,
                "invalid_request",
            )
            .await;
        assert_eq!(reply.json["errors"][0]["field"], "quantity");
    }
    for sku in ["", "no sku", "../A", "AAAAAAAAAAAAAAAAA", "Ä", "A#0", "A.0"] {
        let body = json!({"sku": sku, "quantity": 1});
        scene
            .refused(&post(sku, &path, body), 400, "invalid_request")
            .await;
    }
    let one = json!({"sku": "A", "quantity": 1});
    scene
        .refused(
            &post("unknown SKU", &path, json!({"sku": "Z", "quantity": 1})),
            404,
            "not_found",
        )
        .await;
    for drop in [
        "nowhere",
        DRAFT,
        "UPPER",
        "a%20b",
        "..%2f..%2fetc",
        "%00",
        "%ff",
        "a%23b",
        "aaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let bad = post(
            "unknown drop",
            &format!("/drops/{drop}/reservations"),
            one.clone(),
        );
        scene.refused(&bad, 404, "not_found").await;
    }
    let reply = scene
        .refused(
            &post("early", &format!("/drops/{UPCOMING}/reservations"), one.clone()),
            409,
            "not_open",
        )
        .await;
    assert!(reply.json["retry_after_seconds"].as_u64().unwrap() > 100);
    scene
        .refused(
            &post("late", &format!("/drops/{CANCELLED}/reservations"), one.clone()),
            409,
            "closed",
        )
        .await;
    let reply = scene
        .refused(&post("a second hold", &path, one), 409, "reservation_exists")
        .await;
    assert_eq!(reply.json["reservation_id"], scene.held["reservation_id"]);
    let other = Bad {
        key: Some("held".to_owned()),
        ..post("other contents", &path, json!({"sku": "A", "quantity": 2}))
    };
    scene.refused(&other, 422, "idempotency_mismatch").await;

    let foreign = scene.foreign["reservation_id"].as_str().unwrap();
    let mine = scene.held["reservation_id"].as_str().unwrap();
    let bought = scene.order["reservation_id"].as_str().unwrap();
    for method in [Method::GET, Method::DELETE] {
        let ids = [
            foreign,
            "x",
            "refusals.A.0",
            "refusals.A.0.abcdefghij",
            "refusals.A.99999.abcdefghij",
            "refusals.Z.0.abcdefghij",
            "%2e%2e",
            "...",
        ];
        for id in ids {
            let bad = scene.json(
                "no reservation of mine",
                method.clone(),
                &format!("{path}/{id}"),
                by,
                Value::Null,
            );
            scene.refused(&bad, 404, "not_found").await;
        }
        let elsewhere = scene.json(
            "of another drop",
            method.clone(),
            &format!("/drops/{UPCOMING}/reservations/{mine}"),
            by,
            Value::Null,
        );
        scene.refused(&elsewhere, 404, "not_found").await;
    }
    let sold = scene.json(
        "sold",
        Method::DELETE,
        &format!("{path}/{bought}"),
        by,
        Value::Null,
    );
    let reply = scene.send(&sold).await;
    assert!(
        matches!(
            (reply.status, reply.code()),
            (404, "not_found") | (409, "wrong_state")
        ),
        "{}",
        reply.json
    );
}

pub(crate) async fn checkouts(scene: &Scene) {
    let with = |pointer: &str, value: Value| {
        let mut body = scene.checkout();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        body
    };
    let post = |what: &str, body| scene.json(what, Method::POST, "/orders", &scene.ada.token, body);
    let invalid = [
        ("/reservation_id", json!("")),
        ("/reservation_id", json!("refusals.A.0")),
        ("/reservation_id", json!("../../orders")),
        ("/reservation_id", json!("refusals.A.-1.abcdefghij")),
        ("/amount/amount_minor", json!(1)),
        ("/amount/amount_minor", json!(0)),
        ("/amount/amount_minor", json!(-4_900)),
        ("/amount/amount_minor", json!(49.0)),
        ("/amount/amount_minor", json!(u64::MAX)),
        ("/amount/currency", json!("USD")),
        ("/amount/currency", json!("euro")),
        ("/payment_method", json!("")),
        ("/payment_method", json!("4242 4242 4242 4242")),
        ("/payment_method", json!("p".repeat(65))),
        ("/shipping/name", json!("")),
        ("/shipping/name", json!("n".repeat(201))),
        ("/shipping/city", json!("Berlin\r\nBcc: x")),
        ("/shipping/country", json!("de")),
        ("/shipping/email", json!("nobody")),
        ("/shipping/phone", json!("1")),
        ("/shipping", json!(null)),
    ];
    for (pointer, value) in invalid {
        let bad = post(&format!("{pointer} {value:.40}"), with(pointer, value));
        scene.refused(&bad, 400, "invalid_request").await;
    }
    let foreign = with("/reservation_id", scene.foreign["reservation_id"].clone());
    scene.refused(&post("foreign", foreign), 404, "not_found").await;
    for id in [
        "nowhere.A.0.abcdefghij",
        "refusals.Z.0.abcdefghij",
        "refusals.A.77.abcdefghij",
        "refusals-draft.A.0.abcdefghij",
    ] {
        scene
            .refused(&post(id, with("/reservation_id", json!(id))), 404, "not_found")
            .await;
    }
    let gone = with("/reservation_id", json!("refusals.A.0.abcdefghij"));
    scene
        .refused(&post("long gone", gone), 409, "reservation_expired")
        .await;
    // A checkout with the same contents counts as a repeat, whatever its key. So this checkout has another card.
    let mut bought = with("/reservation_id", scene.order["reservation_id"].clone());
    bought["payment_method"] = "pm_card_amex".into();
    scene
        .refused(&post("ordered already", bought.clone()), 409, "wrong_state")
        .await;
    // The answer must not show to Bob that Ada has an order.
    let bobs = scene.json(
        "ordered by another",
        Method::POST,
        "/orders",
        &scene.bob.token,
        bought,
    );
    scene.refused(&bobs, 404, "not_found").await;
}

pub(crate) async fn orders_and_lists(scene: &Scene) {
    let order = scene.order["order_id"].as_str().unwrap();
    let by = |what: &str, method: Method, path: &str, token: &str| Bad {
        key: None,
        content_type: None,
        ..scene.json(what, method, path, token, Value::Null)
    };
    for (method, act) in [(Method::GET, ""), (Method::POST, "/cancel")] {
        let foreign = by(
            "foreign",
            method.clone(),
            &format!("/orders/{order}{act}"),
            &scene.bob.token,
        );
        scene.refused(&foreign, 404, "not_found").await;
        for id in [
            "x",
            "oaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "OAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "..%2f",
            "%00",
            "o'%20OR%201=1",
        ] {
            let unknown = by(
                id,
                method.clone(),
                &format!("/orders/{id}{act}"),
                &scene.ada.token,
            );
            scene.refused(&unknown, 404, "not_found").await;
        }
    }
    let paid = by(
        "paid",
        Method::POST,
        &format!("/orders/{order}/cancel"),
        &scene.ada.token,
    );
    scene.refused(&paid, 409, "wrong_state").await;
    let long = "A".repeat(3_000);
    for path in ["/orders", "/drops"] {
        for query in [
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=ten",
            "limit=",
            "cursor=",
            "cursor=%21%21",
            "cursor=bm90IGEgY3Vyc29y",
            "cursor=%ff",
            "limit=1&limit=2",
        ] {
            let bad = by(query, Method::GET, &format!("{path}?{query}"), &scene.ada.token);
            scene.refused(&bad, 400, "invalid_request").await;
        }
        let bad = by(
            "long",
            Method::GET,
            &format!("{path}?cursor={long}"),
            &scene.ada.token,
        );
        scene.refused(&bad, 400, "invalid_request").await;
    }
    for drop in [
        "nowhere",
        DRAFT,
        "UPPER",
        "%2e%2e%2foperator",
        "%00",
        "%f0%9f%92%a9",
    ] {
        for path in [format!("/drops/{drop}"), format!("/drops/{drop}/status")] {
            scene
                .refused(&by(drop, Method::GET, &path, ""), 404, "not_found")
                .await;
        }
    }
}
