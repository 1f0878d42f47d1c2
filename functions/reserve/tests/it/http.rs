//! Tests the answers of all routes, on a store in memory.

use axum::Router;
use axum::body::Body;
use domain::claim::{Claim, ClaimState};
use domain::crowd::StockTable;
use domain::drops::{Drop, DropState};
use domain::ids::{OrderId, ReservationId, ShopperId};
use domain::limits::{CACHE_MS, CLOCK_SKEW_MS, STALE_MS};
use domain::shard::Shard;
use domain::status::{DropStatus, SkuCounts};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use memory::{Fault, MemoryStore, Op, TestRuntime, fixtures};
use ports::drops::WriteStatus;
use ports::runtime::Clock;
use reserve::Api;
use serde_json::{Value, json};
use tokens::{Audience, Issuers, KeySet, SigningKey, Verifier};
use tower::ServiceExt;

struct Scene {
    store: MemoryStore,
    runtime: TestRuntime,
    keys: SigningKey,
    router: Router,
}

/// Starts a process of the function, with its own cache and the shared store.
fn process(store: &MemoryStore, runtime: &TestRuntime, keys: &SigningKey) -> Router {
    let shoppers = Verifier::new(Audience::Shopper, KeySet::of(&[keys]).unwrap());
    router(store, shoppers, runtime)
}

/// Starts a process of the function that checks shoppers by `tokens`.
fn router(store: &MemoryStore, tokens: Verifier, runtime: &TestRuntime) -> Router {
    let port = || store.clone();
    Api::router(port(), port(), port(), tokens, runtime.clone(), StockTable::NEW)
}

fn scene(skus: &[(&str, u32)], limit: u32) -> Scene {
    let (store, runtime, keys) = (
        MemoryStore::new(),
        TestRuntime::new(7),
        SigningKey::generate("a").unwrap(),
    );
    fixtures::open_drop(&store, &runtime, "d", skus, limit);
    let router = process(&store, &runtime, &keys);
    Scene {
        store,
        runtime,
        keys,
        router,
    }
}

impl Scene {
    fn token(&self, who: &str) -> String {
        let now = self.runtime.now().as_seconds();
        self.keys.sign(Audience::Shopper, who, now, now + 3600).unwrap()
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        send(&self.router, request).await
    }

    fn ask(&self, who: &str, key: &str, sku: &str, quantity: u32) -> Request<Body> {
        self.post(who, key, &json!({"sku": sku, "quantity": quantity}).to_string())
    }

    fn post(&self, who: &str, key: &str, body: &str) -> Request<Body> {
        Request::post("/drops/d/reservations")
            .header("authorization", format!("Bearer {}", self.token(who)))
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap()
    }

    /// A repeat of the request for one TEE under the key `k`.
    fn repeat(&self, who: &str, attempt: u16) -> Request<Body> {
        let mut request = self.ask(who, "k", "TEE", 1);
        let headers = request.headers_mut();
        headers.insert("idempotency-attempt", attempt.into());
        request
    }

    fn on(&self, method: &str, who: &str, id: &str) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(format!("/drops/d/reservations/{id}"))
            .header("authorization", format!("Bearer {}", self.token(who)))
            .body(Body::empty())
            .unwrap()
    }

    /// Changes the hold to *ordered*, as checkout's transaction does, but stores no order. Returns the claim.
    fn order(&self, who: &ShopperId, id: &ReservationId) -> Claim {
        let mut shard = self.store.shard(&id.shard).unwrap();
        let hold = shard.claims[who].clone();
        let now = self.runtime.now();
        let ordered = hold.ordered(now, now.plus_seconds(60)).unwrap();
        shard.order(who, &hold, ordered.clone()).unwrap();
        self.store.put_shard(&id.shard, shard);
        ordered
    }

    fn held(&self) -> u32 {
        self.store.shards().values().map(|s| s.claimed()).sum()
    }

    fn free(&self) -> u32 {
        self.store.shards().values().map(|s| s.free).sum()
    }
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "current_thread")]
async fn a_reservation_is_made_shown_and_released() {
    let scene = scene(&[("TEE", 30)], 2);
    let (status, body) = scene.send(scene.ask("ada", "k1", "TEE", 2)).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["amount"], json!({"amount_minor": 9800, "currency": "EUR"}));
    assert_eq!(body["price"]["amount_minor"], 4900);
    assert_eq!(body["status"].as_str(), Some("held"));
    assert_eq!(body["quantity"].as_u64(), Some(2));
    assert_eq!(scene.held(), 2);

    let id = body["reservation_id"].as_str().unwrap();
    assert_eq!(
        scene.send(scene.on("GET", "ada", id)).await,
        (StatusCode::OK, body.clone())
    );
    assert_eq!(scene.send(scene.on("GET", "eve", id)).await.0, 404);
    assert_eq!(scene.send(scene.on("DELETE", "eve", id)).await.0, 404);
    assert_eq!(scene.held(), 2);
    assert_eq!(scene.send(scene.on("DELETE", "ada", id)).await.0, 204);
    assert_eq!(scene.send(scene.on("DELETE", "ada", id)).await.0, 404);
    assert_eq!(scene.held(), 0);
    assert_eq!(scene.free(), 30);
}

#[tokio::test(flavor = "current_thread")]
async fn a_repeat_finds_its_own_reservation_in_any_process() {
    let scene = scene(&[("TEE", 600)], 2);
    let first = scene.send(scene.ask("ada", "k1", "TEE", 1)).await;
    assert_eq!(first.0, 201);
    for _ in 0..3 {
        let other = process(&scene.store, &scene.runtime, &scene.keys);
        assert_eq!(send(&other, scene.ask("ada", "k1", "TEE", 1)).await, first);
        assert_eq!(scene.send(scene.ask("ada", "k1", "TEE", 1)).await, first);
    }
    assert_eq!(scene.held(), 1);
    let (status, body) = scene.send(scene.ask("ada", "k1", "TEE", 2)).await;
    assert_eq!(status.as_u16(), 422);
    assert_eq!(body["code"].as_str(), Some("idempotency_mismatch"));
    let (status, body) = scene.send(scene.ask("ada", "k2", "TEE", 1)).await;
    assert_eq!(status.as_u16(), 409);
    assert_eq!(body["code"].as_str(), Some("reservation_exists"));
    assert_eq!(body["reservation_id"], first.1["reservation_id"]);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn the_same_key_at_once_makes_one_reservation() {
    for seed in 0..20 {
        let scene = scene(&[("TEE", 600)], 1);
        let who = format!("s{seed}");
        let processes: Vec<_> = (0..8)
            .map(|_| process(&scene.store, &scene.runtime, &scene.keys))
            .collect();
        let asks = processes.iter().map(|p| send(p, scene.ask(&who, "k", "TEE", 1)));
        let answers = futures_util::future::join_all(asks).await;
        assert!(
            answers.iter().all(|a| *a == answers[0] && a.0 == 201),
            "{answers:?}"
        );
        assert_eq!(scene.held(), 1, "seed {seed}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn thirty_two_shoppers_race_for_the_last_unit() {
    let scene = scene(&[("TEE", 1)], 1);
    let processes: Vec<_> = (0..32)
        .map(|_| process(&scene.store, &scene.runtime, &scene.keys))
        .collect();
    let asks = processes
        .iter()
        .enumerate()
        .map(|(n, p)| send(p, scene.ask(&format!("s{n}"), "k", "TEE", 1)));
    let answers = futures_util::future::join_all(asks).await;
    assert_eq!(answers.iter().filter(|a| a.0 == 201).count(), 1);
    for (status, body) in answers.iter().filter(|a| a.0 != 201) {
        assert_eq!(status.as_u16(), 409, "{body}");
        assert_eq!(body["code"].as_str(), Some("sold_out"), "{body}");
        assert_eq!(body["availability"], "all_held");
    }
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn every_unit_is_found_and_none_twice() {
    // 97 units make shards of different sizes, so the last free units are in a few of many shards.
    let scene = scene(&[("TEE", 97)], 1);
    sells_all(&scene, true).await;
}

#[tokio::test(flavor = "current_thread")]
async fn every_unit_is_sold_while_no_shard_can_be_remembered() {
    let scene = scene(&[("TEE", 97)], 1);
    scene
        .store
        .set_plan(|op, _: u64| (op == Op::Remember).then_some(Fault::Broken));
    sells_all(&scene, false).await;
    assert!(scene.store.calls(Op::Remember) > 0);
}

/// Sells the 97 units of the scene to 150 shoppers, each of whom may repeat the request in two processes.
async fn sells_all(scene: &Scene, repeats: bool) {
    let mut granted = 0;
    for n in 0..150 {
        // Cached data expires, so that the search uses the counts that the conductor wrote after the last request.
        scene.runtime.advance(1_100);
        let ask = || scene.ask(&format!("s{n}"), "k", "TEE", 1);
        let first = scene.send(ask()).await;
        granted += u32::from(first.0 == 201);
        if repeats && first.0 == 201 {
            let other = process(&scene.store, &scene.runtime, &scene.keys);
            assert_eq!(send(&other, ask()).await, first, "a repeat in another process");
            assert_eq!(scene.send(ask()).await, first, "a repeat in the same process");
        }
        scene.store.audit().unwrap();
        let shards = scene.store.shards();
        let free = shards.values().map(|s| u8::try_from(s.free).unwrap()).collect();
        let counts = ports::drops::FreeCounts {
            as_of: scene.runtime.now(),
            fencing: 1,
            free,
        };
        scene
            .store
            .write_counts(&"d".parse().unwrap(), &fixtures::sku("TEE"), &counts, 4)
            .await
            .unwrap();
        if scene.runtime.now() >= TestRuntime::START.plus_seconds(fixtures::HOLD_SECONDS) {
            scene.runtime.set(TestRuntime::START); // The clock goes back, so that no hold expires.
        }
    }
    assert_eq!(granted, 97);
    assert_eq!(scene.free(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn an_expired_hold_is_taken_over_with_one_write() {
    let scene = scene(&[("TEE", 1)], 1);
    assert_eq!(scene.send(scene.ask("ada", "k", "TEE", 1)).await.0, 201);
    scene.runtime.advance_seconds(fixtures::HOLD_SECONDS + 1);
    assert_eq!(
        scene.send(scene.ask("bob", "k", "TEE", 1)).await.0,
        409,
        "its clock may still run for ada"
    );
    scene.runtime.advance(CLOCK_SKEW_MS);
    let before = scene.store.calls(Op::TakeOver);
    assert_eq!(scene.send(scene.ask("bob", "k", "TEE", 1)).await.0, 201);
    assert_eq!(scene.store.calls(Op::TakeOver) - before, 1);
    let (status, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    assert_eq!(status.as_u16(), 409);
    assert_eq!(body["availability"].as_str(), Some("all_held"));
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn ones_own_expired_hold_is_renewed_no_earlier_than_others_may_take_it() {
    let scene = scene(&[("TEE", 1)], 1);
    let first = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    scene.runtime.advance_seconds(fixtures::HOLD_SECONDS);
    let again = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    assert_eq!(again.0.as_u16(), 409);
    assert_eq!(again.1["code"].as_str(), Some("sold_out"));
    assert_eq!(again.1["availability"].as_str(), Some("all_held"));
    let id = first.1["reservation_id"].as_str().unwrap();
    assert_eq!(scene.send(scene.on("GET", "ada", id)).await.0, 404);
    // No other shopper gets the unit before the hold has expired on every clock.
    assert_eq!(scene.send(scene.ask("bob", "k", "TEE", 1)).await.0, 409);
    scene.runtime.advance(CLOCK_SKEW_MS);
    // The same key makes a new reservation.
    let renewed = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    assert_eq!(renewed.0, 201);
    assert_ne!(renewed.1["reservation_id"], first.1["reservation_id"]);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn fewer_left_says_how_many() {
    let scene = scene(&[("TEE", 3)], 2);
    assert_eq!(scene.send(scene.ask("ada", "k", "TEE", 2)).await.0, 201);
    let (status, body) = scene.send(scene.ask("bob", "k", "TEE", 2)).await;
    assert_eq!(status.as_u16(), 409);
    assert_eq!(body["code"].as_str(), Some("fewer_left"));
    assert_eq!(body["available"].as_u64(), Some(1));
    assert_eq!(scene.send(scene.ask("bob", "k1", "TEE", 1)).await.0, 201);
}

#[tokio::test(flavor = "current_thread")]
async fn gone_is_said_only_when_all_is_paid_for() {
    let scene = scene(&[("TEE", 1)], 1);
    let ask = |n: u32| scene.ask(&format!("s{n}"), "k", "TEE", 1);
    assert_eq!(scene.send(ask(0)).await.0, 201);
    let counts = |held, sold| SkuCounts {
        sku: fixtures::sku("TEE"),
        allocated: 1,
        free: 0,
        held,
        ordered: 0,
        sold,
    };
    let publish = |counts| DropStatus {
        drop: "d".parse().unwrap(),
        as_of: scene.runtime.now(),
        fencing: 1,
        skus: vec![counts],
    };
    scene.store.write_status(&publish(counts(1, 0)), 4).await.unwrap();
    assert_eq!(scene.send(ask(1)).await.1["availability"], "all_held");
    scene.runtime.advance(1_100);
    // The claim is settled in the shard too, as the order's last transaction does.
    let key = "d#TEE#0".parse().unwrap();
    let mut shard = scene.store.shard(&key).unwrap();
    let (who, claim) = shard
        .claims
        .iter()
        .next()
        .map(|(w, c)| (w.clone(), c.clone()))
        .unwrap();
    shard.settle(&who, &claim).unwrap();
    scene.store.put_shard(&key, shard);
    scene.store.write_status(&publish(counts(0, 1)), 4).await.unwrap();
    let before = scene.store.calls(Op::Peek);
    assert_eq!(scene.send(ask(2)).await.1["availability"], "gone");
    assert_eq!(scene.send(ask(3)).await.1["availability"], "gone");
    assert_eq!(
        scene.store.calls(Op::Peek) - before,
        1,
        "the second was answered from the cache"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_crowd_after_the_last_unit_writes_nothing() {
    let scene = scene(&[("TEE", 5)], 1);
    for n in 0..5 {
        assert_eq!(
            scene.send(scene.ask(&format!("s{n}"), "k", "TEE", 1)).await.0,
            201
        );
    }
    let writes = |s: &Scene| s.store.calls(Op::Claim) + s.store.calls(Op::TakeOver);
    let before = writes(&scene);
    for n in 100..300 {
        assert_eq!(
            scene.send(scene.ask(&format!("s{n}"), "k", "TEE", 1)).await.0,
            409
        );
    }
    assert_eq!(writes(&scene), before);
}

#[tokio::test(flavor = "current_thread")]
async fn every_fault_of_every_port_leaves_one_reservation_or_none() {
    for op in [Op::Drop, Op::Peek, Op::Claim, Op::Counts, Op::Status] {
        for fault in [Fault::Busy, Fault::UnknownBefore, Fault::UnknownAfter] {
            let scene = scene(&[("TEE", 60)], 1);
            scene.store.fail_next(op, fault);
            let (status, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
            assert_eq!(status, 201, "{op:?} {fault:?}: {body}");
            assert_eq!(scene.held(), 1, "{op:?} {fault:?}");
        }
    }
    for op in [Op::Drop, Op::Peek, Op::Claim] {
        let scene = scene(&[("TEE", 60)], 1);
        scene
            .store
            .set_plan(move |called, _| (called == op).then_some(Fault::UnknownAfter));
        let (status, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
        assert_eq!(status, 503, "{op:?}: {body}");
        scene.store.clear_plan();
        assert_eq!(
            scene.send(scene.ask("ada", "k", "TEE", 1)).await.0,
            201,
            "the same key again"
        );
        assert_eq!(scene.held(), 1);
        let broken = scene.store.clone();
        broken.set_plan(move |called, _| (called == op).then_some(Fault::Broken));
        scene.runtime.advance(STALE_MS);
        if op != Op::Claim {
            assert_eq!(
                scene.send(scene.ask("bob", "k", "TEE", 1)).await.1["code"],
                "internal"
            );
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_release_whose_answer_was_lost_is_a_release() {
    let scene = scene(&[("TEE", 60)], 1);
    let (_, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    scene.store.fail_next(Op::GiveBack, Fault::UnknownAfter);
    let id = body["reservation_id"].as_str().unwrap();
    assert_eq!(scene.send(scene.on("DELETE", "ada", id)).await.0, 204);
    assert_eq!(scene.held(), 0);
    assert_eq!(scene.free(), 60);
}

#[tokio::test(flavor = "current_thread")]
async fn an_order_is_not_released_here() {
    let scene = scene(&[("TEE", 60)], 2);
    let (_, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    let id: ReservationId = body["reservation_id"].as_str().unwrap().parse().unwrap();
    let ada = fixtures::shopper("ada");
    scene.order(&ada, &id);
    let (status, body) = scene.send(scene.on("DELETE", "ada", &id.to_string())).await;
    assert_eq!(status.as_u16(), 409);
    assert_eq!(body["code"].as_str(), Some("wrong_state"));
    let (status, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    assert_eq!(status.as_u16(), 201, "the same key finds it");
    assert_eq!(body["status"].as_str(), Some("ordered"), "the same key finds it");
    assert_eq!(
        scene.store.shard(&id.shard).unwrap().claims[&ada].state,
        ClaimState::Ordered
    );
}

#[tokio::test(flavor = "current_thread")]
async fn what_lies_behind_ones_own_order_is_not_called_sold_out() {
    let scene = scene(&[("TEE", 3)], 2);
    let (_, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    let id: ReservationId = body["reservation_id"].as_str().unwrap().parse().unwrap();
    let ada = fixtures::shopper("ada");
    let ordered = scene.order(&ada, &id);
    let (status, body) = scene.send(scene.ask("ada", "k2", "TEE", 1)).await;
    assert_eq!(status.as_u16(), 409);
    assert_eq!(body["code"].as_str(), Some("order_in_progress"));
    assert_eq!(
        body["order_id"].as_str(),
        Some(OrderId::of_reservation(&id).as_str())
    );
    // The refusal applies only to Ada.
    assert_eq!(scene.send(scene.ask("bob", "k", "TEE", 1)).await.0, 201);
    let mut shard = scene.store.shard(&id.shard).unwrap();
    shard.settle(&ada, &ordered).unwrap();
    scene.store.put_shard(&id.shard, shard);
    assert_eq!(scene.send(scene.ask("ada", "k3", "TEE", 1)).await.0, 201);
}

#[tokio::test(flavor = "current_thread")]
async fn phases_are_kept() {
    let scene = scene(&[("TEE", 60)], 1);
    let drop = fixtures::open_drop(&scene.store, &scene.runtime, "d", &[("TEE", 60)], 1);
    for (drop, code) in [
        (
            domain::drops::Drop {
                starts_at: scene.runtime.now().plus_seconds(90),
                ..drop.clone()
            },
            "not_open",
        ),
        (
            domain::drops::Drop {
                paused: true,
                ..drop.clone()
            },
            "paused",
        ),
        (
            domain::drops::Drop {
                ends_at: scene.runtime.now(),
                ..drop.clone()
            },
            "closed",
        ),
        (drop.cancel().unwrap(), "closed"),
        (
            domain::drops::Drop {
                state: domain::drops::DropState::Publishing,
                version: drop.version + 1,
                ..drop.clone()
            },
            "not_found",
        ),
    ] {
        scene.store.put_drop(&drop);
        scene.runtime.advance(CACHE_MS);
        let (_, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
        assert_eq!(body["code"], code);
        if code == "not_open" {
            assert_eq!(body["retry_after_seconds"], 90);
        }
    }
    assert_eq!(scene.held(), 0);
}

/// While the drop cannot be read, a process accepts reservations until the end that its copy of the drop has. It
/// gives no final refusal, since a newer document may have a later end or more units.
#[tokio::test(flavor = "current_thread")]
async fn a_stale_copy_claims_and_says_nothing_for_good() {
    type Change = Box<dyn Fn(&Drop) -> Drop>;
    let until = |ms| {
        move |drop: &Drop| Drop {
            ends_at: TestRuntime::START.plus_millis(ms),
            ..drop.clone()
        }
    };
    let changed: [(Change, u16, &str); 6] = [
        (Box::new(Drop::clone), 201, ""),
        (Box::new(until(3_001)), 201, ""),
        (Box::new(until(3_000)), 503, "throttled"),
        (Box::new(|drop| drop.set_paused(true).unwrap()), 503, "throttled"),
        (Box::new(|drop| drop.cancel().unwrap()), 503, "throttled"),
        (
            Box::new(|drop| Drop {
                state: DropState::Publishing,
                ..drop.clone()
            }),
            503,
            "throttled",
        ),
    ];
    for (n, (change, status, code)) in changed.into_iter().enumerate() {
        let scene = scene(&[("TEE", 60)], 1);
        let drop = fixtures::open_drop(&scene.store, &scene.runtime, "d", &[("TEE", 60)], 1);
        scene.store.put_drop(&change(&drop));
        scene.send(scene.ask("ada", "k", "NONE", 1)).await;
        scene
            .store
            .set_plan(|op, _| (op == Op::Drop).then_some(Fault::Busy));
        scene.runtime.advance(3_000);
        let (answered, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
        assert_eq!(answered, status, "{n}: {body}");
        assert_eq!(body["code"].as_str().unwrap_or_default(), code, "{n}");
        if status == 503 {
            assert!(body["retry_after_seconds"].is_u64(), "{n}");
            scene.store.clear_plan();
            scene.runtime.advance(CACHE_MS);
            let (answered, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
            assert!(matches!(answered.as_u16(), 404 | 409), "{n}: {body}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_stale_copy_says_that_all_is_held_and_not_that_it_is_gone() {
    let scene = scene(&[("TEE", 1)], 1);
    let settled = Shard {
        sold: 1,
        free: 0,
        ..Shard::allocated(1)
    };
    scene.store.put_shard(&"d#TEE#0".parse().unwrap(), settled);
    let counts = SkuCounts {
        sku: fixtures::sku("TEE"),
        allocated: 1,
        free: 0,
        held: 0,
        ordered: 0,
        sold: 1,
    };
    let status = DropStatus {
        drop: "d".parse().unwrap(),
        as_of: scene.runtime.now(),
        fencing: 1,
        skus: vec![counts],
    };
    scene.store.write_status(&status, 4).await.unwrap();
    assert_eq!(
        scene.send(scene.ask("ada", "k", "TEE", 1)).await.1["availability"],
        "gone"
    );
    scene
        .store
        .set_plan(|op, _| (op == Op::Drop).then_some(Fault::Busy));
    for _ in 0..3 {
        scene.runtime.advance(CACHE_MS);
        assert_eq!(
            scene.send(scene.ask("ada", "k", "TEE", 1)).await.1["code"],
            "throttled"
        );
    }
    scene.store.clear_plan();
    assert_eq!(
        scene.send(scene.ask("ada", "k", "TEE", 1)).await.1["code"],
        "throttled"
    );
    scene.runtime.advance(CACHE_MS);
    assert_eq!(
        scene.send(scene.ask("ada", "k", "TEE", 1)).await.1["availability"],
        "gone"
    );
}

/// A drop of 600 units for which 1,000,000 shoppers are expected.
fn crowd(paused: bool) -> Scene {
    let scene = scene(&[("TEE", 600)], 1);
    let drop = fixtures::open_drop(&scene.store, &scene.runtime, "d", &[("TEE", 600)], 1);
    scene.store.put_drop(&Drop {
        expected_shoppers: 1_000_000,
        paused,
        ..drop
    });
    scene
}

/// With a crowd of 1,000,000, each process has 0.54 read units a second for looks, and a look that may claim units costs
/// three. All other requests are answered that all units are held and when to ask again. A request that says that it is
/// a repeat finds its reservation nevertheless.
#[tokio::test(flavor = "current_thread")]
async fn a_crowd_beyond_the_looks_is_spread_over_time() {
    let scene = crowd(false);
    let (mut made, mut waits) = (Vec::new(), std::collections::BTreeSet::new());
    for n in 0..400 {
        scene.runtime.advance(100);
        let (status, body) = scene.send(scene.ask(&format!("s{n}"), "k", "TEE", 1)).await;
        if status == 201 {
            made.push((n, body["reservation_id"].clone()));
            continue;
        }
        assert_eq!(status.as_u16(), 409);
        assert_eq!(&body["code"], &json!("sold_out"));
        assert_eq!(&body["availability"], &json!("all_held"));
        let wait = body["retry_after_seconds"].as_u64().unwrap();
        assert!((1..=28).contains(&wait), "{wait}");
        waits.insert(wait);
    }
    let looks = scene.store.calls(Op::Peek);
    assert!((7..=9).contains(&looks), "{looks} looks in 40 s");
    let writes = scene.store.calls(Op::Claim);
    assert!(u64::try_from(made.len()).unwrap() >= looks && writes <= 3 * looks + 40);
    assert!(waits.len() > 20, "spread: {waits:?}");
    for (n, id) in made.iter().rev().take(3) {
        let (status, body) = scene.send(scene.repeat(&format!("s{n}"), 2)).await;
        assert_eq!(
            (status.as_u16(), &body["reservation_id"]),
            (201, id),
            "a repeat finds its reservation although no look is left"
        );
    }
    // Who reserved nothing gets nothing by calling a request a repeat.
    let writes = scene.store.calls(Op::Claim);
    let mut repeat = 0;
    let wait = loop {
        repeat += 1;
        // No shard is known to be well filled, so that each request needs a look.
        scene.runtime.advance(CACHE_MS);
        let looks = scene.store.calls(Op::Peek);
        let (status, body) = scene.send(scene.repeat(&format!("new{repeat}"), 7)).await;
        assert_eq!(
            (status.as_u16(), &body["availability"]),
            (409, &json!("all_held"))
        );
        if scene.store.calls(Op::Peek) == looks {
            break body["retry_after_seconds"].as_u64().unwrap();
        }
    };
    assert!(
        repeat <= 20 && wait <= 3,
        "the {repeat}th gets no look, and asks another process soon: {wait}"
    );
    assert_eq!(scene.store.calls(Op::Claim), writes);
}

/// While units may be free, a refused shopper is asked to come again soon, and later when all units are held.
#[tokio::test(flavor = "current_thread")]
async fn a_crowd_is_spread_over_a_longer_time_when_all_units_are_held() {
    let scene = crowd(false);
    let mut shards = Vec::new();
    scene
        .store
        .look_at_shards(|key, shard| shards.push((key.clone(), shard.clone())));
    for (key, shard) in shards {
        let (free, sold) = (0, shard.allocated);
        scene.store.put_shard(&key, Shard { free, sold, ..shard });
    }
    let (mut short, mut long) = (0, 0);
    for n in 0..400 {
        scene.runtime.advance(100);
        let looks = scene.store.calls(Op::Peek);
        let (_, body) = scene.send(scene.ask(&format!("s{n}"), "k", "TEE", 1)).await;
        let wait = body["retry_after_seconds"].as_u64().unwrap();
        if scene.store.calls(Op::Peek) > looks {
            long = long.max(wait);
        } else {
            short = short.max(wait);
        }
    }
    assert!(long > 28, "a look found no free unit: {long}");
    assert!(short > 1, "{short}");
}

/// A request that may not look learns that the drop is paused.
#[tokio::test(flavor = "current_thread")]
async fn a_paused_drop_is_not_called_sold_out_where_no_look_is_left() {
    let scene = crowd(true);
    for n in 0..20 {
        let (_, body) = scene.send(scene.ask(&format!("s{n}"), "k", "TEE", 1)).await;
        assert_eq!(&body["code"], &json!("paused"));
    }
    assert!(scene.store.calls(Op::Peek) <= 3);
}

#[tokio::test(flavor = "current_thread")]
async fn a_table_that_refuses_looks_gets_fewer_of_them() {
    let scene = scene(&[("TEE", 12)], 1);
    let refuse = |op, _: u64| (op == Op::Peek).then_some(Fault::Busy);
    scene.store.set_plan(refuse);
    // Nothing is known about free units, so a refused look is answered 503 and not as sold out.
    let (status, body) = scene.send(scene.ask("ada", "k", "TEE", 1)).await;
    assert_eq!(status.as_u16(), 503, "{body}");
    let repeated = scene.store.calls(Op::Peek);
    assert!(repeated > 1, "the first refused look is repeated");
    for n in 0..300 {
        scene.runtime.advance(10);
        scene.send(scene.ask(&format!("s{n}"), "k", "TEE", 1)).await;
    }
    let looks = scene.store.calls(Op::Peek) - repeated;
    assert!((2..60).contains(&looks), "{looks} looks of 300 requests in 3 s");

    // The process learns that no unit is free. Then a refused look is answered as sold out and not 503.
    scene.store.clear_plan();
    scene.runtime.advance(60_000);
    for n in 0..13 {
        scene.send(scene.ask(&format!("b{n}"), "k", "TEE", 1)).await;
    }
    assert_eq!(scene.free(), 0);
    scene.store.set_plan(refuse);
    // A repeat may have a reservation, which the refused look did not show, so it is asked to come again soon.
    let (_, body) = scene.send(scene.repeat("b0", 2)).await;
    assert_eq!(&body["availability"], &json!("all_held"));
    let wait = body["retry_after_seconds"].as_u64().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    for n in 0..50 {
        let (status, body) = scene.send(scene.ask(&format!("c{n}"), "k", "TEE", 1)).await;
        assert_eq!(status.as_u16(), 409, "{body}");
        assert_eq!(&body["availability"], &json!("all_held"));
    }
    scene.store.clear_plan();
    scene.runtime.advance(60_000);
    let (status, _) = scene.send(scene.ask("b0", "k", "TEE", 1)).await;
    assert_eq!(
        status.as_u16(),
        201,
        "a repeat finds its reservation when the table serves again"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn bad_input_is_answered_and_changes_nothing() {
    let scene = scene(&[("TEE", 60)], 2);
    let body = |b: Value| scene.post("ada", "k", &b.to_string());
    let good = json!({"sku": "TEE", "quantity": 1}).to_string();
    let bare = |token: Option<&str>| {
        let mut r = Request::post("/drops/d/reservations").header("content-type", "application/json");
        if let Some(token) = token {
            r = r.header("authorization", token);
        }
        r.header("idempotency-key", "k")
            .body(Body::from(good.clone()))
            .unwrap()
    };
    let now = scene.runtime.now().as_seconds();
    let expired = format!(
        "Bearer {}",
        scene
            .keys
            .sign(Audience::Shopper, "ada", now - 100, now - 50)
            .unwrap()
    );
    let forged = format!(
        "Bearer {}",
        SigningKey::generate("a")
            .unwrap()
            .sign(Audience::Shopper, "ada", now, now + 9)
            .unwrap()
    );
    let operator = format!(
        "Bearer {}",
        scene.keys.sign(Audience::Operator, "ada", now, now + 9).unwrap()
    );
    let no_shopper = format!(
        "Bearer {}",
        scene.keys.sign(Audience::Shopper, "", now, now + 9).unwrap()
    );
    let mut no_key = scene.post("ada", "k", &good);
    no_key.headers_mut().remove("idempotency-key");
    let mut elsewhere = scene.post("ada", "k", &good);
    *elsewhere.uri_mut() = "/drops/other/reservations".parse().unwrap();
    let mut nonsense = scene.post("ada", "k", &good);
    *nonsense.uri_mut() = "/drops/NO%00/reservations".parse().unwrap();
    let cases = vec![
        (body(json!({"sku": "TEE", "quantity": 0})), 400, "invalid_request"),
        (body(json!({"sku": "TEE", "quantity": 3})), 400, "invalid_request"),
        (
            body(json!({"sku": "TEE", "quantity": -1})),
            400,
            "invalid_request",
        ),
        (
            body(json!({"sku": "TEE", "quantity": 4294967296u64})),
            400,
            "invalid_request",
        ),
        (
            body(json!({"sku": "TEE", "quantity": "1"})),
            400,
            "invalid_request",
        ),
        (body(json!({"sku": "TEE"})), 400, "invalid_request"),
        (body(json!({"sku": "", "quantity": 1})), 400, "invalid_request"),
        (body(json!({"sku": "NO", "quantity": 1})), 404, "not_found"),
        (scene.post("ada", "k", "{"), 400, "invalid_request"),
        (
            scene.post("ada", "k", &format!("{{\"sku\":{}", "[".repeat(9_000))),
            400,
            "invalid_request",
        ),
        (scene.post("ada", "k", &" ".repeat(17_000)), 413, "too_large"),
        (bare(None), 401, "unauthenticated"),
        (bare(Some("Bearer")), 401, "unauthenticated"),
        (bare(Some("Basic YTpi")), 401, "unauthenticated"),
        (bare(Some("Bearer a.b.c")), 401, "unauthenticated"),
        (bare(Some(&expired)), 401, "unauthenticated"),
        (bare(Some(&forged)), 401, "unauthenticated"),
        (bare(Some(&operator)), 401, "unauthenticated"),
        (bare(Some(&no_shopper)), 401, "unauthenticated"),
        (no_key, 400, "invalid_request"),
        (elsewhere, 404, "not_found"),
        (nonsense, 404, "not_found"),
        (scene.on("GET", "ada", "nonsense"), 404, "not_found"),
        (scene.on("GET", "ada", "d.TEE.0.abcdefghij"), 404, "not_found"),
        (scene.on("GET", "ada", "other.TEE.0.abcdefghij"), 404, "not_found"),
        (
            scene.on("DELETE", "ada", "d.TEE.4000.abcdefghij"),
            404,
            "not_found",
        ),
        (
            scene.on("PATCH", "ada", "d.TEE.0.abcdefghij"),
            405,
            "method_not_allowed",
        ),
    ];
    for (n, (request, status, code)) in cases.into_iter().enumerate() {
        let response = scene.router.clone().oneshot(request).await.unwrap();
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "case {n}"
        );
        let found = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(found.as_u16(), status, "case {n}: {problem}");
        assert_eq!(problem["code"].as_str(), Some(code), "case {n}: {problem}");
        assert_eq!(problem["status"], status);
    }
    assert_eq!(scene.held(), 0);
    assert_eq!(scene.free(), 60);
    assert_eq!(scene.store.calls(Op::Claim), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn the_same_subject_of_two_issuers_is_two_shoppers() {
    let scene = scene(&[("TEE", 60)], 1);
    let outside = SigningKey::generate("a").unwrap();
    let entry = |issuer: &str, audience: &str, key: &SigningKey| {
        let mut entry: Value = serde_json::from_str(&KeySet::of(&[key]).unwrap().to_json()).unwrap();
        entry["issuer"] = json!(issuer);
        entry["audiences"] = json!([audience]);
        entry["algorithms"] = json!(["EdDSA"]);
        entry["max_life_seconds"] = json!(3_600);
        entry
    };
    let login = "https://login.example/";
    let issuers = json!({"issuers": [entry("stampede", "stampede-shopper", &scene.keys), entry(login, "drops", &outside)]});
    let issuers = Issuers::parse(&issuers.to_string()).unwrap();
    let tokens = Verifier::of(Audience::Shopper, issuers).unwrap();
    let router = router(&scene.store, tokens, &scene.runtime);
    let now = scene.runtime.now().as_seconds();
    let subject = "auth0|507f1f77bcf86cd799439011";
    let claims =
        json!({"iss": login, "aud": ["account", "drops"], "sub": subject, "iat": now, "exp": now + 3_600});
    let bearers = [scene.token(subject), outside.sign_claims(&claims).unwrap()];
    let mut found = Vec::new();
    for bearer in &bearers {
        let mut request = scene.ask("-", "k", "TEE", 1);
        let bearer = format!("Bearer {bearer}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let (status, body) = send(&router, request).await;
        assert_eq!(status, 201, "{body}");
        found.push(body["reservation_id"].clone());
    }
    assert_ne!(found[0], found[1]);
    let shards = scene.store.shards();
    let mut holders: Vec<&ShopperId> = shards.values().flat_map(|shard| shard.claims.keys()).collect();
    let mut named = [fixtures::shopper(subject), ShopperId::of(login, subject)];
    holders.sort_unstable();
    named.sort_unstable();
    assert_eq!(holders, named.iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "current_thread")]
async fn the_deployer_reserves_in_unlisted_drops_only() {
    let scene = scene(&[("TEE", 60)], 2);
    let deployer = SigningKey::generate("deployer").unwrap();
    let set = |key: &SigningKey| KeySet::of(&[key]).unwrap();
    let tokens = Verifier::new(Audience::Shopper, set(&scene.keys))
        .with_deployers(set(&deployer))
        .unwrap();
    let router = router(&scene.store, tokens, &scene.runtime);
    let now = scene.runtime.now().as_seconds();
    let bearer = |key: &SigningKey, sub, life| {
        let token = key.sign(Audience::Shopper, sub, now, now + life).unwrap();
        format!("Bearer {token}")
    };
    let send = |mut request: Request<Body>, bearer: &str| {
        request
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        send(&router, request)
    };
    let smoke = bearer(&deployer, "smoke-1", 300);
    let (status, body) = send(scene.ask("-", "k", "TEE", 1), &smoke).await;
    assert_eq!(status.as_u16(), 403, "{body}");
    assert_eq!(&body["code"], &json!("forbidden"), "{body}");
    for (what, bearer) in [
        ("too long", bearer(&deployer, "smoke-1", 301)),
        ("as somebody else", bearer(&deployer, "ada", 300)),
        (
            "somebody else as the deployer",
            bearer(&scene.keys, "smoke-1", 300),
        ),
    ] {
        let (status, body) = send(scene.ask("-", "k", "TEE", 1), &bearer).await;
        let problem = (status.as_u16(), &body["code"]);
        assert_eq!(problem, (401, &json!("unauthenticated")), "{what}");
    }
    assert_eq!(scene.held(), 0);

    let drop = fixtures::open_drop(&scene.store, &scene.runtime, "d", &[("TEE", 60)], 2);
    scene.store.put_drop(&domain::drops::Drop {
        listed: false,
        ..drop
    });
    scene.runtime.advance(1_000);
    let (status, held) = send(scene.ask("-", "k", "TEE", 1), &smoke).await;
    assert_eq!(status, 201, "{held}");
    let ada = bearer(&scene.keys, "ada", 300);
    let (status, body) = send(scene.ask("-", "k", "TEE", 1), &ada).await;
    assert_eq!(status, 201, "others buy there as anywhere: {body}");
    let id = held["reservation_id"].as_str().unwrap();
    assert_eq!(send(scene.on("GET", "-", id), &ada).await.0, 404);
    assert_eq!(send(scene.on("GET", "-", id), &smoke).await.0, 200);
    assert_eq!(send(scene.on("DELETE", "-", id), &smoke).await.0, 204);
    assert_eq!(scene.held(), 1);
}
