//! Prepares the adapter with a sandbox gateway, and with faulty servers.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::gateway::GatewayUnderTest;
use domain::ids::OrderId;
use domain::money::Money;
use memory::MemorySecret;
use ports::payment::{NewPayment, PaymentGateway, PaymentId};
use sandbox_gateway::log::{Event, Line};
use sandbox_gateway::{Options, serve};
use stripe::{Mode, StripeConfig, StripeGateway};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub(crate) const KEY: &str = "sk_test_sandbox";

/// A running sandbox gateway, which ends with the test's runtime.
pub(crate) struct Sandbox {
    pub(crate) url: String,
    log: PathBuf,
    now: Arc<AtomicU64>,
    _dir: TempDir,
}

impl Sandbox {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("gateway.jsonl");
        let now = Arc::new(AtomicU64::new(1_800_000_000_000));
        let ticking = Arc::clone(&now);
        let clock = Arc::new(move || ticking.fetch_add(1, Ordering::Relaxed));
        let mut options = Options::new(KEY, &log, 42, clock);
        change(&mut options);
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, options, std::future::pending()));
        Self {
            url,
            log,
            now,
            _dir: dir,
        }
    }

    pub(crate) fn adapter(&self) -> StripeGateway<MemorySecret> {
        adapter(&self.url, KEY, Duration::from_secs(20))
    }

    pub(crate) fn logged(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) async fn faults(&self, faults: serde_json::Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let set = client
            .post(format!("{}/sandbox/faults", self.url))
            .json(&faults)
            .send()
            .await
            .unwrap();
        assert_eq!(set.status(), 200);
    }
}

impl GatewayUnderTest for Sandbox {
    fn gateway(&self) -> impl PaymentGateway {
        self.adapter()
    }

    async fn finish_action(&self, payment: &PaymentId, succeeds: bool) {
        let outcome = if succeeds { "complete" } else { "fail" };
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/sandbox/authenticate/{payment}", self.url);
        let done = client
            .post(url)
            .form(&[("outcome", outcome)])
            .send()
            .await
            .unwrap();
        assert_eq!(done.status(), 200);
    }

    async fn charges(&self, order: &OrderId) -> usize {
        let charged = |line: &&Line| line.event == Event::Charged && line.order_id == order.as_str();
        self.logged().iter().filter(charged).count()
    }

    async fn store_failures(&self, after: Option<bool>) {
        let faults = match after {
            Some(false) => serde_json::json!({"stored_failure_before": 1.0}),
            Some(true) => serde_json::json!({"stored_failure_after": 1.0}),
            None => serde_json::json!({}),
        };
        self.faults(faults).await;
    }

    async fn throttle(&self, on: bool) {
        self.faults(serde_json::json!({"calls_per_second": on.then_some(1)}))
            .await;
    }

    fn let_keys_lapse(&self) {
        self.now.fetch_add(25 * 3_600_000, Ordering::Relaxed);
    }
}

pub(crate) fn adapter(url: &str, key: &str, total_timeout: Duration) -> StripeGateway<MemorySecret> {
    with_secret(url, MemorySecret::new(key), total_timeout)
}

pub(crate) fn with_secret(
    url: &str,
    secret: MemorySecret,
    total_timeout: Duration,
) -> StripeGateway<MemorySecret> {
    let mut config = StripeConfig::new(url, Mode::Test).unwrap();
    config.total_timeout = total_timeout;
    StripeGateway::new(&config, secret).unwrap()
}

pub(crate) fn order() -> OrderId {
    "oabcdefghijklmnopqrstuvwxyz".parse().unwrap()
}

pub(crate) fn new_payment() -> NewPayment {
    NewPayment {
        order: order(),
        amount: Money {
            amount_minor: 4900,
            currency: "EUR".parse().unwrap(),
        },
    }
}
