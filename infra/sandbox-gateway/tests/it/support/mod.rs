//! Starts a sandbox on a free port, and a client that uses it over plain HTTP.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use sandbox_gateway::log::{Event, Line};
use sandbox_gateway::{Options, serve};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "sk_test_sandbox";

pub(crate) struct Sandbox {
    pub(crate) base: String,
    pub(crate) client: Client,
    pub(crate) dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) replayed: bool,
    pub(crate) body: Value,
}

impl Sandbox {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicU64::new(1_760_000_000_000));
        let clock = Arc::new(move || now.fetch_add(1, Ordering::Relaxed));
        let mut options = Options::new(KEY, dir.path().join("gateway.jsonl"), 42, clock);
        options.slow = Duration::from_millis(300);
        change(&mut options);
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, options, async move {
            let _ = stopped.await;
        }));
        // The client requires a TLS provider even for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            base,
            client,
            dir,
            stop: Some(stop),
            task,
        }
    }

    /// Stops the sandbox and waits until it has ended.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        drop(self.client);
        self.task.await.unwrap().unwrap();
    }

    pub(crate) fn request(
        &self,
        path: &str,
        key: Option<&str>,
        form: &[(&str, &str)],
    ) -> reqwest::RequestBuilder {
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .bearer_auth(KEY)
            .form(form);
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    }

    pub(crate) async fn post(&self, path: &str, key: Option<&str>, form: &[(&str, &str)]) -> Answer {
        answer(self.request(path, key, form).send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(
            self.client
                .get(format!("{}{path}", self.base))
                .bearer_auth(KEY)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn create(&self, order: &str, method: &str) -> String {
        let form = [
            ("amount", "4900"),
            ("currency", "eur"),
            ("payment_method", method),
            ("metadata[order_id]", order),
            ("confirm", "false"),
        ];
        let made = self
            .post("/v1/payment_intents", Some(&format!("{order}/create")), &form)
            .await;
        assert_eq!(made.status, 200, "{}", made.body);
        made.body["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn confirm(&self, id: &str, key: &str) -> Answer {
        let form = [("return_url", "https://shop.example/return")];
        self.post(&format!("/v1/payment_intents/{id}/confirm"), Some(key), &form)
            .await
    }

    pub(crate) async fn status(&self, id: &str) -> String {
        let shown = self.get(&format!("/v1/payment_intents/{id}")).await;
        shown.body["status"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn faults(&self, faults: Value) -> StatusCode {
        self.client
            .post(format!("{}/sandbox/faults", self.base))
            .json(&faults)
            .send()
            .await
            .unwrap()
            .status()
    }

    pub(crate) async fn no_faults(&self) {
        assert_eq!(self.faults(json!({})).await, 200);
    }

    pub(crate) async fn log(&self) -> Vec<Line> {
        let text = self
            .client
            .get(format!("{}/sandbox/log", self.base))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) async fn count(&self, event: Event) -> usize {
        self.log().await.iter().filter(|line| line.event == event).count()
    }
}

pub(crate) async fn answer(response: Response) -> Answer {
    Answer {
        status: response.status(),
        replayed: response
            .headers()
            .get("idempotent-replayed")
            .is_some_and(|value| value == "true"),
        body: response.json().await.unwrap_or(Value::Null),
    }
}
