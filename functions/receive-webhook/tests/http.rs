//! Tests the webhooks' route, on a queue and a secret in memory.
#![cfg(test)]

use axum::Router;
use axum::body::Body;
use data_encoding::HEXLOWER;
use domain::ids::OrderId;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use memory::{MemoryQueues, MemorySecret, SendFault, TestRuntime};
use ports::runtime::Clock as _;
use ports::secrets::SecretError;
use receive_webhook::Webhooks;
use ring::hmac;
use serde_json::{Value, json};
use stripe::webhook::{MAX_BODY_BYTES, TOLERANCE_SECONDS};
use tower::ServiceExt as _;

const PATH: &str = "/payments/stripe/webhook";
const SECRET: &str = "whsec_current";
const ORDER: &str = "oaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Scene {
    router: Router,
    secret: MemorySecret,
    queues: MemoryQueues,
    runtime: TestRuntime,
}

fn event(id: &str, kind: &str, order: &str) -> String {
    json!({"id": id, "object": "event", "type": kind,
           "data": {"object": {"id": "pi_1", "metadata": {"order_id": order}}}})
    .to_string()
}

fn paid(id: &str) -> String {
    event(id, "payment_intent.succeeded", ORDER)
}

impl Scene {
    fn new() -> Self {
        let (secret, queues, runtime) = (
            MemorySecret::new(SECRET),
            MemoryQueues::new(),
            TestRuntime::new(1),
        );
        let router = Webhooks::router(secret.clone(), queues.clone(), runtime.clone());
        Self {
            router,
            secret,
            queues,
            runtime,
        }
    }

    fn signature(&self, secret: &str, body: &str, before_seconds: i64) -> String {
        let at = self.runtime.now().as_millis() / 1_000 - before_seconds;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = hmac::sign(&key, format!("{at}.{body}").as_bytes());
        format!("t={at},v1={}", HEXLOWER.encode(signature.as_ref()))
    }

    async fn call(&self, path: &str, signature: Option<&str>, body: &str) -> (StatusCode, Value) {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(signature) = signature {
            request = request.header("Stripe-Signature", signature);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let is_problem = response.headers()[header::CONTENT_TYPE] == "application/problem+json";
        assert_eq!(is_problem, status != StatusCode::OK, "{status}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Sends a body with the signature that the gateway would make now.
    async fn send(&self, body: &str) -> u16 {
        let signature = self.signature(SECRET, body, 0);
        self.call(PATH, Some(&signature), body).await.0.as_u16()
    }

    fn hinted(&self) -> Vec<String> {
        self.queues
            .hints()
            .iter()
            .map(|hint| hint.event.clone())
            .collect()
    }
}

#[tokio::test]
async fn a_signed_event_becomes_a_hint_and_a_repeat_none() {
    let scene = Scene::new();
    assert_eq!(scene.send(&paid("evt_1")).await, 200);
    let order: OrderId = ORDER.parse().unwrap();
    assert_eq!(scene.queues.hints()[0].order, order);
    assert_eq!(scene.send(&paid("evt_1")).await, 200);
    assert_eq!(scene.hinted(), ["evt_1"], "a repeat needs no second hint");
    assert_eq!(scene.send(&paid("evt_2")).await, 200);
    assert_eq!(scene.hinted(), ["evt_1", "evt_2"]);
}

#[tokio::test]
async fn what_the_gateway_did_not_sign_is_refused_and_queues_nothing() {
    let scene = Scene::new();
    let body = paid("evt_1");
    let good = scene.signature(SECRET, &body, 0);
    let other = scene.signature("whsec_other", &body, 0);
    let old = scene.signature(SECRET, &body, TOLERANCE_SECONDS + 1);
    let changed = body.replace("evt_1", "evt_2");
    for (what, signature, body) in [
        ("no signature", None, &body),
        ("no form", Some("x"), &body),
        ("another secret", Some(other.as_str()), &body),
        ("an old time", Some(&old), &body),
        ("a changed body", Some(&good), &changed),
    ] {
        let (status, problem) = scene.call(PATH, signature, body).await;
        assert_eq!(status.as_u16(), 401, "{what}");
        assert_eq!(&problem["code"], &json!("unauthenticated"), "{what}");
        assert!(!problem.to_string().contains("evt_"), "{what}: {problem}");
    }
    assert!(scene.hinted().is_empty());
    assert_eq!(scene.call(PATH, Some(&good), &body).await.0, 200);
}

#[tokio::test]
async fn a_replaced_secret_is_read_after_a_refusal_and_two_are_valid() {
    let scene = Scene::new();
    assert_eq!(scene.send(&paid("evt_1")).await, 200);
    scene.secret.rotate("whsec_next whsec_current");
    let body = paid("evt_2");
    let next = scene.signature("whsec_next", &body, 0);
    assert_eq!(
        scene.call(PATH, Some(&next), &body).await.0,
        401,
        "the former is cached"
    );
    assert_eq!(scene.call(PATH, Some(&next), &body).await.0, 200);
    assert_eq!(scene.send(&paid("evt_3")).await, 200, "the former is still valid");
    assert_eq!(scene.secret.refusals(), 1);
}

#[tokio::test]
async fn without_secret_or_queue_the_gateway_is_asked_to_send_again() {
    let scene = Scene::new();
    scene.secret.fail(SecretError::Unavailable);
    assert_eq!(scene.send(&paid("evt_1")).await, 503);
    for unusable in ["a b c", " "] {
        scene.secret.rotate(unusable);
        assert_eq!(scene.send(&paid("evt_1")).await, 503);
    }
    scene.secret.rotate(SECRET);
    for _ in 0..20 {
        scene.queues.fail_next_event(Some(SendFault::Lost));
    }
    assert_eq!(scene.send(&paid("evt_1")).await, 503);
    assert!(scene.hinted().is_empty());
    let scene = Scene {
        queues: scene.queues,
        ..Scene::new()
    };
    assert_eq!(scene.send(&paid("evt_1")).await, 200);
}

#[tokio::test]
async fn an_event_that_ends_no_order_of_ours_is_answered_and_ignored() {
    let scene = Scene::new();
    for body in [
        event("evt_1", "payment_intent.created", ORDER),
        event("evt_2", "invoice.paid", ORDER),
        event("evt_3", "payment_intent.succeeded", "somebody else's"),
        json!({"id": "evt_4", "type": "payment_intent.canceled", "data": {"object": {}}}).to_string(),
    ] {
        assert_eq!(scene.send(&body).await, 200, "{body}");
    }
    assert!(scene.hinted().is_empty());
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let scene = Scene::new();
    for body in ["", "{", "[]", "{}"] {
        assert_eq!(scene.send(body).await, 400, "{body}");
    }
    let long = " ".repeat(MAX_BODY_BYTES + 1);
    assert_eq!(scene.send(&long).await, 413);
    let longest = format!(
        "{}{}",
        paid("evt_1"),
        " ".repeat(MAX_BODY_BYTES - paid("evt_1").len())
    );
    assert_eq!(scene.send(&longest).await, 200);
}

#[tokio::test]
async fn only_the_configured_gateway_has_a_path() {
    let scene = Scene::new();
    let body = paid("evt_1");
    let signature = scene.signature(SECRET, &body, 0);
    for path in [
        "/payments/paypal/webhook",
        "/payments/Stripe/webhook",
        "/payments/stripe",
    ] {
        assert_eq!(scene.call(path, Some(&signature), &body).await.0, 404, "{path}");
    }
    assert!(scene.hinted().is_empty());
}
