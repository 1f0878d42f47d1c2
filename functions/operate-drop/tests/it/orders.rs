//! Tests that orders which wait for the payment gateway are listed, kept and ended.

use axum::body::Body;
use contracts::fixtures::{self, as_first, key, placing_in};
use domain::drops::Drop;
use domain::order::{DeclineReason, EndReason, Order, OrderStatus};
use domain::saga::Cause;
use http::{Request, StatusCode};
use memory::{Fault, Op};
use ports::drops::StoreDrop as _;
use ports::orders::{AdvanceOrder as _, PlaceOrder as _, ReadOrder as _};
use ports::runtime::Clock as _;
use ports::stock::{AllocateStock as _, ClaimStock as _};
use serde_json::{Value, json};
use tokens::Audience;

use crate::support::Scene;

/// Places an order of `who` in the drop `autumn`, which is stored as a draft. These tests do not depend on
/// the publication of the drop.
async fn placed(scene: &Scene, index: u16, who: &str) -> Order {
    let drop: Drop = fixtures::draft("autumn", 100);
    scene.store.store(&drop).await.unwrap();
    scene.store.allocate(&key(index), 5).await.unwrap();
    let placing = as_first(placing_in(index, who, "k", 1, 2, scene.runtime.now()));
    let claimed = scene
        .store
        .claim(&key(index), &placing.order.shopper, &placing.hold)
        .await;
    assert!(claimed.unwrap().is_done());
    assert!(scene.store.place(&placing).await.unwrap().is_done());
    placing.order
}

async fn paying(scene: &Scene, index: u16, who: &str) -> Order {
    let order = placed(scene, index, who).await;
    let step = order
        .with_payment(format!("pi_{who}").parse().unwrap(), scene.runtime.now())
        .unwrap();
    assert!(scene.store.advance(&step).await.unwrap().is_done());
    step.order
}

async fn read(scene: &Scene, order: &Order) -> Order {
    scene.store.order(&order.id).await.unwrap().unwrap()
}

fn request(token: &str, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/operator/orders{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    request.body(body).unwrap()
}

async fn list(scene: &Scene, query: &str) -> (StatusCode, Value) {
    scene
        .send(request(&scene.token(), "GET", query, None, None))
        .await
}

async fn keep(scene: &Scene, order: &Order, key: &str, seconds: u32) -> (StatusCode, Value) {
    let path = format!("/{}/keep", order.id);
    let body = json!({ "seconds": seconds });
    scene
        .send(request(&scene.token(), "POST", &path, Some(key), Some(&body)))
        .await
}

async fn end(scene: &Scene, order: &Order, body: Value) -> (StatusCode, Value) {
    let path = format!("/{}/end", order.id);
    scene
        .send(request(&scene.token(), "POST", &path, None, Some(&body)))
        .await
}

#[tokio::test(flavor = "current_thread")]
async fn an_order_is_kept_for_as_long_as_said_and_once_for_each_key() {
    let scene = Scene::new();
    let order = paying(&scene, 0, "ada").await;
    scene.runtime.advance_seconds(7_200);
    let (status, late) = list(&scene, "?turn=gateway").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(&late["orders"][0]["late"], &json!(true));
    let now = scene.runtime.now();
    let (status, kept) = keep(&scene, &order, "one", 600).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(&kept["late"], &json!(false));
    assert_eq!(&kept["kept"], &json!(1));
    assert_eq!(read(&scene, &order).await.payment_deadline, now.plus_seconds(600));
    scene.runtime.advance_seconds(60);
    assert_eq!(
        keep(&scene, &order, "one", 600).await.1["version"],
        kept["version"],
        "a repeat"
    );
    assert_eq!(
        keep(&scene, &order, "one", 601).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let (_, again) = keep(&scene, &order, "two", 600).await;
    assert_eq!(again["kept"], 2);
    let stored = read(&scene, &order).await;
    assert_eq!(stored.history.count(Cause::Kept), 2);
    assert!(stored.follows_from_history());
    for bad in [0, 59, 86_401] {
        assert_eq!(
            keep(&scene, &order, "three", bad).await.0,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
    for n in 2..10 {
        assert_eq!(
            keep(&scene, &order, &format!("more-{n}"), 60).await.0,
            StatusCode::OK
        );
    }
    assert_eq!(keep(&scene, &order, "eleventh", 60).await.0, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "current_thread")]
async fn an_order_without_a_payment_ends_at_once_and_another_one_when_the_gateway_confirms() {
    let scene = Scene::new();
    let (fresh, charged) = (placed(&scene, 0, "ada").await, paying(&scene, 1, "bob").await);
    for _ in 0..2 {
        let (status, ended) = end(&scene, &fresh, json!({"not_at_gateway": false})).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(&ended["reason"], &json!("gateway_unavailable"));
        let (status, asked) = end(&scene, &charged, json!({"not_at_gateway": false})).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert_eq!(&asked["cancel_requested"], &json!("gateway_unavailable"));
        assert_eq!(&asked["status"], &json!("paying"));
    }
    let stored = read(&scene, &charged).await;
    assert_eq!(stored.history.count(Cause::GiveUpGateway), 1);
    assert!(!stored.is_not_at_gateway());
    assert_eq!(
        keep(&scene, &charged, "k", 600).await.0,
        StatusCode::CONFLICT,
        "it is to end"
    );
    for _ in 0..2 {
        let (status, stated) = end(&scene, &charged, json!({"not_at_gateway": true})).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert_eq!(&stated["not_at_gateway"], &json!(true));
    }
    assert_eq!(read(&scene, &charged).await.history.count(Cause::NotAtGateway), 1);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn one_act_is_enough_to_end_an_order_and_to_state_that_it_is_not_at_the_gateway() {
    let scene = Scene::new();
    let order = paying(&scene, 0, "ada").await;
    scene.store.fail_nth(Op::Advance, 2, Fault::UnknownAfter);
    assert_eq!(
        end(&scene, &order, json!({"not_at_gateway": true})).await.0,
        StatusCode::ACCEPTED
    );
    let stored = read(&scene, &order).await;
    assert!(stored.is_not_at_gateway() && stored.cancel_requested == Some(EndReason::GatewayUnavailable));
}

#[tokio::test(flavor = "current_thread")]
async fn who_waits_for_a_shopper_or_has_ended_is_neither_kept_nor_ended() {
    let scene = Scene::new();
    let (ada, bob) = (paying(&scene, 0, "ada").await, paying(&scene, 1, "bob").await);
    let failed = ada
        .declined(DeclineReason::CardDeclined, None, scene.runtime.now())
        .unwrap();
    let paid = bob.settle(scene.runtime.now()).unwrap();
    for step in [&failed, &paid] {
        assert!(scene.store.advance(step).await.unwrap().is_done());
    }
    for order in [&ada, &bob] {
        assert_eq!(keep(&scene, order, "k", 600).await.0, StatusCode::CONFLICT);
        assert_eq!(
            end(&scene, order, json!({"not_at_gateway": false})).await.0,
            StatusCode::CONFLICT
        );
        assert_eq!(
            end(&scene, order, json!({"not_at_gateway": true})).await.0,
            StatusCode::CONFLICT
        );
    }
    assert_eq!(read(&scene, &ada).await, failed.order);
    assert_eq!(read(&scene, &bob).await, paid.order);
    let nobody = placing_in(2, "eve", "k", 1, 2, scene.runtime.now()).order;
    assert_eq!(
        end(&scene, &nobody, json!({"not_at_gateway": false})).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        end(&scene, &ada, json!({"not_at_gateway": 1})).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test(flavor = "current_thread")]
async fn open_orders_are_listed_by_whose_turn_it_is_page_by_page() {
    let scene = Scene::new();
    let (mut gateways, mut shoppers) = (Vec::new(), Vec::new());
    for index in 0..24 {
        let who = format!("s{index}");
        let order = paying(&scene, index, &who).await;
        let now = scene.runtime.now();
        let step = match index % 4 {
            0 => order.settle(now),
            1 => order.declined(DeclineReason::CardDeclined, None, now),
            2 => order.request_cancel(EndReason::ByShopper, now),
            _ => {
                gateways.push(order.id.to_string());
                continue;
            }
        };
        let step = step.unwrap();
        assert!(scene.store.advance(&step).await.unwrap().is_done());
        match step.order.status {
            OrderStatus::Paying => gateways.push(step.order.id.to_string()),
            OrderStatus::PaymentFailed => shoppers.push(step.order.id.to_string()),
            _ => {}
        }
    }
    let mut both = [gateways.clone(), shoppers.clone()].concat();
    for (turn, expected) in [
        ("turn=gateway&", &mut gateways),
        ("turn=shopper&", &mut shoppers),
        ("", &mut both),
    ] {
        for limit in [1, 3, 100] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let (status, page) = list(&scene, &format!("?{turn}limit={limit}{cursor}")).await;
                assert_eq!(status, StatusCode::OK);
                let orders = page["orders"].as_array().unwrap();
                assert!(orders.len() <= limit);
                found.extend(
                    orders
                        .iter()
                        .map(|order| order["order_id"].as_str().unwrap().to_owned()),
                );
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            found.sort();
            expected.sort();
            assert_eq!(&found, expected, "{turn} {limit}");
        }
    }
    for bad in [
        "?turn=nobody",
        "?turn=gateway&turn=gateway",
        "?limit=0",
        "?cursor=x",
    ] {
        let (status, problem) = list(&scene, bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(problem["code"], "invalid_request", "{bad}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_for_unlisted_drops_neither_lists_nor_decides() {
    let scene = Scene::new();
    let order = paying(&scene, 0, "ada").await;
    let now = scene.runtime.now().as_seconds();
    let deployer = scene
        .deployer
        .sign(Audience::Operator, "smoke-x", now, now + 300)
        .unwrap();
    let shopper = scene.keys.sign(Audience::Shopper, "ada", now, now + 300).unwrap();
    let ending = format!("/{}/end", order.id);
    for (token, status) in [
        (&deployer, StatusCode::FORBIDDEN),
        (&shopper, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(scene.send(request(token, "GET", "", None, None)).await.0, status);
        let asked = request(
            token,
            "POST",
            &ending,
            None,
            Some(&json!({"not_at_gateway": false})),
        );
        assert_eq!(scene.send(asked).await.0, status);
    }
    assert_eq!(read(&scene, &order).await, order);
}
