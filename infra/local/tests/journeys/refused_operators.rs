//! Tests bad input of operators, action by action.

use http::Method;
use serde_json::{Value, json};

use super::people::Plan;
use super::scene::{CANCELLED, DRAFT, DROP, Scene};
use super::world::moment;

pub(crate) async fn acts(scene: &Scene) {
    let by = &scene.world.file.operator_token;
    let act = |what: &str, drop: &str, act: &str, body: Value| {
        let method = if act.is_empty() { Method::PUT } else { Method::POST };
        scene.json(what, method, &format!("/operator/drops/{drop}{act}"), by, body)
    };
    let extension = json!({"ends_at": moment(900_000)});
    let more = json!({"sku": "A", "units": 1});
    for drop in ["nowhere", "UPPER", "..%2f", "%00", "aaaaaaaaaaaaaaaaaaaaaaaaa"] {
        for (name, body) in [
            ("/publish", Value::Null),
            ("/pause", Value::Null),
            ("/resume", Value::Null),
            ("/cancel", Value::Null),
            ("/extend", extension.clone()),
            ("/restock", more.clone()),
        ] {
            scene
                .refused(&act("unknown drop", drop, name, body), 404, "not_found")
                .await;
        }
    }
    for (name, body) in [
        ("/pause", Value::Null),
        ("/resume", Value::Null),
        ("/extend", extension),
        ("/restock", more),
    ] {
        scene
            .refused(&act("a draft", DRAFT, name, body), 409, "wrong_state")
            .await;
    }
    scene
        .refused(
            &act("called off", CANCELLED, "/publish", Value::Null),
            409,
            "wrong_state",
        )
        .await;
    for ends_at in [
        json!(moment(1_000)),
        json!("tomorrow"),
        json!(0),
        json!("9999-01-01T00:00:00Z"),
        json!("2026-02-30T00:00:00Z"),
    ] {
        let bad = act(
            &format!("extend to {ends_at}"),
            DROP,
            "/extend",
            json!({"ends_at": ends_at}),
        );
        scene.refused(&bad, 400, "invalid_request").await;
    }
    for units in [
        json!(0),
        json!(-1),
        json!(u32::MAX),
        json!(1.5),
        json!("1"),
        json!(u64::MAX),
    ] {
        let bad = act(
            &format!("restock {units}"),
            DROP,
            "/restock",
            json!({"sku": "A", "units": units}),
        );
        scene.refused(&bad, 400, "invalid_request").await;
    }
    let unknown = act("unknown SKU", DROP, "/restock", json!({"sku": "Z", "units": 1}));
    scene.refused(&unknown, 404, "not_found").await;

    let plan = Plan::new(DROP, &[("A", 1)]);
    scene
        .refused(&act("published", DROP, "", plan.body()), 409, "wrong_state")
        .await;
    for id in ["UPPER", "a%20b", "aaaaaaaaaaaaaaaaaaaaaaaaa", "..%2f", "%00"] {
        scene
            .refused(&act("bad id", id, "", plan.body()), 400, "invalid_request")
            .await;
    }
    let mistakes = [
        ("/title", json!("")),
        ("/title", json!("t".repeat(121))),
        ("/currency", json!("EURO")),
        ("/starts_at", json!("soon")),
        ("/ends_at", json!(moment(-60_000))),
        ("/hold_seconds", json!(14)),
        ("/hold_seconds", json!(-1)),
        ("/payment_seconds", json!(0)),
        ("/per_shopper_limit", json!(0)),
        ("/per_shopper_limit", json!(13)),
        ("/skus", json!([])),
        ("/skus/0/units", json!(0)),
        ("/skus/0/units", json!(u32::MAX)),
        ("/skus/0/price_minor", json!(0)),
        ("/skus/0/price_minor", json!(-1)),
        ("/skus/0/sku", json!("A#0")),
        (
            "/skus",
            json!(vec![
                json!({"sku": "A", "title": "A", "price_minor": 1, "units": 1});
                2
            ]),
        ),
    ];
    for (pointer, value) in mistakes {
        let mut body = plan.body();
        *body.pointer_mut(pointer).unwrap() = value.clone();
        let bad = act(&format!("{pointer} {value:.40}"), "refusals-new", "", body);
        scene.refused(&bad, 400, "invalid_request").await;
    }
    let mut worse = plan.body();
    (worse["title"], worse["hold_seconds"], worse["skus"][0]["units"]) = ("".into(), 1.into(), 0.into());
    let reply = scene
        .refused(
            &act("three mistakes", "refusals-new", "", worse),
            400,
            "invalid_request",
        )
        .await;
    assert_eq!(
        reply.json["errors"].as_array().unwrap().len(),
        3,
        "{}",
        reply.json
    );
}
