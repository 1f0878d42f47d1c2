//! Tracks one process of a function, from its start to its end.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::pool::{Failure, Invocation, Pool};
use super::scaling::Bucket;
use super::{INIT_LIMIT, api};
use crate::child::Spawner;
use crate::permissions::access_key;
use crate::template::REGION;

/// Functions have lower priority than the load generator and the stack, whose time measurements must be exact.
const NICENESS: i32 = 5;

/// An invocation that the process has not answered yet, with the channel for the reply.
#[derive(Debug)]
struct Owed {
    invocation: Invocation,
    reply: oneshot::Sender<Result<Bytes, Failure>>,
}

/// The state of a process: starting, idle, busy, or ending.
#[derive(Debug)]
enum Phase {
    /// The process has not asked for work yet. A provisioned process holds its start permit in this phase.
    Starting { turn: Option<OwnedSemaphorePermit> },
    /// The process has no work. `served` is true if the process has had work before.
    Idle { served: bool },
    /// The process runs an invocation.
    Busy(Owed),
    /// The process is to end. Until it has exited, it can still answer its invocation.
    Ending {
        by_fault: bool,
        asked: bool,
        owed: Option<Owed>,
    },
}

impl Phase {
    fn is_ending(&self) -> bool {
        matches!(self, Self::Ending { .. })
    }

    fn is_starting(&self) -> bool {
        matches!(self, Self::Starting { .. })
    }

    /// Whether the process has ever asked for work.
    fn has_asked(&self) -> bool {
        !matches!(self, Self::Starting { .. } | Self::Ending { asked: false, .. })
    }

    fn owed(&self) -> Option<&Owed> {
        match self {
            Self::Busy(owed) => Some(owed),
            Self::Ending { owed, .. } => owed.as_ref(),
            Self::Starting { .. } | Self::Idle { .. } => None,
        }
    }

    /// Takes the open reply; a busy process becomes idle.
    fn settle(&mut self) -> Option<Owed> {
        match self {
            Self::Busy(_) => match std::mem::replace(self, Self::Idle { served: true }) {
                Self::Busy(owed) => Some(owed),
                _ => None,
            },
            Self::Ending { owed, .. } => owed.take(),
            Self::Starting { .. } | Self::Idle { .. } => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Process {
    /// Whether the process was started as provisioned concurrency.
    provisioned: bool,
    /// The bucket that limits the process's request rate, as on Lambda.
    requests: Mutex<Bucket>,
    /// The place of a process on demand, which is free again when this value is dropped.
    _place: Option<OwnedSemaphorePermit>,
    /// Receivers are notified only of the first request for work and of the end. The other changes happen at every
    /// invocation, and no receiver waits for them.
    phase: watch::Sender<Phase>,
}

impl Process {
    fn new(provisioned: bool, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            provisioned,
            requests: Mutex::new(Bucket::of_requests(Instant::now())),
            _place: place,
            phase: watch::Sender::new(Phase::Starting { turn: None }),
        }
    }

    /// A process that is started because a request waits for it.
    pub(super) fn on_demand(place: Option<OwnedSemaphorePermit>) -> Self {
        Self::new(false, place)
    }

    pub(super) fn provisioned() -> Self {
        Self::new(true, None)
    }

    pub(super) const fn is_provisioned(&self) -> bool {
        self.provisioned
    }

    /// Stores the start permit.
    fn begins(&self, permit: OwnedSemaphorePermit) {
        self.change(|phase| {
            if let Phase::Starting { turn } = phase {
                *turn = Some(permit);
            }
        });
    }

    /// Changes the phase without notifying receivers.
    fn change(&self, change: impl FnOnce(&mut Phase)) {
        self.phase.send_if_modified(|phase| {
            change(phase);
            false
        });
    }

    pub(super) fn kill(&self) {
        self.end(false);
    }

    /// Kills the process for an injected fault. The kill is counted.
    pub(super) fn strike(&self) {
        self.end(true);
    }

    fn end(&self, by_fault: bool) {
        self.phase.send_if_modified(|phase| {
            let goes_on = !phase.is_ending();
            if goes_on {
                *phase = Phase::Ending {
                    by_fault,
                    asked: phase.has_asked(),
                    owed: phase.settle(),
                };
            }
            goes_on
        });
    }

    /// Whether the process is below its request rate; counts this request.
    pub(super) fn may_serve(&self, now: Instant) -> bool {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.take(now)
    }

    /// Whether the process is to end.
    pub(super) fn is_leaving(&self) -> bool {
        self.phase.borrow().is_ending()
    }

    /// Whether the process waits for its first work.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Idle { served: false })
    }

    pub(super) fn is_starting(&self) -> bool {
        self.phase.borrow().is_starting()
    }

    /// Records that the process asks for work. An invocation that it has not answered has failed.
    pub(super) fn asks(&self) {
        self.phase.send_if_modified(|phase| {
            let first = phase.is_starting();
            phase.settle();
            match phase {
                Phase::Starting { .. } => *phase = Phase::Idle { served: false },
                Phase::Ending { asked, .. } => *asked = true,
                Phase::Idle { .. } | Phase::Busy(_) => {}
            }
            first
        });
    }

    /// Records that the process runs an invocation.
    pub(super) fn takes(&self, invocation: Invocation, reply: oneshot::Sender<Result<Bytes, Failure>>) {
        let taken = Owed { invocation, reply };
        self.change(|phase| match phase {
            Phase::Ending { owed, .. } => *owed = Some(taken),
            _ => *phase = Phase::Busy(taken),
        });
    }

    /// Whether the process runs the invocation with this number.
    pub(super) fn runs(&self, number: u64) -> bool {
        let phase = self.phase.borrow();
        phase.owed().is_some_and(|owed| owed.invocation.number == number)
    }

    /// Passes the process's answer to the invocation's caller. Returns false when no invocation with that id is open.
    pub(super) fn answers(&self, request_id: &str, answer: Result<Bytes, Failure>) -> bool {
        let mut settled = None;
        self.change(|phase| {
            if (phase.owed()).is_some_and(|owed| owed.invocation.request_id == request_id) {
                settled = phase.settle();
            }
        });
        match settled {
            Some(Owed { reply, .. }) => {
                // After the invocation's time-out no receiver is left, so the answer is dropped.
                let _ = reply.send(answer);
                true
            }
            None => false,
        }
    }

    /// Waits until `wanted` holds for the phase.
    async fn reaches(&self, wanted: impl FnMut(&Phase) -> bool) {
        // The wait cannot fail, since the sender lives as long as `self`.
        let _ = self.phase.subscribe().wait_for(wanted).await;
    }

    /// Releases the start permit of a process that has exited, and drops its open reply, so that the caller gets an
    /// error. Returns whether the process ever asked for work.
    fn is_gone(&self) -> bool {
        self.change(|phase| {
            phase.settle();
            if let Phase::Starting { turn } = phase {
                *turn = None;
            }
        });
        self.phase.borrow().has_asked()
    }
}

/// Runs a process until it ends. Returns whether it ever asked for work.
pub(super) async fn run(pool: &Arc<Pool>, spawner: &Spawner, process: &Arc<Process>) -> bool {
    let name = &pool.function.name;
    if comes(pool, process).await {
        match start(pool, spawner, process).await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(function = %name, "a process could not start, be awaited or be killed: {error:#}")
            }
        }
    }
    process.is_gone()
}

/// Waits before a start: for a start permit (provisioned), or for the platform's share (on demand). Returns false if
/// the process is no longer wanted.
async fn comes(pool: &Pool, process: &Process) -> bool {
    let before = async {
        if process.provisioned {
            if let Ok(turn) = Arc::clone(&pool.places.starting).acquire_owned().await {
                process.begins(turn);
            }
        } else {
            tokio::time::sleep(pool.settings.on_demand.platform_share()).await;
        }
    };
    tokio::select! {
        () = process.reaches(Phase::is_ending) => false,
        () = before => true,
    }
}

async fn start(pool: &Arc<Pool>, spawner: &Spawner, process: &Arc<Process>) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("a listener for the Runtime API")?;
    let command = command(pool, spawner, process, &listener.local_addr()?.to_string())?;
    let mut child = spawner.spawn(command).await?;
    let server = tokio::spawn(api::serve(listener, Arc::clone(pool), Arc::clone(process)));
    let name = &pool.function.name;
    let killed = tokio::select! {
        status = child.wait() => {
            let status = status?;
            tracing::warn!(function = %name, %status, "a function's process ended by itself; an invocation that it has taken fails; see the function's log");
            false
        }
        () = ending(pool, process) => {
            if let Phase::Ending { by_fault: true, owed, .. } = &*process.phase.borrow() {
                pool.settings.faults.killed(owed.is_some());
            }
            true
        }
        () = asks_for_nothing(process) => {
            tracing::error!(function = %name, "a function's process asked for no work within {} s; it is killed", INIT_LIMIT.as_secs());
            true
        }
    };
    if killed {
        child.kill().await.context("a process that was to be killed")?;
    }
    server.abort();
    Ok(())
}

/// The function's program with the environment that Lambda gives it. The program asks for work at `runtime_api`.
fn command(pool: &Pool, spawner: &Spawner, process: &Process, runtime_api: &str) -> Result<Command> {
    let name = &pool.function.name;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(pool.settings.logs.join(format!("{name}.log")))
        .context("the function's log")?;
    let initialization = match process.provisioned {
        true => "provisioned-concurrency",
        false => "on-demand",
    };
    let program = pool.settings.binaries.join(name);
    let mut command = spawner.command(&program, Signal::SIGKILL, NICENESS);
    command
        .env_clear()
        .envs(standard_variables(name, pool.function.memory_mb, initialization))
        .envs(&pool.settings.environment)
        .envs(&pool.function.environment)
        .env("AWS_ACCESS_KEY_ID", access_key(name))
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .envs(pool.settings.faults.clock_variables())
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        .kill_on_drop(true);
    Ok(command)
}

/// Returns when the process is to end: another part of the stack ends it, or the lifetime that a fault gave it is over.
async fn ending(pool: &Pool, process: &Process) {
    let faults = &pool.settings.faults;
    let life = faults.life(!pool.function.schedules.is_empty());
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
        () = process.reaches(Phase::is_ending) => {}
        () = old => process.strike(),
    }
}

/// Returns only if the process does not ask for work within the time that Lambda allows for initialization.
async fn asks_for_nothing(process: &Process) {
    let asks = process.reaches(|phase| !phase.is_starting());
    if tokio::time::timeout(INIT_LIMIT, asks).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// The variables that Lambda sets for every function, without credentials. `initialization` is the initialization type.
#[must_use]
pub fn standard_variables(name: &str, memory_mb: u32, initialization: &str) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").ok();
    let (memory, group) = (memory_mb.to_string(), format!("/aws/lambda/{name}"));
    [
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", initialization),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("_HANDLER", "bootstrap"),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("TZ", ":UTC"),
    ]
    .into_iter()
    .chain(path.as_deref().map(|path| ("PATH", path)))
    .map(|(variable, value)| (variable.to_owned(), value.to_owned()))
    .collect()
}
