//! Tests the answers to shoppers, their caching, and the behaviour while the database does not answer.
#![cfg(test)]

use axum::Router;
use axum::body::Body;
use domain::drops::{Drop, Sku};
use domain::ids::DropId;
use domain::limits::{CACHE_MS, LIST_CACHE_MS, REFRESH_JITTER_MS, STALE_MS};
use domain::status::{DropStatus, SkuCounts};
use get_drop::Api;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use memory::{Fault, MemoryStore, Op, TestRuntime, fixtures};
use ports::drops::{ReadDrop as _, StoreDrop as _, WriteStatus as _};
use ports::runtime::Clock as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use web::encode_cursor;

struct Scene {
    store: MemoryStore,
    runtime: TestRuntime,
    router: Router,
}

fn process(store: &MemoryStore, runtime: &TestRuntime) -> Router {
    Api::router(store.clone(), store.clone(), runtime.clone())
}

impl Scene {
    fn new() -> Self {
        let (store, runtime) = (MemoryStore::new(), TestRuntime::new(3));
        fixtures::open_drop(&store, &runtime, "d", &[("A", 30), ("B", 5)], 2);
        let router = process(&store, &runtime);
        Self {
            store,
            runtime,
            router,
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let (caching, kind) = if status == StatusCode::OK {
            ("public, max-age=1, stale-while-revalidate=1", "application/json")
        } else {
            ("no-store", "application/problem+json")
        };
        assert_eq!(response.headers()[header::CACHE_CONTROL], caching, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], kind, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Stores counts as the conductor does: the free, held and sold units of A; all units of B are free.
    async fn count(&self, free: u32, held: u32, sold: u32) {
        let counts = |sku: &str, allocated, free, held, sold| SkuCounts {
            sku: sku.parse().unwrap(),
            allocated,
            free,
            held,
            ordered: 0,
            sold,
        };
        let status = DropStatus {
            drop: "d".parse().unwrap(),
            as_of: self.runtime.now(),
            fencing: 1,
            skus: vec![counts("A", 30, free, held, sold), counts("B", 5, 5, 0, 0)],
        };
        assert!(self.store.write_status(&status, 4).await.unwrap().is_done());
    }

    async fn change(&self, change: impl Fn(&Drop) -> Drop) {
        let drop = self.store.drop(&"d".parse().unwrap()).await.unwrap().unwrap();
        assert!(self.store.store(&change(&drop)).await.unwrap().is_done());
    }

    async fn first_sku(&self) -> (Value, Value) {
        let (status, body) = self.get("/drops/d/status").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        (
            body["skus"][0]["availability"].clone(),
            body["skus"][0]["free"].clone(),
        )
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_drop_is_shown() {
    let scene = Scene::new();
    let (status, body) = scene.get("/drops/d").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(&body["drop_id"], &json!("d"));
    assert_eq!(&body["phase"], &json!("open"));
    assert_eq!(&body["per_shopper_limit"], &json!(2));
    assert_eq!(
        body["skus"],
        json!([
            {"sku": "A", "title": "Edition A", "price": {"amount_minor": 4900, "currency": "EUR"}, "allocated": 30},
            {"sku": "B", "title": "Edition B", "price": {"amount_minor": 4900, "currency": "EUR"}, "allocated": 5},
        ])
    );
}

#[tokio::test(flavor = "current_thread")]
async fn phases_follow_the_clock_though_everything_is_cached() {
    let scene = Scene::new();
    let drop = scene.store.drop(&"d".parse().unwrap()).await.unwrap().unwrap();
    for (at, phase) in [
        (drop.starts_at.plus_millis(-1), "upcoming"),
        (drop.starts_at, "open"),
        (drop.ends_at.plus_millis(-1), "open"),
        (drop.ends_at, "closed"),
    ] {
        scene.runtime.set(at);
        for path in ["/drops/d", "/drops/d/status"] {
            assert_eq!(scene.get(path).await.1["phase"], phase, "{path}");
        }
        if phase != "closed" {
            assert_eq!(scene.get("/drops").await.1["drops"][0]["phase"], phase);
        }
    }
    assert_eq!(
        scene.get("/drops/d/status").await.1["next_poll_seconds"],
        Value::Null
    );
}

#[tokio::test(flavor = "current_thread")]
async fn the_status_tells_what_was_counted() {
    let scene = Scene::new();
    assert_eq!(
        scene.first_sku().await,
        (json!("available"), json!(30)),
        "not counted yet"
    );
    for (counts, told) in [
        ((4, 26, 0), (json!("available"), json!(4))),
        ((0, 20, 10), (json!("all_held"), json!(0))),
        ((0, 0, 30), (json!("gone"), json!(0))),
    ] {
        scene.runtime.advance(CACHE_MS);
        scene.count(counts.0, counts.1, counts.2).await;
        assert_eq!(scene.first_sku().await, told);
    }
    let (_, body) = scene.get("/drops/d/status").await;
    assert_eq!(&body["phase"], &json!("open"));
    assert_eq!(&body["next_poll_seconds"], &json!(2));
    assert_eq!(body["as_of"], body["server_time"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_crowd_costs_one_reading_a_second_and_fewer_of_the_list() {
    let scene = Scene::new();
    for second in 1..=6 {
        for _ in 0..50 {
            for path in ["/drops", "/drops/d", "/drops/d/status"] {
                assert_eq!(scene.get(path).await.0, StatusCode::OK);
            }
        }
        for op in [Op::Drop, Op::Status] {
            assert_eq!(scene.store.calls(op), second, "{op:?}");
        }
        let lists = 1 + (second - 1) * CACHE_MS.unsigned_abs() / LIST_CACHE_MS.unsigned_abs();
        assert_eq!(scene.store.calls(Op::Published), lists, "second {second}");
        scene.runtime.advance(CACHE_MS);
    }
    for _ in 0..50 {
        assert_eq!(scene.get("/drops/nothing").await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(
        scene.store.calls(Op::Drop),
        8,
        "that there is none is remembered too"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn ids_that_nobody_has_push_out_no_drop() {
    let scene = Scene::new();
    scene.get("/drops/d").await;
    for n in 0..600 {
        assert_eq!(
            scene.get(&format!("/drops/no-{n}")).await.0,
            StatusCode::NOT_FOUND
        );
    }
    let reads = scene.store.calls(Op::Drop);
    scene.get("/drops/no-599").await;
    scene.get("/drops/d").await;
    assert_eq!(scene.store.calls(Op::Drop), reads);
    scene.runtime.advance(CACHE_MS);
    scene
        .store
        .set_plan(|op, _| (op == Op::Drop).then_some(Fault::Busy));
    assert_eq!(
        scene.get("/drops/d").await.0,
        StatusCode::OK,
        "the last good copy"
    );
    assert_eq!(
        scene.get("/drops/no-599").await.0,
        StatusCode::SERVICE_UNAVAILABLE,
        "that there was no such drop says nothing about now"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_change_is_seen_within_a_second() {
    let scene = Scene::new();
    scene.count(10, 20, 0).await;
    scene.first_sku().await;
    scene.count(9, 21, 0).await;
    scene.change(|drop| drop.set_paused(true).unwrap()).await;
    scene.runtime.advance(CACHE_MS - REFRESH_JITTER_MS - 1);
    let (_, body) = scene.get("/drops/d/status").await;
    assert_eq!(&body["phase"], &json!("open"));
    assert_eq!(&body["skus"][0]["free"], &json!(10));
    scene.runtime.advance(REFRESH_JITTER_MS + 1);
    let (_, body) = scene.get("/drops/d/status").await;
    assert_eq!(&body["phase"], &json!("paused"));
    assert_eq!(&body["skus"][0]["free"], &json!(9));
}

#[tokio::test(flavor = "current_thread")]
async fn the_list_shows_a_change_within_five_seconds() {
    let scene = Scene::new();
    let phase = async || scene.get("/drops").await.1["drops"][0]["phase"].clone();
    assert_eq!(phase().await, json!("open"));
    scene.change(|drop| drop.set_paused(true).unwrap()).await;
    scene.runtime.advance(LIST_CACHE_MS - 1);
    assert_eq!(phase().await, json!("open"));
    scene.runtime.advance(1);
    assert_eq!(phase().await, json!("paused"));
}

/// The operator may have extended the drop since the list was read.
#[tokio::test(flavor = "current_thread")]
async fn the_list_says_closed_only_if_the_drop_had_ended_when_it_was_read() {
    let scene = Scene::new();
    let phase = async || scene.get("/drops").await.1["drops"][0]["phase"].clone();
    let read_at = scene.runtime.now();
    scene
        .change(|drop| Drop {
            version: drop.version + 1,
            ends_at: read_at.plus_millis(1_000),
            ..drop.clone()
        })
        .await;
    assert_eq!(phase().await, json!("open"));
    scene.runtime.advance(LIST_CACHE_MS - 1);
    assert_eq!(phase().await, json!("open"));
    scene
        .store
        .set_plan(|op, _| (op == Op::Published).then_some(Fault::Busy));
    scene.runtime.advance(1);
    assert_eq!(phase().await, json!("open"), "by the last good list");
    scene.store.clear_plan();
    scene.runtime.advance(LIST_CACHE_MS);
    assert_eq!(phase().await, json!("closed"));
}

#[tokio::test(flavor = "current_thread")]
async fn the_last_good_copies_stand_in_for_a_while() {
    for fault in [Fault::Busy, Fault::UnknownBefore] {
        let scene = Scene::new();
        scene.count(0, 30, 0).await;
        for path in ["/drops", "/drops/d", "/drops/d/status"] {
            assert_eq!(scene.get(path).await.0, StatusCode::OK);
        }
        let read_at = scene.runtime.now();
        scene
            .store
            .set_plan(move |op, _| matches!(op, Op::Drop | Op::Published | Op::Status).then_some(fault));
        scene.runtime.advance(CACHE_MS);
        assert_eq!(scene.first_sku().await, (json!("all_held"), json!(0)));
        for path in ["/drops", "/drops/d"] {
            assert_eq!(scene.get(path).await.0, StatusCode::OK, "{path}");
        }
        scene.runtime.set(read_at.plus_millis(STALE_MS));
        for (path, seconds) in [
            ("/drops", 1),
            ("/drops/d", 2),
            ("/drops/d/status", 4),
            ("/drops/other", 8),
        ] {
            let (status, problem) = scene.get(path).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(&problem["code"], &json!("throttled"), "{path}");
            assert_eq!(&problem["retry_after_seconds"], &json!(seconds), "{path}");
        }
        scene.store.clear_plan();
        assert_eq!(scene.get("/drops/d/status").await.0, StatusCode::OK);
    }
}

/// With a stale copy of the drop no final answer is given: a newer document may have a later end, or more units.
#[tokio::test(flavor = "current_thread")]
async fn a_stale_drop_says_neither_closed_nor_gone() {
    let scene = Scene::new();
    scene.count(0, 0, 30).await;
    assert_eq!(scene.first_sku().await.0, json!("gone"));
    let (read_at, busy) = (scene.runtime.now(), |op, _| {
        (op == Op::Drop).then_some(Fault::Busy)
    });
    scene.store.set_plan(busy);
    scene.runtime.advance(CACHE_MS);
    assert_eq!(scene.first_sku().await.0, json!("all_held"));
    scene.store.clear_plan();
    scene
        .change(|drop| Drop {
            version: drop.version + 1,
            ends_at: read_at.plus_millis(3 * CACHE_MS),
            ..drop.clone()
        })
        .await;
    scene.runtime.advance(CACHE_MS);
    assert_eq!(scene.first_sku().await.0, json!("gone"));
    scene.store.set_plan(busy);
    scene.runtime.advance(CACHE_MS);
    for path in ["/drops/d", "/drops/d/status"] {
        let (status, problem) = scene.get(path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(&problem["code"], &json!("throttled"), "{path}");
    }
    scene.store.clear_plan();
    scene.runtime.advance(CACHE_MS);
    assert_eq!(scene.get("/drops/d/status").await.1["phase"], "closed");
}

#[tokio::test(flavor = "current_thread")]
async fn a_moment_of_trouble_is_not_noticed() {
    for op in [Op::Drop, Op::Published, Op::Status] {
        for fault in [Fault::Busy, Fault::UnknownBefore, Fault::UnknownAfter] {
            let scene = Scene::new();
            scene.store.fail_next(op, fault);
            for path in ["/drops", "/drops/d", "/drops/d/status"] {
                assert_eq!(scene.get(path).await.0, StatusCode::OK, "{op:?} {fault:?}");
            }
        }
    }
    let scene = Scene::new();
    scene.store.fail_next(Op::Status, Fault::Broken);
    let (status, problem) = scene.get("/drops/d/status").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(&problem["code"], &json!("internal"));
    assert!(
        !problem.to_string().contains("on purpose"),
        "what broke stays inside"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_count_that_is_too_old_never_says_gone() {
    let scene = Scene::new();
    scene.count(0, 30, 0).await;
    scene.runtime.advance(STALE_MS + 1);
    assert_eq!(scene.first_sku().await, (json!("available"), json!(30)));
    let (_, body) = scene.get("/drops/d/status").await;
    assert!(body["message"].is_string());
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_not_published_is_not_there() {
    let scene = Scene::new();
    let draft = Drop::draft(
        "draft".parse().unwrap(),
        fixtures::draft(&scene.runtime, &[("A", 1)], 1),
    );
    scene.store.store(&draft).await.unwrap();
    let publishing = draft.start_publishing(scene.runtime.now()).unwrap();
    scene.store.put_drop(&Drop {
        id: "publishing".parse().unwrap(),
        ..publishing
    });
    for id in [
        "draft",
        "publishing",
        "nothing",
        "A",
        "a.b",
        "%FF",
        "a%2Fb",
        "123456789012345678901",
    ] {
        for path in [format!("/drops/{id}"), format!("/drops/{id}/status")] {
            let (status, problem) = scene.get(&path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(&problem["code"], &json!("not_found"), "{path}");
        }
    }
    assert_eq!(scene.get("/drops").await.1["drops"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_cancelled_drop_says_so() {
    let scene = Scene::new();
    scene.change(|drop| drop.cancel().unwrap()).await;
    let (_, body) = scene.get("/drops/d/status").await;
    assert_eq!(&body["phase"], &json!("cancelled"));
    assert_eq!(&body["skus"][0]["availability"], &json!("gone"));
    assert_eq!(scene.get("/drops").await.1["drops"][0]["phase"], "cancelled");
}

#[tokio::test(flavor = "current_thread")]
async fn the_list_comes_in_pages() {
    let scene = Scene::new();
    for n in 1..=6 {
        scene.runtime.advance(1_000);
        fixtures::open_drop(&scene.store, &scene.runtime, &format!("d{n}"), &[("A", 1)], 1);
    }
    let mut seen = Vec::new();
    let mut path = "/drops?limit=3".to_owned();
    loop {
        let (status, body) = scene.get(&path).await;
        assert_eq!(status, StatusCode::OK);
        let drops = body["drops"].as_array().unwrap();
        assert!(drops.len() <= 3);
        seen.extend(
            drops
                .iter()
                .map(|drop| drop["drop_id"].as_str().unwrap().to_owned()),
        );
        match body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/drops?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["d6", "d5", "d4", "d3", "d2", "d1", "d"]);
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "cursor=%FF",
        "limit=1&limit=2",
    ] {
        let (status, problem) = scene.get(&format!("/drops?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(&problem["code"], &json!("invalid_request"), "{query}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn other_methods_and_paths_get_problems() {
    let scene = Scene::new();
    for (method, path, status) in [
        ("POST", "/drops", StatusCode::METHOD_NOT_ALLOWED),
        ("DELETE", "/drops/d", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/drops/d/secrets", StatusCode::NOT_FOUND),
        ("GET", "/", StatusCode::NOT_FOUND),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let response = scene.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_large_drop_has_a_small_status() {
    let (store, runtime) = (MemoryStore::new(), TestRuntime::new(3));
    let names: Vec<String> = (0..40).map(|n| format!("SKU-NAME-{n:07}")).collect();
    let skus: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 2_400)).collect();
    let drop = fixtures::open_drop(&store, &runtime, "d", &skus, 1);
    assert!(drop.skus.iter().all(|sku: &Sku| sku.plan.shards() == 100));
    let scene = Scene {
        router: process(&store, &runtime),
        store,
        runtime,
    };
    let (_, body) = scene.get("/drops/d/status").await;
    assert!(body.to_string().len() < 4_096, "{}", body.to_string().len());
}

#[tokio::test(flavor = "current_thread")]
async fn an_unlisted_drop_is_found_by_its_address_alone() {
    let scene = Scene::new();
    // Among drops with the same start, the one with the higher id is first. Between any two listed drops there is an
    // unlisted one.
    for n in 0..6 {
        let id = format!("d{n}");
        let drop = fixtures::open_drop(&scene.store, &scene.runtime, &id, &[("A", 30)], 2);
        scene.store.put_drop(&Drop {
            listed: n % 2 == 0,
            ..drop
        });
    }
    for (limit, pages) in [
        (1, vec![vec!["d4"], vec!["d2"], vec!["d0"], vec!["d"]]),
        (2, vec![vec!["d4", "d2"], vec!["d0", "d"]]),
        (3, vec![vec!["d4", "d2", "d0"], vec!["d"]]),
        (100, vec![vec!["d4", "d2", "d0", "d"]]),
    ] {
        let mut seen = Vec::new();
        let mut path = format!("/drops?limit={limit}");
        loop {
            let (_, list) = scene.get(&path).await;
            let ids = list["drops"].as_array().unwrap().iter();
            seen.push(ids.map(|drop| drop["drop_id"].clone()).collect::<Vec<_>>());
            let Some(cursor) = list["next_cursor"].as_str() else {
                break;
            };
            path = format!("/drops?limit={limit}&cursor={cursor}");
        }
        assert_eq!(seen, pages, "limit {limit}");
    }
    // A position that no page ended with.
    let made_up = encode_cursor(scene.runtime.now(), &"zz".parse::<DropId>().unwrap());
    let (status, _) = scene.get(&format!("/drops?cursor={made_up}")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        scene.store.calls(Op::Published),
        1,
        "no cursor reaches the database"
    );
    for path in ["/drops/d1", "/drops/d1/status"] {
        let (status, body) = scene.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(&body["drop_id"], &json!("d1"), "{path}");
    }
}
