//! Serves a small API on a free port of 127.0.0.1 that answers as a test specifies and records its
//! requests.
#![allow(dead_code, unreachable_pub)]

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use loadtest::behaviour::{Plan, plan};
use loadtest::client::Client;
use loadtest::drop_file::DropFile;
use loadtest::facts::{DropFacts, SkuFacts};
use loadtest::journal::Journal;
use loadtest::measure::Recorder;
use loadtest::world::{Addresses, Opening, Tally, World};
use tokio::net::TcpListener;
use tokio::time::Instant;

pub const DROP: &str = "d";
pub const START_MS: i64 = 1_800_000_000_000;

/// A request that the small API received, as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub key: Option<String>,
    pub bearer: Option<String>,
    pub body: String,
}

pub type Log = Arc<Mutex<Vec<Seen>>>;

/// Serves `answer` until the runtime ends; returns the base URL and the log of requests.
pub async fn serve<F, A>(answer: F) -> (String, Log)
where
    F: Fn(Seen, usize) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = (u16, String)> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let log: Log = Log::default();
    let shared = Arc::clone(&log);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, log) = (answer.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, log) = (answer.clone(), Arc::clone(&log));
                    async move {
                        let (seen, number) = note(request, &log).await;
                        let (status, body) = answer(seen, number).await;
                        let response = Response::builder()
                            .status(status)
                            .body(Full::new(Bytes::from(body)))
                            .unwrap();
                        Ok::<_, Infallible>(response)
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (url, log)
}

async fn note(request: Request<Incoming>, log: &Log) -> (Seen, usize) {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let body = body.collect().await.unwrap().to_bytes();
    let seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        key: header("idempotency-key"),
        bearer: header("authorization"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let mut log = log.lock().unwrap();
    log.push(seen.clone());
    let number = log.len();
    (seen, number)
}

/// Makes a drop file for tests: short, one SKU, every shopper buys.
pub fn drop_file() -> DropFile {
    let mut file = DropFile::parse(include_str!("../../../drops/default.toml")).unwrap();
    file.skus.truncate(1);
    let b = &mut file.behaviour;
    b.opens_page = 0.0;
    b.opens_list = 0.0;
    b.abandons = 0.0;
    b.releases = 0.0;
    b.cancels = 0.0;
    b.double_clicks = 0.0;
    b.reloads = 0.0;
    b.checkout_after_seconds = [0.0, 0.0];
    b.cards.works = 1.0;
    for rare in [
        &mut b.cards.declined,
        &mut b.cards.action_completed,
        &mut b.cards.action_failed,
        &mut b.cards.action_ignored,
        &mut b.cards.timeout_before_charge,
        &mut b.cards.timeout_after_charge,
    ] {
        *rare = 0.0;
    }
    file
}

/// Makes the shared state of a run whose drop opens now.
pub fn world(url: &str, folder: &Path, file: DropFile) -> Arc<World> {
    let facts = DropFacts {
        drop_id: DROP.into(),
        published_at_ms: START_MS - 8_000,
        starts_at_ms: START_MS,
        ends_at_ms: START_MS + 85_000,
        hold_seconds: file.hold_seconds,
        payment_seconds: file.payment_seconds,
        per_shopper_limit: file.per_shopper_limit,
        skus: file
            .skus
            .iter()
            .map(|s| SkuFacts {
                sku: s.sku.clone(),
                units: s.units,
            })
            .collect(),
    };
    Arc::new(World {
        reach: Arc::new(Client::new(Duration::from_secs(30))),
        addresses: Addresses::new(url, DROP).unwrap(),
        journal: Journal::create(&folder.join("journal.jsonl"), &facts).unwrap(),
        facts,
        file,
        opening: Opening {
            wall_ms: START_MS,
            instant: Instant::now(),
        },
        recorder: Recorder::default(),
        tally: Tally::default(),
        tries: loadtest::faults::TRIES,
    })
}

/// Makes the plan of shopper number `index` of a run.
pub fn shopper(world: &World, index: u32) -> Plan {
    plan(&world.file, 1, index)
}

pub fn bearer() -> HeaderValue {
    HeaderValue::from_static("Bearer t")
}
