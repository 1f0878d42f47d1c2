//! Prepares the function on a store in memory, and sends operators' requests to it.
#![allow(dead_code, unreachable_pub)]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use domain::drops::Drop;
use domain::rate::CallRate;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use memory::{MemoryStore, TestRuntime};
use operate_drop::Api;
use ports::drops::ReadDrop as _;
use ports::runtime::Clock as _;
use serde_json::{Value, json};
use tokens::{Audience, KeySet, SigningKey, Verifier};
use tower::ServiceExt as _;

pub struct Scene {
    pub store: MemoryStore,
    pub runtime: TestRuntime,
    pub keys: SigningKey,
    pub deployer: SigningKey,
    pub router: Router,
}

/// A time of the test's clock, in seconds from its start, in the API's format.
pub fn moment(seconds: u32) -> String {
    let at = api::moment::Moment(TestRuntime::START.plus_seconds(seconds));
    serde_json::to_value(at).unwrap().as_str().unwrap().to_owned()
}

/// A valid body: starts in 100 seconds and lasts 100 seconds; 70 units in shards of 24, and 5 units.
pub fn body() -> Value {
    json!({
        "title": "Autumn", "currency": "EUR", "starts_at": moment(100), "ends_at": moment(200),
        "hold_seconds": 60, "payment_seconds": 60, "per_shopper_limit": 2, "expected_shoppers": 1000,
        "skus": [
            {"sku": "TEE-M", "title": "Tee, M", "price_minor": 4900, "units": 70},
            {"sku": "TEE-L", "title": "Tee, L", "price_minor": 4900, "units": 5},
        ],
    })
}

impl Scene {
    pub fn new() -> Self {
        Self::with_gateway(CallRate::HIGHEST)
    }

    /// Makes the function for a payment gateway that is called at `rate`.
    pub fn with_gateway(rate: CallRate) -> Self {
        let (store, runtime, keys) = (
            MemoryStore::new(),
            TestRuntime::new(11),
            SigningKey::generate("a").unwrap(),
        );
        let deployer = SigningKey::generate("deployer").unwrap();
        let operators = Verifier::new(Audience::Operator, KeySet::of(&[&keys]).unwrap())
            .with_deployers(KeySet::of(&[&deployer]).unwrap())
            .unwrap();
        let port = || store.clone();
        let router = Api::router(port(), port(), port(), port(), rate, operators, runtime.clone());
        Self {
            store,
            runtime,
            keys,
            deployer,
            router,
        }
    }

    pub fn token(&self) -> String {
        let now = self.runtime.now().as_seconds();
        self.keys
            .sign(Audience::Operator, "olga", now, now + 600)
            .unwrap()
    }

    /// Makes an operator's request, with an optional body and key.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/operator/drops/{path}"))
            .header("authorization", format!("Bearer {}", self.token()));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        }
        .unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub async fn put(&self, body: &Value) -> (StatusCode, Value) {
        self.send(self.request("PUT", "d", None, Some(body))).await
    }

    pub async fn post(&self, act: &str) -> (StatusCode, Value) {
        self.send(self.request("POST", &format!("d/{act}"), None, None))
            .await
    }

    pub async fn extend(&self, seconds: u32) -> (StatusCode, Value) {
        let body = json!({"ends_at": moment(seconds)});
        self.send(self.request("POST", "d/extend", None, Some(&body)))
            .await
    }

    pub async fn restock(&self, key: &str, sku: &str, units: i64) -> (StatusCode, Value) {
        let body = json!({"sku": sku, "units": units});
        self.send(self.request("POST", "d/restock", Some(key), Some(&body)))
            .await
    }

    pub async fn published(self) -> Self {
        assert_eq!(self.put(&body()).await.0, StatusCode::CREATED);
        assert_eq!(self.post("publish").await.0, StatusCode::OK);
        self
    }

    pub async fn drop(&self) -> Option<Drop> {
        self.store.drop(&"d".parse().unwrap()).await.unwrap()
    }

    /// Reads the stored drop and all stock shards, to compare two states.
    pub async fn all(&self) -> (Option<Drop>, String) {
        (self.drop().await, format!("{:?}", self.store.shards()))
    }
}

/// Polls `work` this many times and then drops it, as the death of its process would; `None` if it was not
/// finished. Each call of a memory port needs one more poll.
pub async fn killed_after<F: Future>(polls: usize, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}
