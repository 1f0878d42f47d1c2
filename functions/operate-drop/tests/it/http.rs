//! Tests the requests of operators and their answers.

use crate::support::{Scene, body, moment};
use axum::body::Body;
use domain::drops::DropState;
use http::{Request, StatusCode};
use memory::TestRuntime;
use ports::drops::{ListDrops as _, Listing};
use serde_json::{Value, json};
use tokens::{Audience, SigningKey};

#[tokio::test(flavor = "current_thread")]
async fn a_drop_from_draft_to_cancellation_each_act_twice() {
    let scene = Scene::new();
    let (status, created) = scene.put(&body()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(&created["state"], &json!("draft"));
    assert_eq!(
        scene.put(&body()).await,
        (StatusCode::OK, created),
        "the same contents"
    );

    let mut other = body();
    other["title"] = json!("Late autumn");
    let (status, edited) = scene.put(&other).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(&edited["version"], &json!(2));
    assert_eq!(scene.store.published(Listing::Listed, 10).await.unwrap(), vec![]);

    let published = scene.post("publish").await;
    assert_eq!(published.0, StatusCode::OK);
    assert_eq!(&published.1["state"], &json!("scheduled"));
    assert_eq!(published.1["skus"][0]["shards"], 3);
    assert_eq!(scene.post("publish").await, published);
    assert_eq!(scene.store.shards().len(), 4);
    assert_eq!(scene.store.published(Listing::Listed, 10).await.unwrap().len(), 1);
    assert_eq!(
        scene.put(&other).await.0,
        StatusCode::OK,
        "the same contents after publishing"
    );

    for (act, paused) in [("pause", true), ("resume", false)] {
        let done = scene.post(act).await;
        assert_eq!(done.0, StatusCode::OK);
        assert_eq!(&done.1["paused"], &json!(paused));
        assert_eq!(scene.post(act).await, done);
    }
    let extended = scene.extend(300).await;
    assert_eq!(extended.0, StatusCode::OK);
    assert_eq!(extended.1["ends_at"].as_str(), Some(moment(300).as_str()));
    assert_eq!(scene.extend(300).await, extended);

    let restocked = scene.restock("one", "TEE-L", 25).await;
    assert_eq!(restocked.0, StatusCode::OK);
    assert_eq!(&restocked.1["skus"][1]["units"], &json!(30));
    assert_eq!(scene.restock("one", "TEE-L", 25).await, restocked);
    assert_eq!(scene.restock("two", "TEE-L", 1).await.1["skus"][1]["units"], 31);
    assert_eq!(
        scene.store.shards().values().map(|s| s.allocated).sum::<u32>(),
        101
    );

    let cancelled = scene.post("cancel").await;
    assert_eq!(cancelled.0, StatusCode::OK);
    assert_eq!(&cancelled.1["state"], &json!("cancelling"));
    assert_eq!(scene.post("cancel").await, cancelled);
    let shown = scene.send(scene.request("GET", "d", None, None)).await;
    assert_eq!(shown, cancelled);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn what_nobody_has_seen_is_cancelled_at_once() {
    let scene = Scene::new();
    scene.put(&body()).await;
    let drop = scene.drop().await.unwrap();
    let publishing = drop.start_publishing(TestRuntime::START).unwrap();
    scene.store.put_drop(&publishing);
    assert_eq!(scene.post("cancel").await.1["state"], "cancelled");
    let (status, problem) = scene.post("publish").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["code"].as_str(), Some("wrong_state"));
}

#[tokio::test(flavor = "current_thread")]
async fn all_mistakes_are_answered_at_once_and_change_nothing() {
    let scene = Scene::new();
    let mut bad = body();
    bad["title"] = json!("");
    bad["ends_at"] = bad["starts_at"].clone();
    bad["hold_seconds"] = json!(0);
    bad["per_shopper_limit"] = json!(4_000_000_000u32);
    bad["expected_shoppers"] = json!(0);
    bad["skus"][1]["sku"] = json!("TEE-M");
    bad["skus"][1]["price_minor"] = json!(-1);
    bad["skus"][1]["units"] = json!(4_000_000_000u32);
    let (status, problem) = scene.put(&bad).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["code"].as_str(), Some("invalid_request"));
    let fields: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "title",
            "ends_at",
            "hold_seconds",
            "per_shopper_limit",
            "expected_shoppers",
            "skus[1].sku",
            "skus[1].price_minor",
            "skus[1].units"
        ]
    );
    assert_eq!(scene.drop().await, None);
}

#[tokio::test(flavor = "current_thread")]
async fn each_bad_body_of_a_draft_gets_its_problem() {
    let scene = Scene::new();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = body();
        change(&mut value);
        value.to_string()
    };
    let many: Vec<Value> = (0..41)
        .map(|n| json!({"sku": format!("S{n}"), "title": "T", "price_minor": 50, "units": 1}))
        .collect();
    for (text, field) in [
        ("".to_owned(), "body"),
        ("{".to_owned(), "body"),
        ("[]".to_owned(), "body"),
        ("null".to_owned(), "body"),
        (format!("{}1{}", "[".repeat(3000), "]".repeat(3000)), "body"),
        (with(&|v| v["colour"] = json!("red")), "colour"),
        (with(&|v| v["currency"] = json!("eur")), "currency"),
        (with(&|v| v["currency"] = json!("ZZZ")), "currency"),
        (
            with(&|v| v["skus"][0]["price_minor"] = json!(1)),
            "skus[0].price_minor",
        ),
        (with(&|v| v["starts_at"] = json!("soon")), "starts_at"),
        (with(&|v| v["ends_at"] = json!("9999-01-01T00:00:00Z")), "ends_at"),
        (with(&|v| v["hold_seconds"] = json!(-1)), "hold_seconds"),
        (with(&|v| v["payment_seconds"] = json!(1e30)), "payment_seconds"),
        (with(&|v| v["skus"] = json!([])), "skus"),
        (with(&|v| v["skus"] = json!(many)), "skus"),
        (with(&|v| v["skus"][0]["sku"] = json!("a b")), "skus[0].sku"),
        (with(&|v| v["skus"][0]["units"] = json!(0)), "skus[0].units"),
        (with(&|v| v["skus"][0]["units"] = json!("many")), "skus[0].units"),
    ] {
        let request = Request::builder()
            .method("PUT")
            .uri("/operator/drops/d")
            .header("authorization", format!("Bearer {}", scene.token()))
            .header("content-type", "application/json")
            .body(Body::from(text.clone()))
            .unwrap();
        let (status, problem) = scene.send(request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text:.60}");
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{text:.60}: {problem}");
        assert_eq!(errors[0]["field"], field, "{text:.60}: {problem}");
    }
    for id in ["A", "a_b", "a.b", "123456789012345678901", "%FF", "%20"] {
        let (status, problem) = scene.send(scene.request("PUT", id, None, Some(&body()))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{id}");
        assert_eq!(&problem["errors"][0]["field"], &json!("drop_id"), "{id}");
    }
    let plain = Request::builder()
        .method("PUT")
        .uri("/operator/drops/d")
        .header("authorization", format!("Bearer {}", scene.token()))
        .body(Body::from(body().to_string()))
        .unwrap();
    assert_eq!(scene.send(plain).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut long = body();
    long["title"] = json!("x".repeat(20_000));
    assert_eq!(scene.put(&long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(scene.drop().await, None);
}

#[tokio::test(flavor = "current_thread")]
async fn only_operators_may() {
    let scene = Scene::new().published().await;
    let before = scene.all().await;
    let now = TestRuntime::START.as_seconds();
    let sign = |keys: &SigningKey, audience, from, until| keys.sign(audience, "eve", from, until).unwrap();
    let other = SigningKey::generate("a").unwrap();
    let good = scene.token();
    for token in [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer x.y.z".to_owned()),
        Some(format!("Basic {good}")),
        Some(format!(
            "Bearer {}",
            sign(&scene.keys, Audience::Shopper, now, now + 60)
        )),
        Some(format!(
            "Bearer {}",
            sign(&other, Audience::Operator, now, now + 60)
        )),
        Some(format!(
            "Bearer {}",
            sign(&scene.keys, Audience::Operator, now - 120, now - 60)
        )),
        Some(format!(
            "Bearer {}",
            sign(&scene.keys, Audience::Operator, now + 61, now + 120)
        )),
    ] {
        for (method, path) in [
            ("PUT", "d"),
            ("GET", "d"),
            ("POST", "d/publish"),
            ("POST", "d/pause"),
            ("POST", "d/resume"),
            ("POST", "d/extend"),
            ("POST", "d/restock"),
            ("POST", "d/cancel"),
        ] {
            let mut request = scene.request(method, path, Some("k"), Some(&json!({})));
            request.headers_mut().remove("authorization");
            if let Some(token) = &token {
                request
                    .headers_mut()
                    .insert("authorization", token.parse().unwrap());
            }
            let (status, problem) = scene.send(request).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} {token:?}");
            assert_eq!(
                problem["code"].as_str(),
                Some("unauthenticated"),
                "{method} {path} {token:?}"
            );
        }
    }
    assert_eq!(scene.all().await, before);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_not_there_is_not_found() {
    let scene = Scene::new();
    for id in ["nothing", "A", "a.b", "%FF"] {
        for (act, body) in [
            ("publish", None),
            ("pause", None),
            ("resume", None),
            ("cancel", None),
            ("extend", Some(json!({"ends_at": moment(300)}))),
            ("restock", Some(json!({"sku": "A", "units": 1}))),
        ] {
            let request = scene.request("POST", &format!("{id}/{act}"), Some("k"), body.as_ref());
            let (status, problem) = scene.send(request).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{id} {act}");
            assert_eq!(problem["code"].as_str(), Some("not_found"), "{id} {act}");
        }
        assert_eq!(
            scene.send(scene.request("GET", id, None, None)).await.0,
            StatusCode::NOT_FOUND
        );
    }
    let (status, problem) = scene.send(scene.request("DELETE", "d", None, None)).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(problem["code"].as_str(), Some("method_not_allowed"));
}

#[tokio::test(flavor = "current_thread")]
async fn acts_that_do_not_fit_change_nothing() {
    let scene = Scene::new();
    scene.put(&body()).await;
    for act in ["pause", "resume"] {
        let (status, problem) = scene.post(act).await;
        assert_eq!(status, StatusCode::CONFLICT, "{act}");
        assert_eq!(problem["code"].as_str(), Some("wrong_state"), "{act}");
    }
    assert_eq!(scene.extend(300).await.0, StatusCode::CONFLICT);
    assert_eq!(scene.restock("k", "TEE-M", 1).await.0, StatusCode::CONFLICT);
    assert_eq!(scene.drop().await.unwrap().version, 1);

    scene.post("publish").await;
    scene.restock("used", "TEE-M", 3).await;
    let before = scene.all().await;
    let mut other = body();
    other["skus"][0]["units"] = json!(71);
    let (status, problem) = scene.put(&other).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["code"].as_str(), Some("wrong_state"));
    for (answer, status, code) in [
        (
            scene.extend(199).await,
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            scene.restock("k", "TEE-M", 0).await,
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            scene.restock("k", "TEE-M", -1).await,
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            scene.restock("k", "TEE-M", 4_000_000_000).await,
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            scene.restock("k", "a b", 1).await,
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            scene.restock("k", "HAT", 1).await,
            StatusCode::NOT_FOUND,
            "not_found",
        ),
        (
            scene.restock("a b", "TEE-M", 1).await,
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            scene.restock(&"x".repeat(65), "TEE-M", 1).await,
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            scene.restock("used", "TEE-M", 4).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_mismatch",
        ),
        (
            scene.restock("used", "TEE-L", 3).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_mismatch",
        ),
    ] {
        assert_eq!(answer.0, status, "{}", answer.1);
        assert_eq!(answer.1["code"].as_str(), Some(code), "{}", answer.1);
    }
    let keyless = scene.request(
        "POST",
        "d/restock",
        None,
        Some(&json!({"sku": "TEE-M", "units": 1})),
    );
    assert_eq!(scene.send(keyless).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(scene.all().await, before);

    scene.runtime.advance_seconds(200);
    for (answer, done) in [
        (scene.extend(900).await, false),
        (scene.restock("late", "TEE-M", 1).await, false),
        (scene.restock("used", "TEE-M", 3).await, true),
        (scene.extend(200).await, true),
    ] {
        assert_eq!(answer.0 == StatusCode::OK, done, "{}", answer.1);
    }
    assert_eq!(scene.all().await, before);
}

#[tokio::test(flavor = "current_thread")]
async fn a_draft_whose_end_has_passed_is_not_published() {
    let scene = Scene::new();
    scene.put(&body()).await;
    scene.runtime.advance_seconds(200);
    let (status, problem) = scene.post("publish").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["code"].as_str(), Some("wrong_state"));
    assert_eq!(scene.drop().await.unwrap().state, DropState::Draft);
    assert!(scene.store.shards().is_empty());
}
