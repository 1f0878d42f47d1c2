//! Starts the stack and a client, and makes the calls of a shopper and an operator.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use stack_api::StackFile;
use stampede_local::faults::FaultPlan;
use stampede_local::runtime::DEFAULT_CONCURRENCY;
use stampede_local::stack::{Options, Stack};
use stampede_local::workdir::Signer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokens::SigningKey;

use super::people::Plan;

/// The stack's folder, under the target folder so that it can be read after a failure.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/journeys");

pub(crate) struct World {
    pub(crate) file: StackFile,
    pub(crate) shoppers: SigningKey,
    pub(crate) operators: SigningKey,
    pub(crate) deployer: SigningKey,
    client: Client<HttpConnector, Full<Bytes>>,
    /// The drops that the audit checks.
    pub(crate) drops: Mutex<Vec<String>>,
}

/// A complete answer; `json` is null if the body is not JSON.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// Fails unless the answer has this status, and returns the body.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.json);
        self.json
    }

    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.json);
        assert_eq!(self.code(), code, "{}", self.json);
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The time `from_now_ms` milliseconds from now, in the API's format.
pub(crate) fn moment(from_now_ms: i64) -> String {
    let nanos = i128::from(now_ms() + from_now_ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap()
        .format(&Rfc3339)
        .unwrap()
}

/// A time in the API's format, in milliseconds since 1970.
pub(crate) fn millis(moment: &Value) -> i64 {
    let at = OffsetDateTime::parse(moment.as_str().unwrap(), &Rfc3339).unwrap();
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap()
}

/// Calls `ask` until it returns a value; fails with `what` after a minute.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// Waits until this machine's clock, which all processes share, has reached `at_ms`.
pub(crate) async fn until_clock(at_ms: i64) {
    while now_ms() < at_ms {
        tokio::time::sleep(Duration::from_millis(
            (at_ms - now_ms()).clamp(1, 500).unsigned_abs(),
        ))
        .await;
    }
}

impl World {
    pub(crate) async fn start() -> anyhow::Result<(Stack, &'static Self)> {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let test = std::env::current_exe()?;
        let binaries = test.parent().and_then(Path::parent).unwrap_or(crate_folder);
        let options = Options {
            template: crate_folder.join("../template.yaml"),
            binaries: binaries.to_owned(),
            out: FOLDER.into(),
            tools: crate_folder.join("../../.tools"),
            control_planes: None,
            concurrency: DEFAULT_CONCURRENCY,
            as_aws: None,
            account_concurrency: 64,
            function_log: Some("info".to_owned()),
            seed: 1,
            faults: FaultPlan::default(),
            fault_seed: 1,
            gateway_rate: None,
        };
        let stack = Stack::start(&options).await?;
        let key = |signer| stampede_local::workdir::key(Path::new(FOLDER), signer);
        let world = Self {
            file: stack.file.clone(),
            shoppers: key(Signer::Shopper)?,
            operators: key(Signer::Operator)?,
            deployer: key(Signer::Deployer)?,
            client: Client::builder(TokioExecutor::new()).build_http(),
            drops: Mutex::default(),
        };
        Ok((stack, Box::leak(Box::new(world))))
    }

    #[allow(clippy::unused_self, reason = "a stack's logs")]
    pub(crate) fn logs(&self) -> String {
        format!("{FOLDER}/logs")
    }

    /// Sends a request. An answer 503 that a function or API Gateway gives for a lack of capacity is retried for up to
    /// a minute, as the API documentation asks.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Reply {
        let began = Instant::now();
        loop {
            let reply = self
                .exchange(request.clone())
                .await
                .unwrap_or_else(|e| panic!("{}: {e:?}", request.uri()));
            let throttled =
                reply.status == 503 && (reply.code() == "throttled" || reply.json.get("message").is_some());
            if !throttled {
                return reply;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "throttled for a minute: {}",
                request.uri()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sends a request once. Returns an error when the connection ends before the answer.
    pub(crate) async fn exchange(
        &self,
        request: Request<Bytes>,
    ) -> Result<Reply, hyper_util::client::legacy::Error> {
        let name = format!("{} {:.100}", request.method(), request.uri().to_string());
        let answer = self.client.request(request.map(Full::new));
        let (parts, body) = tokio::time::timeout(Duration::from_secs(60), answer)
            .await
            .unwrap_or_else(|_| panic!("{name} was not answered"))?
            .into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            json: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.file.api_url)
    }

    /// Sends a request with a token (unless it is empty), and with the idempotency key and the body if given.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(self.url(path));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, "", None, None).await
    }

    /// Requests `path` from the control endpoint with GET, and returns the answer.
    pub(crate) async fn control(&self, path: &str) -> Value {
        let request = Request::get(format!("{}{path}", self.file.control_url)).body(Bytes::new());
        self.send(request.unwrap()).await.expect(200)
    }

    pub(crate) async fn operate(
        &self,
        drop: &str,
        act: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Reply {
        let (method, path) = match act {
            "put" => (Method::PUT, format!("/operator/drops/{drop}")),
            "get" => (Method::GET, format!("/operator/drops/{drop}")),
            act => (Method::POST, format!("/operator/drops/{drop}/{act}")),
        };
        self.call(method, &path, &self.file.operator_token, key, body)
            .await
    }

    /// Publishes a drop that is already open, or that opens `opens_in_ms` from now.
    pub(crate) async fn publish(&self, plan: &Plan<'_>) {
        self.operate(plan.drop, "put", None, Some(plan.body()))
            .await
            .expect(201);
        let published = self.operate(plan.drop, "publish", None, None).await.expect(200);
        assert_eq!(published["state"], "scheduled");
        self.drops.lock().unwrap().push(plan.drop.to_owned());
    }

    /// Waits until all SKUs of a drop have this availability, and returns the drop's status.
    pub(crate) async fn until_available(&self, drop: &str, availability: &str) -> Value {
        until(&format!("{drop} is {availability}"), || async move {
            let reply = self.get(&format!("/drops/{drop}/status")).await;
            // A process that cached the drop before its publication may answer 404 for one more second.
            if reply.status == 404 {
                return None;
            }
            let status = reply.expect(200);
            let all = status["skus"]
                .as_array()
                .unwrap()
                .iter()
                .all(|s| s["availability"] == availability);
            all.then_some(status)
        })
        .await
    }
}
