//! Contains helpers for the tests of the stack's parts.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stampede_local::child::Spawner;
use stampede_local::faults::Faults;
use stampede_local::meter::Meter;
use stampede_local::runtime::{Functions, OnDemand, Settings};
use stampede_local::template::{Function, Model};
use tempfile::TempDir;

/// Makes a model without functions, tables and queues.
pub fn empty() -> Model {
    Model {
        functions: BTreeMap::new(),
        tables: BTreeMap::new(),
        queues: BTreeMap::new(),
        cors: None,
    }
}

/// Makes a function with default settings, whose binary is the probe.
pub fn probe(name: &str) -> Function {
    Function {
        name: name.to_owned(),
        timeout: Duration::from_secs(5),
        memory_mb: 128,
        environment: BTreeMap::new(),
        routes: Vec::new(),
        queues: Vec::new(),
        streams: Vec::new(),
        schedules: Vec::new(),
        async_retries: 0,
        reserved: None,
        statements: Vec::new(),
        log_group: None,
        in_network: false,
    }
}

pub fn probe_binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_probe"))
}

/// Runs functions in a temporary folder. The binary of every function is the probe.
pub struct Bench {
    pub functions: Arc<Functions>,
    pub meter: Arc<Meter>,
    pub folder: TempDir,
}

impl Bench {
    pub fn new(model: &Model, concurrency: usize) -> Self {
        Self::with_faults(model, concurrency, Arc::default())
    }

    pub fn with_faults(model: &Model, concurrency: usize, faults: Arc<Faults>) -> Self {
        Self::of(model, concurrency, faults, OnDemand::default())
    }

    /// Makes a bench that starts processes as Lambda does.
    pub fn as_lambda(model: &Model, concurrency: usize, platform_share: Duration) -> Self {
        let on_demand = OnDemand::AsLambda { platform_share };
        Self::of(model, concurrency, Arc::default(), on_demand)
    }

    fn of(model: &Model, concurrency: usize, faults: Arc<Faults>, on_demand: OnDemand) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in model.functions.keys() {
            std::os::unix::fs::symlink(probe_binary(), folder.path().join(name)).unwrap();
        }
        let meter = Arc::new(Meter::default());
        let log = folder.path().join("probe.txt").to_str().unwrap().to_owned();
        let settings = Settings {
            binaries: folder.path().to_owned(),
            logs: folder.path().to_owned(),
            concurrency,
            on_demand,
            account_concurrency: 64,
            environment: BTreeMap::from([("PROBE_LOG".to_owned(), log)]),
            faults,
        };
        let functions = Functions::new(model, settings, Spawner::start().unwrap(), Arc::clone(&meter));
        Self {
            functions: Arc::new(functions),
            meter,
            folder,
        }
    }

    /// Reads the lines that the probes wrote to the file of `PROBE_LOG`.
    pub fn notes(&self) -> Vec<String> {
        read_lines(&self.folder.path().join("probe.txt"))
    }
}

fn read_lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Sends a GET request, and returns the answer's head and body as text.
pub fn get(url: &str, path: &str) -> String {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until `condition` holds; fails with `what` after 20 s.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let began = Instant::now();
    while !condition().await {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
