//! Tests that the deployer can act on unlisted drops only.

use crate::support::{Scene, body, moment};
use axum::body::Body;
use http::{Request, StatusCode};
use memory::TestRuntime;
use serde_json::{Value, json};
use tokens::{Audience, SigningKey};

/// Every operation on one drop except `PUT`, with a valid body.
fn acts() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        ("GET", "d", None),
        ("GET", "d/readiness", None),
        ("POST", "d/publish", None),
        ("POST", "d/pause", None),
        ("POST", "d/resume", None),
        ("POST", "d/reschedule", Some(json!({"starts_at": moment(120)}))),
        ("POST", "d/message", Some(json!({"message": "Soon."}))),
        ("POST", "d/extend", Some(json!({"ends_at": moment(300)}))),
        ("POST", "d/restock", Some(json!({"sku": "TEE-L", "units": 5}))),
        ("POST", "d/cancel", None),
    ]
}

fn unlisted() -> Value {
    let mut body = body();
    body["listed"] = json!(false);
    body
}

impl Scene {
    fn by(
        &self,
        key: &SigningKey,
        name: &str,
        life: i64,
        (method, path, body): (&str, &str, Option<&Value>),
    ) -> Request<Body> {
        let now = TestRuntime::START.as_seconds();
        let token = key.sign(Audience::Operator, name, now, now + life).unwrap();
        let mut request = self.request(method, path, Some("k"), body);
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        request
    }

    async fn deploys(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.by(&self.deployer, "smoke-1", 300, (method, path, body));
        let (status, body) = self.send(request).await;
        (status.as_u16(), body)
    }

    async fn is_forbidden(&self, method: &str, path: &str, body: Option<&Value>) {
        let (status, problem) = self.deploys(method, path, body).await;
        let told = (status, problem["code"].as_str());
        assert_eq!(told, (403, Some("forbidden")), "{method} {path}: {problem}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_act_on_a_listed_drop_is_refused() {
    let scene = Scene::new();
    scene.is_forbidden("PUT", "d", Some(&body())).await;
    let mut said = body();
    said["listed"] = json!(true);
    scene.is_forbidden("PUT", "d", Some(&said)).await;
    assert_eq!(scene.drop().await, None);

    // Every operation is refused on a listed draft, and again after the drop is published.
    let scene = Scene::new();
    assert_eq!(scene.put(&body()).await.0, StatusCode::CREATED);
    for publish in [true, false] {
        let before = scene.all().await;
        for (method, path, body) in acts() {
            scene.is_forbidden(method, path, body.as_ref()).await;
        }
        for contents in [body(), unlisted()] {
            scene.is_forbidden("PUT", "d", Some(&contents)).await;
        }
        assert_eq!(scene.all().await, before);
        if publish {
            assert_eq!(scene.post("publish").await.0, StatusCode::OK);
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_act_on_an_unlisted_drop_is_done() {
    let scene = Scene::new();
    let (status, view) = scene.deploys("PUT", "d", Some(&unlisted())).await;
    assert_eq!(status, 201);
    assert_eq!(&view["listed"], &json!(false));
    scene.is_forbidden("PUT", "d", Some(&body())).await;
    for (method, path, body) in acts() {
        let (status, answer) = scene.deploys(method, path, body.as_ref()).await;
        let expected = if path.ends_with("readiness") { 404 } else { 200 };
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
    assert_eq!(scene.deploys("GET", "nothing", None).await.0, 404);
}

#[tokio::test(flavor = "current_thread")]
async fn an_operator_lists_a_draft_and_then_the_deployer_is_refused() {
    let scene = Scene::new();
    assert_eq!(scene.deploys("PUT", "d", Some(&unlisted())).await.0, 201);
    let (status, view) = scene.put(&body()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(&view["listed"], &json!(true));
    scene.is_forbidden("POST", "d/publish", None).await;
    assert_eq!(scene.post("publish").await.0, StatusCode::OK);
    let (status, problem) = scene.put(&unlisted()).await;
    assert_eq!(status, StatusCode::CONFLICT, "a published drop stays listed");
    assert_eq!(
        problem["code"].as_str(),
        Some("wrong_state"),
        "a published drop stays listed"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_deployers_token_is_short_and_says_so_in_its_subject() {
    let scene = Scene::new();
    let body = unlisted();
    for (what, key, name, life) in [
        ("too long", &scene.deployer, "smoke-1", 301),
        ("as an operator", &scene.deployer, "olga", 300),
        ("an operator as the deployer", &scene.keys, "smoke-1", 300),
    ] {
        let request = scene.by(key, name, life, ("PUT", "d", Some(&body)));
        let (status, problem) = scene.send(request).await;
        let told = (status.as_u16(), problem["code"].as_str());
        assert_eq!(told, (401, Some("unauthenticated")), "{what}");
    }
    assert_eq!(scene.drop().await, None);
}
