//! Tests the readiness of a drop, as operators see it.

use crate::support::{Scene, moment};
use axum::body::Body;
use capacity::numbers::Share;
use capacity::readiness::{Part, PartKind, Readiness, Ruling};
use domain::rate::CallRate;
use http::{Request, StatusCode};
use memory::{Fault, Op, TestRuntime};
use serde_json::{Value, json};

fn readiness() -> Readiness {
    let part = |kind, name: &str, wanted, there| Part {
        kind,
        name: name.to_owned(),
        wanted,
        there,
        ready: there >= wanted,
    };
    Readiness {
        drop: "d".parse().unwrap(),
        at: TestRuntime::START,
        ready: false,
        ready_by: TestRuntime::START.plus_seconds(40),
        estimated_at: TestRuntime::START.plus_seconds(100),
        on_course: false,
        parts: vec![
            part(PartKind::Function, "reserve", 300.0, 150.0),
            part(PartKind::Database, "database", 12.5, 12.5),
        ],
        ruling: Ruling::AdmitFewer,
        share: Share::of(1.0, 2.0),
        shoppers_per_second: 166.5,
        spill_over: 3,
    }
}

async fn asked(scene: &Scene, drop: &str) -> (StatusCode, Value) {
    let path = format!("{drop}/readiness");
    scene.send(scene.request("GET", &path, None, None)).await
}

#[tokio::test(flavor = "current_thread")]
async fn readiness_is_told_part_by_part() {
    let scene = Scene::new().published().await;
    scene.store.put_readiness(&readiness());
    let part = |kind: &str, name: &str, wanted: f64, there: f64, ready: bool| json!({"kind": kind, "name": name, "wanted": wanted, "there": there, "ready": ready});
    let mut expected = json!({
        "drop_id": "d",
        "checked_at": moment(0),
        "ready": false,
        "ready_by": moment(40),
        "estimated_ready_at": moment(100),
        "on_course": false,
        "parts": [
            part("function", "reserve", 300.0, 150.0, false),
            part("database", "database", 12.5, 12.5, true),
        ],
        "ruling": "admit_fewer",
        "share": 0.5,
        "shoppers_per_second": 166.5,
        "spill_over": 3,
    });
    assert_eq!(asked(&scene, "d").await, (StatusCode::OK, expected.clone()));

    let mut moved = readiness();
    moved.ruling = Ruling::MoveStart {
        to: TestRuntime::START.plus_seconds(160),
    };
    scene.store.put_readiness(&moved);
    expected["ruling"] = json!("move_start");
    expected["move_start_to"] = json!(moment(160));
    assert_eq!(asked(&scene, "d").await, (StatusCode::OK, expected));
}

#[tokio::test(flavor = "current_thread")]
async fn a_gateway_too_slow_for_the_drop_is_told_when_it_is_published_and_with_its_readiness() {
    // The drop has 75 units, and 60 seconds to pay. At 2 calls a second, two for each unit, all are paid after 75 s.
    for (rate, warned) in [(2, true), (3, false)] {
        let scene = Scene::with_gateway(CallRate::new(rate).unwrap());
        let (_, draft) = scene.put(&crate::support::body()).await;
        let (status, published) = scene.post("publish").await;
        assert_eq!(status, StatusCode::OK);
        scene.store.put_readiness(&readiness());
        let (_, ready) = asked(&scene, "d").await;
        for told in [draft, published, ready] {
            let Some(warnings) = told.get("warnings") else {
                assert!(!warned, "{told}");
                continue;
            };
            assert!(warned, "{told}");
            assert_eq!(warnings[0]["code"], "gateway_rate");
            let detail = warnings[0]["detail"].as_str().unwrap();
            assert!(detail.starts_with("75 units at 2 calls a second"), "{detail}");
            assert!(
                detail.contains("75 s") && detail.contains("GatewayCallsPerSecond"),
                "{detail}"
            );
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn it_is_never_cached_and_for_operators_only() {
    let scene = Scene::new().published().await;
    scene.store.put_readiness(&readiness());
    let request = scene.request("GET", "d/readiness", None, None);
    let response = tower::ServiceExt::oneshot(scene.router.clone(), request)
        .await
        .unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let bare = Request::get("/operator/drops/d/readiness").body(Body::empty());
    let (status, problem) = scene.send(bare.unwrap()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(&problem["code"], &json!("unauthenticated"));
}

#[tokio::test(flavor = "current_thread")]
async fn no_such_drop_and_not_prepared_yet_are_told_apart() {
    let scene = Scene::new();
    // The calendar of pre-scaling has an entry with a name that no drop has.
    scene.store.put_readiness(&readiness());
    for drop in ["d", "other", "Not-An-Id"] {
        let (status, problem) = asked(&scene, drop).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{drop}");
        assert_eq!(&problem["code"], &json!("not_found"), "{drop}");
    }

    let scene = Scene::new().published().await;
    let (status, problem) = asked(&scene, "d").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(&problem["code"], &json!("not_prepared"));
    assert!(
        problem["detail"].as_str().unwrap().contains("calendar"),
        "{problem}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_passing_fault_is_not_seen_and_a_silent_database_is_told() {
    let scene = Scene::new().published().await;
    scene.store.put_readiness(&readiness());
    for op in [Op::Drop, Op::Readiness] {
        scene.store.fail_next(op, Fault::Busy);
        assert_eq!(asked(&scene, "d").await.0, StatusCode::OK, "{op:?}");
        scene
            .store
            .set_plan(move |which, _| (which == op).then_some(Fault::UnknownBefore));
        let (status, problem) = asked(&scene, "d").await;
        scene.store.clear_plan();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{op:?}");
        assert_eq!(&problem["code"], &json!("throttled"), "{op:?}");
    }
}
