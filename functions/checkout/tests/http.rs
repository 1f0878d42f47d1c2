//! Tests the function's answers, on a store in memory.
#![cfg(test)]

use axum::Router;
use axum::body::Body;
use checkout::Api;
use domain::claim::{Claim, ClaimState};
use domain::ids::{CorrelationId, Nonce, ReservationId, ShardKey};
use domain::limits::{CACHE_MS, STALE_MS};
use domain::order::EndReason;
use domain::survey::SeenClaim;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use memory::{Fault, MemoryStore, Op, TestRuntime, fixtures};
use ports::drops::ReadDrop;
use ports::orders::AdvanceOrder;
use ports::runtime::Clock;
use ports::stock::{ClaimStock, GiveBackStock};
use serde_json::{Value, json};
use tokens::{Audience, KeySet, SigningKey, Verifier};
use tower::ServiceExt;

struct Scene {
    store: MemoryStore,
    runtime: TestRuntime,
    keys: SigningKey,
    router: Router,
}

fn scene(limit: u32) -> Scene {
    let (store, runtime, keys) = (
        MemoryStore::new(),
        TestRuntime::new(7),
        SigningKey::generate("a").unwrap(),
    );
    fixtures::open_drop(&store, &runtime, "d", &[("TEE", 60), ("CAP", 60)], limit);
    let shoppers = Verifier::new(Audience::Shopper, KeySet::of(&[&keys]).unwrap());
    let port = || store.clone();
    let router = Api::router(port(), port(), port(), shoppers, runtime.clone());
    Scene {
        store,
        runtime,
        keys,
        router,
    }
}

impl Scene {
    /// Stores a hold as `reserve` creates it, and returns the reservation's id.
    async fn hold(&self, who: &str, sku: &str, index: u16, units: u32) -> ReservationId {
        let (drop, shopper) = ("d".parse().unwrap(), fixtures::shopper(who));
        let nonce = Nonce::of_request(
            &drop,
            &fixtures::sku(sku),
            &shopper,
            &index.to_string(),
            TestRuntime::START,
        );
        let shard = ShardKey {
            drop,
            sku: fixtures::sku(sku),
            index,
        };
        let hold = Claim::held(
            units,
            self.runtime.now().plus_seconds(fixtures::HOLD_SECONDS),
            nonce.clone(),
        );
        assert!(self.store.claim(&shard, &shopper, &hold).await.unwrap().is_done());
        ReservationId { shard, nonce }
    }

    fn body(&self, reservation: &ReservationId, amount_minor: i64) -> Value {
        json!({
            "reservation_id": reservation.to_string(),
            "amount": {"amount_minor": amount_minor, "currency": "EUR"},
            "payment_method": "pm_card_visa",
            "shipping": {"name": "Ada", "line1": "1 Way", "postal_code": "10115", "city": "Berlin", "country": "DE",
                "email": "ada@example.org"}
        })
    }

    fn request(&self, who: &str, key: &str, body: &Value) -> Request<Body> {
        let now = self.runtime.now().as_seconds();
        let token = self.keys.sign(Audience::Shopper, who, now, now + 3600).unwrap();
        Request::post("/orders")
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap()
    }

    async fn send(&self, who: &str, key: &str, body: &Value) -> (u16, Value) {
        let response = self
            .router
            .clone()
            .oneshot(self.request(who, key, body))
            .await
            .unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (
            status.as_u16(),
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    async fn code(&self, who: &str, key: &str, body: &Value) -> (u16, String) {
        let (status, body) = self.send(who, key, body).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "current_thread")]
async fn a_hold_becomes_one_order_however_often_it_is_asked_for() {
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 2).await;
    let body = scene.body(&reservation, 9800);
    let first = scene.send("ada", "k", &body).await;
    assert_eq!(first.0, 202, "{}", first.1);
    assert_eq!(first.1["status"].as_str(), Some("placed"), "{}", first.1);
    assert_eq!(scene.send("ada", "k", &body).await, first);
    assert_eq!(
        scene.send("ada", "another key", &body).await.0,
        400,
        "a key is visible ASCII"
    );
    assert_eq!(
        scene.send("ada", "k2", &body).await,
        first,
        "the same purchase by another key is the same order"
    );
    assert_eq!(scene.store.orders().len(), 1);
    assert_eq!(scene.store.purchases().values().sum::<u32>(), 2);
    let claim = &scene.store.shard(&reservation.shard).unwrap().claims[&fixtures::shopper("ada")];
    assert_eq!(claim.state, ClaimState::Ordered);
    assert_eq!(scene.store.addresses().len(), 1);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_repeat_finds_its_order_also_after_the_end() {
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 1).await;
    let body = scene.body(&reservation, 4900);
    assert_eq!(scene.send("ada", "k", &body).await.0, 202);
    let order = scene.store.orders().into_values().next().unwrap();
    let step = order
        .undo(EndReason::PaymentDeclined, scene.runtime.now())
        .unwrap();
    assert!(scene.store.advance(&step).await.unwrap().is_done());
    let (status, view) = scene.send("ada", "k", &body).await;
    assert_eq!(status, 202);
    assert_eq!(view["status"].as_str(), Some("declined"));
    assert_eq!(view["reason"].as_str(), Some("payment_declined"));
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn an_order_keeps_the_correlation_id_of_the_request_that_placed_it() {
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 1).await;
    let body = scene.body(&reservation, 4900);
    for id in [Some("first="), Some("second="), None] {
        let mut request = scene.request("ada", "k", &body);
        if let Some(id) = id {
            let id: CorrelationId = id.parse().unwrap();
            request.extensions_mut().insert(id);
        }
        let answer = scene.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 202);
        let order = scene.store.orders().into_values().next().unwrap();
        assert_eq!(order.correlation.unwrap().as_str(), "first=");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_same_request_at_once_makes_one_order() {
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 1).await;
    let body = scene.body(&reservation, 4900);
    let answers = futures_util::future::join_all((0..32).map(|_| scene.send("ada", "k", &body))).await;
    assert!(
        answers
            .iter()
            .all(|a| a.0 == 202 && a.1["order_id"] == answers[0].1["order_id"]),
        "{answers:?}"
    );
    assert_eq!(scene.store.orders().len(), 1);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn contradictions_are_refused() {
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 1).await;
    let body = scene.body(&reservation, 4900);
    assert_eq!(scene.send("ada", "k", &body).await.0, 202);
    let mut other = body.clone();
    other["payment_method"] = "pm_other".into();
    assert_eq!(
        scene.code("ada", "k", &other).await,
        problem(422, "idempotency_mismatch")
    );
    assert_eq!(scene.code("ada", "k2", &other).await, problem(409, "wrong_state"));
    assert_eq!(scene.code("eve", "k", &body).await, problem(404, "not_found"));
    assert_eq!(scene.store.orders().len(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn the_limit_is_hard_over_all_skus() {
    let scene = scene(2);
    let tee = scene.hold("ada", "TEE", 0, 2).await;
    let cap = scene.hold("ada", "CAP", 0, 1).await;
    let (tee_body, cap_body) = (scene.body(&tee, 9800), scene.body(&cap, 4900));
    let (a, b) = tokio::join!(
        scene.send("ada", "a", &tee_body),
        scene.send("ada", "b", &cap_body)
    );
    let codes = [a.0, b.0];
    assert_eq!(codes.iter().filter(|c| **c == 202).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|c| **c == 409).count(), 1, "{codes:?}");
    assert!(scene.store.purchases().values().sum::<u32>() <= 2);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn an_expired_released_or_foreign_hold_is_refused() {
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 1).await;
    let body = scene.body(&reservation, 4900);
    assert_eq!(scene.code("eve", "k", &body).await, problem(404, "not_found"));
    scene.runtime.advance_seconds(fixtures::HOLD_SECONDS);
    assert_eq!(
        scene.code("ada", "k", &body).await,
        problem(409, "reservation_expired")
    );
    let ada = fixtures::shopper("ada");
    let claim = scene.store.shard(&reservation.shard).unwrap().claims[&ada].clone();
    let seen = SeenClaim {
        shard: reservation.shard.clone(),
        shopper: ada,
        claim,
    };
    assert!(scene.store.give_back(&seen).await.unwrap().is_done());
    assert_eq!(
        scene.code("ada", "k", &body).await,
        problem(409, "reservation_expired")
    );
    assert!(scene.store.orders().is_empty() && scene.store.purchases().values().sum::<u32>() == 0);
}

#[tokio::test(flavor = "current_thread")]
async fn checkout_races_expiry_and_one_of_them_wins() {
    for ms in [-5, -1, 0, 1, 2_000, 2_001] {
        let scene = scene(2);
        let reservation = scene.hold("ada", "TEE", 0, 1).await;
        let body = scene.body(&reservation, 4900);
        let ada = fixtures::shopper("ada");
        let claim = scene.store.shard(&reservation.shard).unwrap().claims[&ada].clone();
        scene.runtime.set(claim.deadline.plus_millis(ms));
        let seen = SeenClaim {
            shard: reservation.shard.clone(),
            shopper: ada,
            claim: claim.clone(),
        };
        let sweep = async {
            if claim.is_returnable(scene.runtime.now()) {
                scene.store.give_back(&seen).await.unwrap();
            }
        };
        let ((status, _), ()) = tokio::join!(scene.send("ada", "k", &body), sweep);
        assert_eq!(
            status,
            if ms < 0 { 202 } else { 409 },
            "{ms} ms after the deadline"
        );
        assert_eq!(scene.store.orders().len(), usize::from(ms < 0));
        scene.store.audit().unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_fault_of_every_port_leaves_one_order_or_none() {
    for op in [Op::Drop, Op::Survey, Op::Place] {
        for fault in [Fault::Busy, Fault::UnknownBefore, Fault::UnknownAfter] {
            let scene = scene(2);
            let reservation = scene.hold("ada", "TEE", 0, 1).await;
            let body = scene.body(&reservation, 4900);
            scene.store.fail_next(op, fault);
            assert_eq!(scene.send("ada", "k", &body).await.0, 202, "{op:?} {fault:?}");
            assert_eq!(scene.store.orders().len(), 1);
            scene.store.audit().unwrap();
        }
    }
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 1).await;
    let body = scene.body(&reservation, 4900);
    scene
        .store
        .set_plan(|op, _| (op == Op::Place).then_some(Fault::UnknownBefore));
    assert_eq!(scene.code("ada", "k", &body).await, problem(503, "throttled"));
    scene
        .store
        .set_plan(|op, _| (op == Op::Place).then_some(Fault::Broken));
    assert_eq!(scene.code("ada", "k", &body).await, problem(500, "internal"));
    scene.store.clear_plan();
    assert_eq!(
        scene.send("ada", "k", &body).await.0,
        202,
        "the same request again"
    );
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_cancelled_drop_takes_no_order() {
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 1).await;
    let drop = fixtures::open_drop(
        &MemoryStore::new(),
        &scene.runtime,
        "d",
        &[("TEE", 60), ("CAP", 60)],
        2,
    );
    scene.store.put_drop(&drop.cancel().unwrap());
    assert_eq!(
        scene.code("ada", "k", &scene.body(&reservation, 4900)).await,
        problem(409, "closed")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn bad_input_is_answered_and_changes_nothing() {
    let scene = scene(2);
    let reservation = scene.hold("ada", "TEE", 0, 1).await;
    let good = scene.body(&reservation, 4900);
    let change = |path: &[&str], value: Value| {
        let mut body = good.clone();
        let mut at = &mut body;
        for part in path {
            at = &mut at[*part];
        }
        *at = value;
        body
    };
    for (body, status, code) in [
        (
            change(&["amount", "amount_minor"], json!(4899)),
            400,
            "invalid_request",
        ),
        (
            change(&["amount", "amount_minor"], json!(0)),
            400,
            "invalid_request",
        ),
        (
            change(&["amount", "amount_minor"], json!(49.0)),
            400,
            "invalid_request",
        ),
        (
            change(&["amount", "currency"], json!("USD")),
            400,
            "invalid_request",
        ),
        (
            change(&["amount", "currency"], json!("euros")),
            400,
            "invalid_request",
        ),
        (change(&["payment_method"], json!("")), 400, "invalid_request"),
        (
            change(&["payment_method"], json!("4242 4242 4242 4242")),
            400,
            "invalid_request",
        ),
        (
            change(&["shipping", "email"], json!("ada")),
            400,
            "invalid_request",
        ),
        (
            change(&["shipping", "country"], json!("Germany")),
            400,
            "invalid_request",
        ),
        (
            change(&["shipping", "line1"], json!("x".repeat(201))),
            400,
            "invalid_request",
        ),
        (change(&["shipping"], Value::Null), 400, "invalid_request"),
        (change(&["coupon"], json!("FREE")), 400, "invalid_request"),
        (
            change(&["reservation_id"], json!("nonsense")),
            400,
            "invalid_request",
        ),
        (
            change(&["reservation_id"], json!("d.TEE.0.abcdefghij")),
            409,
            "reservation_expired",
        ),
        (
            change(&["reservation_id"], json!("d.TEE.77.abcdefghij")),
            404,
            "not_found",
        ),
        (
            change(&["reservation_id"], json!("no.TEE.0.abcdefghij")),
            404,
            "not_found",
        ),
        (
            change(&["reservation_id"], json!("d.NO.0.abcdefghij")),
            404,
            "not_found",
        ),
        (json!([]), 400, "invalid_request"),
    ] {
        assert_eq!(
            scene.code("ada", "k", &body).await,
            problem(status, code),
            "{body}"
        );
    }
    let mut unsigned = scene.request("ada", "k", &good);
    unsigned.headers_mut().remove("authorization");
    let response = scene.router.clone().oneshot(unsigned).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(scene.store.orders().is_empty() && scene.store.addresses().is_empty());
    assert_eq!(scene.store.calls(Op::Place), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn the_deployer_checks_out_in_unlisted_drops_only() {
    let scene = scene(2);
    let deployer = SigningKey::generate("deployer").unwrap();
    let set = |key: &SigningKey| KeySet::of(&[key]).unwrap();
    let tokens = Verifier::new(Audience::Shopper, set(&scene.keys))
        .with_deployers(set(&deployer))
        .unwrap();
    let port = || scene.store.clone();
    let router = Api::router(port(), port(), port(), tokens, scene.runtime.clone());
    let hold = scene.hold("smoke-1", "TEE", 0, 1).await;
    let now = scene.runtime.now().as_seconds();
    let place = |key: &SigningKey, sub| {
        let token = key.sign(Audience::Shopper, sub, now, now + 300).unwrap();
        let mut request = scene.request("-", "k", &scene.body(&hold, 4900));
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        router.clone().oneshot(request)
    };
    let refused = place(&deployer, "smoke-1").await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "forbidden");
    let impostor = place(&scene.keys, "smoke-1").await.unwrap();
    assert_eq!(impostor.status(), StatusCode::UNAUTHORIZED);
    assert!(scene.store.orders().is_empty());

    let drop = fixtures::open_drop(&scene.store, &scene.runtime, "d", &[("TEE", 60), ("CAP", 60)], 2);
    scene.store.put_drop(&domain::drops::Drop {
        listed: false,
        ..drop
    });
    scene.runtime.advance(1_000);
    let placed = place(&deployer, "smoke-1").await.unwrap();
    assert_eq!(placed.status(), StatusCode::ACCEPTED);
    assert_eq!(scene.store.orders().len(), 1);
}

/// While the drop cannot be read, a checkout uses the process's copy of the drop, and does not report the
/// drop as cancelled.
#[tokio::test(flavor = "current_thread")]
async fn a_stale_copy_is_enough_for_a_checkout() {
    let scene = scene(2);
    let first = scene.hold("ada", "TEE", 0, 1).await;
    assert_eq!(scene.send("ada", "k", &scene.body(&first, 4900)).await.0, 202);
    scene
        .store
        .set_plan(|op, _| (op == Op::Drop).then_some(Fault::Busy));
    scene.runtime.advance(CACHE_MS);
    let second = scene.hold("bob", "TEE", 1, 1).await;
    assert_eq!(scene.send("bob", "k", &scene.body(&second, 4900)).await.0, 202);
    scene.runtime.advance(STALE_MS);
    let third = scene.hold("eve", "TEE", 2, 1).await;
    let body = scene.body(&third, 4900);
    assert_eq!(scene.code("eve", "k", &body).await, problem(503, "throttled"));
    scene.store.clear_plan();
    let drop = scene.store.drop(&"d".parse().unwrap()).await.unwrap().unwrap();
    scene.store.put_drop(&drop.cancel().unwrap());
    assert_eq!(scene.code("eve", "k", &body).await, problem(409, "closed"));
    scene
        .store
        .set_plan(|op, _| (op == Op::Drop).then_some(Fault::Busy));
    scene.runtime.advance(CACHE_MS);
    assert_eq!(scene.code("eve", "k", &body).await, problem(503, "throttled"));
    scene.store.audit().unwrap();
}
