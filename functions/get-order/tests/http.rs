//! Tests the answers of all routes, on a store in memory.
#![cfg(test)]

use axum::Router;
use axum::body::Body;
use domain::claim::Claim;
use domain::ids::{Nonce, ReservationId, ShardKey};
use domain::money::Money;
use domain::order::{DeclineReason, Fingerprint, Order, OrderStatus, Placement};
use domain::saga::Terms;
use get_order::Api;
use http::Request;
use http_body_util::BodyExt;
use memory::{Fault, MemoryStore, Op, TestRuntime, fixtures};
use ports::orders::{AdvanceOrder, PlaceOrder, Placing};
use ports::runtime::Clock;
use ports::stock::ClaimStock;
use serde_json::Value;
use tokens::{Audience, KeySet, SigningKey, Verifier};
use tower::ServiceExt;

struct Scene {
    store: MemoryStore,
    runtime: TestRuntime,
    keys: SigningKey,
    router: Router,
}

fn scene() -> Scene {
    let (store, runtime, keys) = (
        MemoryStore::new(),
        TestRuntime::new(7),
        SigningKey::generate("a").unwrap(),
    );
    fixtures::open_drop(&store, &runtime, "d", &[("TEE", 600)], 12);
    let shoppers = Verifier::new(Audience::Shopper, KeySet::of(&[&keys]).unwrap());
    let router = Api::router(store.clone(), shoppers, runtime.clone());
    Scene {
        store,
        runtime,
        keys,
        router,
    }
}

impl Scene {
    async fn order(&self, who: &str, index: u16) -> Order {
        let (drop, shopper) = ("d".parse().unwrap(), fixtures::shopper(who));
        let nonce = Nonce::of_request(
            &drop,
            &fixtures::sku("TEE"),
            &shopper,
            &index.to_string(),
            TestRuntime::START,
        );
        let shard = ShardKey {
            drop,
            sku: fixtures::sku("TEE"),
            index,
        };
        let now = self.runtime.now();
        let first = self.store.orders().values().all(|order| order.shopper != shopper);
        let terms = Terms {
            cards: Terms::cards_of(first, 0),
            ..contracts::fixtures::TERMS
        };
        let hold = Claim::held(1, now.plus_seconds(30), nonce.clone());
        assert!(self.store.claim(&shard, &shopper, &hold).await.unwrap().is_done());
        let order = Order::place(
            Placement {
                reservation: ReservationId { shard, nonce },
                shopper,
                claim: hold.ordered(now, now.plus_seconds(60)).unwrap(),
                amount: Money {
                    amount_minor: 4900,
                    currency: "EUR".parse().unwrap(),
                },
                payment_method: "pm_card_visa".into(),
                fingerprint: Fingerprint::of_request(b"k", b"c"),
                terms,
            },
            now,
        );
        let placing = Placing {
            order: order.clone(),
            hold,
            per_shopper_limit: 12,
            address: "{}".into(),
        };
        assert!(self.store.place(&placing).await.unwrap().is_done());
        order
    }

    async fn send(&self, method: &str, who: &str, path: &str) -> (u16, Value) {
        let now = self.runtime.now().as_seconds();
        let token = self.keys.sign(Audience::Shopper, who, now, now + 3600).unwrap();
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (
            status.as_u16(),
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }
}

#[tokio::test(flavor = "current_thread")]
async fn orders_are_shown_to_their_shopper_only() {
    let scene = scene();
    let order = scene.order("ada", 0).await;
    let path = format!("/orders/{}", order.id);
    let (status, view) = scene.send("GET", "ada", &path).await;
    assert_eq!(status, 200);
    assert_eq!(view["order_id"].as_str(), Some(order.id.as_str()));
    assert_eq!(view["status"].as_str(), Some("placed"));
    assert!(!view.to_string().contains("pm_card_visa") && !view.to_string().contains("k:c"));
    assert_eq!(scene.send("GET", "eve", &path).await.0, 404);
    assert_eq!(scene.send("POST", "eve", &format!("{path}/cancel")).await.0, 404);
    assert_eq!(scene.send("GET", "ada", "/orders/nonsense").await.0, 404);
    assert_eq!(
        scene.send("PUT", "ada", &path).await.1["code"],
        "method_not_allowed"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_list_is_walked_page_by_page_without_gap_or_repeat() {
    let scene = scene();
    let mut expected = Vec::new();
    for index in 0..5 {
        expected.insert(0, scene.order("ada", index).await.id.to_string());
        scene.runtime.advance(10);
    }
    scene.order("bob", 0).await;
    let (mut found, mut path) = (Vec::new(), "/orders?limit=2".to_owned());
    loop {
        let (status, page) = scene.send("GET", "ada", &path).await;
        assert_eq!(status, 200, "{page}");
        let ids = page["orders"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["order_id"].as_str().unwrap().to_owned());
        found.extend(ids);
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/orders?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(found, expected);
    assert_eq!(scene.send("GET", "ada", "/orders?limit=0").await.0, 400);
    assert_eq!(scene.send("GET", "ada", "/orders?cursor=%25").await.0, 400);
}

#[tokio::test(flavor = "current_thread")]
async fn before_a_payment_exists_cancelling_undoes_at_once() {
    let scene = scene();
    let order = scene.order("ada", 0).await;
    let path = format!("/orders/{}/cancel", order.id);
    for _ in 0..2 {
        let (status, view) = scene.send("POST", "ada", &path).await;
        assert_eq!(status, 200);
        assert_eq!(view["status"].as_str(), Some("cancelled"));
        assert_eq!(view["reason"].as_str(), Some("by_shopper"));
    }
    assert_eq!(scene.store.purchases().values().sum::<u32>(), 0);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn with_a_payment_the_wish_is_noted_once() {
    let scene = scene();
    let order = scene.order("ada", 0).await;
    let step = order
        .with_payment("pi_1".parse().unwrap(), scene.runtime.now())
        .unwrap();
    assert!(scene.store.advance(&step).await.unwrap().is_done());
    let path = format!("/orders/{}/cancel", order.id);
    let answers = futures_util::future::join_all((0..8).map(|_| scene.send("POST", "ada", &path))).await;
    assert!(
        answers
            .iter()
            .all(|(status, v)| *status == 202 && v["cancel_requested"] == true),
        "{answers:?}"
    );
    assert_eq!(
        scene.store.orders()[&order.id].version,
        3,
        "one change for the payment, one for the wish"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn cancel_races_capture_and_one_of_them_wins() {
    for turns in 0..6 {
        let scene = scene();
        let order = scene.order("ada", 0).await;
        let path = format!("/orders/{}/cancel", order.id);
        let settle = async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let step = order.settle(scene.runtime.now()).unwrap();
            scene.store.advance(&step).await.unwrap().is_done()
        };
        let ((status, view), settled) = tokio::join!(scene.send("POST", "ada", &path), settle);
        let found = scene.store.orders()[&order.id].status;
        if settled {
            assert_eq!(found, OrderStatus::Paid);
            assert_eq!(status, 409);
            assert_eq!(view["code"].as_str(), Some("wrong_state"));
        } else {
            assert_eq!(found, OrderStatus::Cancelled);
            assert_eq!(status, 200);
        }
        scene.store.audit().unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_fault_of_every_port_cancels_once() {
    for op in [Op::Order, Op::Advance] {
        for fault in [Fault::Busy, Fault::UnknownBefore, Fault::UnknownAfter] {
            let scene = scene();
            let order = scene.order("ada", 0).await;
            scene.store.fail_next(op, fault);
            let (status, view) = scene
                .send("POST", "ada", &format!("/orders/{}/cancel", order.id))
                .await;
            assert_eq!(status, 200, "{op:?} {fault:?}");
            assert_eq!(view["status"].as_str(), Some("cancelled"), "{op:?} {fault:?}");
            scene.store.audit().unwrap();
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_deployer_sees_its_own_orders_only() {
    let scene = scene();
    let deployer = SigningKey::generate("deployer").unwrap();
    let set = |key: &SigningKey| KeySet::of(&[key]).unwrap();
    let tokens = Verifier::new(Audience::Shopper, set(&scene.keys))
        .with_deployers(set(&deployer))
        .unwrap();
    let router = Api::router(scene.store.clone(), tokens, scene.runtime.clone());
    let (adas, own) = (scene.order("ada", 0).await, scene.order("smoke-1", 1).await);
    let now = scene.runtime.now().as_seconds();
    let get = |sub: &'static str, path: String| {
        let token = deployer.sign(Audience::Shopper, sub, now, now + 300).unwrap();
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        let answer = router.clone().oneshot(request.body(Body::empty()).unwrap());
        async move {
            let response = answer.await.unwrap();
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            (status, serde_json::from_slice::<Value>(&bytes).unwrap())
        }
    };
    let (_, list) = get("smoke-1", "/orders".to_owned()).await;
    assert_eq!(list["orders"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["orders"][0]["order_id"], own.id.as_str());
    assert_eq!(get("smoke-1", format!("/orders/{}", own.id)).await.0, 200);
    assert_eq!(get("smoke-1", format!("/orders/{}", adas.id)).await.0, 404);
    for path in ["/orders".to_owned(), format!("/orders/{}", adas.id)] {
        let (status, problem) = get("ada", path).await;
        assert_eq!(status, 401);
        assert_eq!(problem["code"].as_str(), Some("unauthenticated"));
    }
}

/// Places an order and stores that its first card was declined.
async fn declined(scene: &Scene) -> Order {
    let order = scene.order("ada", 0).await;
    let now = scene.runtime.now();
    let paying = order.with_payment("pi_1".parse().unwrap(), now).unwrap();
    let failed = paying
        .order
        .declined(DeclineReason::InsufficientFunds, None, now)
        .unwrap();
    for step in [paying, failed.clone()] {
        assert!(scene.store.advance(&step).await.unwrap().is_done());
    }
    failed.order
}

impl Scene {
    async fn pay(&self, who: &str, order: &Order, card: &str, key: &str) -> (u16, Value) {
        let now = self.runtime.now().as_seconds();
        let token = self.keys.sign(Audience::Shopper, who, now, now + 3600).unwrap();
        let request = Request::post(format!("/orders/{}/payments", order.id))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Body::from(format!(r#"{{"payment_method": "{card}"}}"#)))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn after_a_decline_another_card_is_taken_once() {
    let scene = scene();
    let order = declined(&scene).await;
    let (_, shown) = scene.send("GET", "ada", &format!("/orders/{}", order.id)).await;
    assert_eq!(shown["payment_failure"]["reason"], "insufficient_funds");
    assert_eq!(shown["payment_failure"]["cards_left"], 2);
    assert_eq!(shown["payment_failure"]["deadline"], shown["payment_deadline"]);
    let again: Vec<(u16, Value)> =
        futures_util::future::join_all((0..4).map(|_| scene.pay("ada", &order, "pm_2", "k"))).await;
    for (status, view) in &again {
        assert_eq!(*status, 202, "{view}");
        assert_eq!(view["status"], "paying", "{view}");
        assert!(!view.to_string().contains("pm_2"));
    }
    let stored = &scene.store.orders()[&order.id];
    assert_eq!(stored.tries.len(), 2);
    assert_eq!(stored.version, 4);
    // A repeat with the same key is answered 202 in any status of the order, here when the order is paid.
    let paid = stored.settle(scene.runtime.now()).unwrap();
    assert!(scene.store.advance(&paid).await.unwrap().is_done());
    let (status, view) = scene.pay("ada", &order, "pm_2", "k").await;
    assert_eq!(status, 202);
    assert_eq!(view["status"], "paid");
    for (who, card, key, expected, code) in [
        ("ada", "pm_3", "k", 422, "idempotency_mismatch"),
        ("ada", "pm_3", "l", 409, "wrong_state"),
        ("eve", "pm_2", "k", 404, "not_found"),
        ("ada", "4242 4242", "m", 400, "invalid_request"),
    ] {
        let (status, problem) = scene.pay(who, &order, card, key).await;
        assert_eq!(status, expected, "{card}");
        assert_eq!(problem["code"], code, "{card}");
    }
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_card_that_comes_too_late_or_after_a_wish_to_cancel_is_refused() {
    for cancels in [true, false] {
        let scene = scene();
        let order = declined(&scene).await;
        if cancels {
            let path = format!("/orders/{}/cancel", order.id);
            assert_eq!(scene.send("POST", "ada", &path).await.0, 202);
        } else {
            scene.runtime.advance_seconds(60);
        }
        let (status, problem) = scene.pay("ada", &order, "pm_2", "k").await;
        assert_eq!(status, 409);
        assert_eq!(problem["code"], "wrong_state");
        assert_eq!(scene.store.orders()[&order.id].tries.len(), 1);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_fault_of_every_port_takes_a_card_once() {
    for op in [Op::Order, Op::Advance] {
        for fault in [Fault::Busy, Fault::UnknownBefore, Fault::UnknownAfter] {
            let scene = scene();
            let order = declined(&scene).await;
            scene.store.fail_next(op, fault);
            let (status, view) = scene.pay("ada", &order, "pm_2", "k").await;
            assert_eq!(status, 202, "{op:?} {fault:?}");
            assert_eq!(view["status"], "paying", "{op:?} {fault:?}");
            assert_eq!(scene.store.orders()[&order.id].tries.len(), 2);
        }
    }
}
