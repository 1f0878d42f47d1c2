//! One process of a function, from start to end.

use std::fs::OpenOptions;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::pool::{Failure, Invocation, Pool};
use super::scaling::Bucket;
use super::{INIT_LIMIT, api};
use crate::child::Spawner;
use crate::permissions::access_key;
use crate::template::REGION;

/// Functions yield to the load generator and to the stack, whose clocks matter more.
const NICENESS: i32 = 5;

/// The reply that an invocation is still owed.
#[derive(Debug)]
struct Owed {
    invocation: Invocation,
    reply: oneshot::Sender<Result<Bytes, Failure>>,
}

/// One process.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Started before any request wanted it.
    ahead: bool,
    /// Held until it has started.
    turn: Mutex<Option<OwnedSemaphorePermit>>,
    leaving: AtomicBool,
    /// What it may serve, as on Lambda; made with its first request.
    requests: Mutex<Option<Bucket>>,
    current: Mutex<Option<Owed>>,
    asked: AtomicBool,
    fresh: AtomicBool,
    first: Notify,
    end: Notify,
    struck: Notify,
}

impl Process {
    /// One that a request waits for.
    pub(super) fn on_demand() -> Self {
        Self::default()
    }

    /// One that is started ahead.
    pub(super) fn ahead() -> Self {
        Self {
            ahead: true,
            ..Self::default()
        }
    }

    /// Whether it was started ahead.
    pub(super) const fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// It has got its turn to start.
    pub(super) fn begins(&self, turn: OwnedSemaphorePermit) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
    }

    pub(super) fn kill(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.end.notify_one();
    }

    /// Whether it has not yet served all that one process serves in a second; counts this one.
    pub(super) fn may_serve(&self, now: Instant) -> bool {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.get_or_insert_with(|| Bucket::of_requests(now)).take(now)
    }

    /// Whether it has been told to end.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Kills it for a fault, which is counted.
    pub(super) fn strike(&self) {
        self.struck.notify_one();
    }

    /// Whether it has had no work yet.
    pub(super) fn is_fresh(&self) -> bool {
        !self.fresh.load(Ordering::Relaxed)
    }

    /// Whether it has not asked for work yet.
    pub(super) fn is_starting(&self) -> bool {
        !self.asked.load(Ordering::Relaxed)
    }

    /// It asks for work; whatever it left unanswered has failed.
    pub(super) fn asks(&self) {
        if !self.asked.swap(true, Ordering::Relaxed) {
            self.first.notify_one();
            self.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) fn takes(&self, invocation: Invocation, reply: oneshot::Sender<Result<Bytes, Failure>>) {
        self.fresh.store(true, Ordering::Relaxed);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Owed { invocation, reply });
    }

    /// Whether it runs the invocation with this number.
    pub(super) fn runs(&self, number: u64) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .as_ref()
            .is_some_and(|owed| owed.invocation.number == number)
    }

    fn is_busy(&self) -> bool {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Its answer to a request; false when it owes none with that id.
    pub(super) fn answers(&self, request_id: &str, answer: Result<Bytes, Failure>) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.take_if(|owed| owed.invocation.request_id == request_id) {
            Some(Owed { reply, .. }) => {
                // Nobody may be waiting any more, after a timeout.
                let _ = reply.send(answer);
                true
            }
            None => false,
        }
    }
}

/// Runs a process to its end. Whether it ever asked for work.
pub(super) async fn run(pool: &Arc<Pool>, spawner: &Spawner, process: &Arc<Process>) -> bool {
    let name = &pool.function.name;
    if comes(pool, process).await {
        match start(pool, spawner, process).await {
            Ok(()) => {}
            Err(error) => tracing::error!(function = %name, "{error:#}"),
        }
    }
    process.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Drops what it still owes, so that the caller learns.
    process
        .current
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    process.asked.load(Ordering::Relaxed)
}

/// What comes before a start: a turn among those started ahead, or what the platform does. False if it is no longer wanted.
async fn comes(pool: &Pool, process: &Process) -> bool {
    let before = async {
        if process.ahead {
            if let Ok(turn) = Arc::clone(&pool.starting).acquire_owned().await {
                process.begins(turn);
            }
        } else {
            tokio::time::sleep(pool.settings.on_demand.platform_share()).await;
        }
    };
    tokio::select! {
        () = process.end.notified() => false,
        () = before => true,
    }
}

async fn start(pool: &Arc<Pool>, spawner: &Spawner, process: &Arc<Process>) -> Result<()> {
    let name = &pool.function.name;
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("a listener for the Runtime API")?;
    let address = listener.local_addr()?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(pool.settings.logs.join(format!("{name}.log")))
        .context("the function's log")?;
    let mut command = Command::new(pool.settings.binaries.join(name));
    command
        .env_clear()
        .envs(standard(pool, process.ahead))
        .envs(&pool.settings.environment)
        .envs(&pool.function.environment)
        .env("AWS_ACCESS_KEY_ID", access_key(name))
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .envs(pool.settings.faults.clock_variables())
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        .kill_on_drop(true);
    let mut child = spawner.spawn(command, Signal::SIGKILL, NICENESS).await?;
    let server = tokio::spawn(api::serve(listener, Arc::clone(pool), Arc::clone(process)));
    let initialised = async {
        if tokio::time::timeout(INIT_LIMIT, process.first.notified())
            .await
            .is_ok()
        {
            std::future::pending::<()>().await;
        }
    };
    let faults = &pool.settings.faults;
    let life = faults.life(!pool.function.schedules.is_empty());
    let fate = async {
        let old = async {
            match life {
                Some(life) => tokio::time::sleep(life).await,
                None => std::future::pending().await,
            }
            if !faults.is_on() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = old => {}
            () = process.struck.notified() => {}
        }
    };
    let killed = tokio::select! {
        status = child.wait() => {
            let status = status?;
            tracing::warn!(function = %name, %status, "a process ended by itself; its log says more");
            false
        }
        () = process.end.notified() => true,
        () = fate => {
            faults.killed(process.is_busy());
            true
        }
        () = initialised => {
            tracing::error!(function = %name, "a process asked for no work within {} s", INIT_LIMIT.as_secs());
            true
        }
    };
    if killed {
        child.kill().await.context("a process that was to be killed")?;
    }
    server.abort();
    Ok(())
}

/// What Lambda sets for every function.
fn standard(pool: &Pool, ahead: bool) -> Vec<(&'static str, String)> {
    let name = &pool.function.name;
    let mut variables = vec![
        ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            pool.function.memory_mb.to_string(),
        ),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            if ahead {
                "provisioned-concurrency"
            } else {
                "on-demand"
            }
            .to_owned(),
        ),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("TZ", ":UTC".to_owned()),
    ];
    if let Ok(path) = std::env::var("PATH") {
        variables.push(("PATH", path));
    }
    variables
}
