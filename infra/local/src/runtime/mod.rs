//! Runs functions as Lambda does: processes on the Runtime API, one request per process at a time.
//!
//! [`Functions`] has every function of the template by name. An invocation takes the process that became idle last (so
//! that few processes stay warm). If no process is idle, it waits [`PATIENCE`] before another process is started.
//!
//! [`Functions::set_provisioned`] sets provisioned concurrency: so many processes are started before requests need
//! them. These processes serve first; further requests spill over to processes started on demand.
//!
//! # Where this differs from Lambda, and why
//! Lambda starts another environment as soon as all environments are busy, up to 1,000 on as many machines. Here all
//! processes share a few cores. So an invocation waits briefly before a start, and a function gets at most the
//! configured number of processes, and more than [`BUSY_CONCURRENCY`] only while cores are idle. The queue in front of
//! them is bounded: an API request that waited [`QUEUE_LIMIT`] gets the gateway's 503. Processes are neither frozen
//! between requests nor removed when idle. Provisioned concurrency beyond the process limit is not started.
//!
//! With [`OnDemand::AsLambda`] invocations do not wait before a start, the limits are Lambda's, and each start on
//! demand takes the platform's stated share longer. One remaining difference is more favourable than Lambda: a request
//! that waits for a start takes any process that becomes free earlier. One is less favourable: starts share the
//! machine's cores.

mod api;
mod pool;
mod process;
mod processor;
mod provisioned;
mod scaling;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bytes::Bytes;
pub use pool::{Failure, Invocation};
pub use process::standard_variables;
pub use provisioned::Allocation;
use scaling::Places;
pub use scaling::{OnDemand, REQUESTS_PER_PROCESS, STARTS};
use stack_api::Processes;

use crate::child::Spawner;
use crate::faults::Faults;
use crate::meter::{Meter, trace_header};
use crate::template::{Function, Model};

/// The time that an invocation waits for a busy process before another process is started.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// The longest time that an API request waits for a process.
pub const QUEUE_LIMIT: Duration = Duration::from_secs(1);

/// The time within which a process must ask for its first work, by Lambda's limit.
pub const INIT_LIMIT: Duration = Duration::from_secs(10);

/// The largest number of invocations that wait for a process of one function.
pub const QUEUE_LENGTH: usize = 2_048;

/// The default number of processes per function.
pub const DEFAULT_CONCURRENCY: usize = 8;

/// How many processes a function may have, within its limit, while the cores are busy. Some of them wait, for instance
/// for a table.
pub const BUSY_CONCURRENCY: usize = 2 * DEFAULT_CONCURRENCY;

/// The largest answer of a function, by Lambda's limit.
pub const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;

#[derive(Clone)]
pub struct Settings {
    /// The folder of the binaries.
    pub binaries: PathBuf,
    /// The folder of the logs, one file for each function.
    pub logs: PathBuf,
    /// The largest number of processes per function.
    pub concurrency: usize,
    /// How processes are started for requests that find no idle process.
    pub on_demand: OnDemand,
    /// The largest number of processes that are started on demand for all functions together. Without
    /// [`OnDemand::AsLambda`] a function gets up to [`BUSY_CONCURRENCY`] processes whatever the number is.
    pub account_concurrency: usize,
    /// The environment variables of every function in addition to the template's: endpoints and credentials.
    pub environment: BTreeMap<String, String>,
    /// The injected faults. Some of them end processes or shift their clocks.
    pub faults: Arc<Faults>,
}

#[derive(Debug)]
pub struct Functions {
    pools: BTreeMap<String, Arc<pool::Pool>>,
    meter: Arc<Meter>,
    run: u32,
    next: AtomicU64,
}

/// How long an invocation may wait for a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// An API request waits up to [`QUEUE_LIMIT`].
    Briefly,
    /// An event source waits without limit.
    Patiently,
}

impl Functions {
    /// Pools for all functions of the model. No process is started before it is needed.
    #[must_use]
    pub fn new(model: &Model, settings: Settings, spawner: Spawner, meter: Arc<Meter>) -> Self {
        let settings = Arc::new(settings);
        let places = Places::new(settings.account_concurrency);
        let pool = |function: &Function| {
            let (settings, places) = (Arc::clone(&settings), places.clone());
            pool::Pool::new(function.clone(), settings, spawner.clone(), places)
        };
        Self {
            pools: model
                .functions
                .iter()
                .map(|(name, f)| (name.clone(), pool(f)))
                .collect(),
            meter,
            run: fastrand::u32(..),
            next: AtomicU64::new(1),
        }
    }

    #[must_use]
    pub fn identify(&self) -> Invocation {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        Invocation {
            number,
            request_id: format!(
                "{:08x}-{:04x}-4000-8000-{:012x}",
                self.run,
                number >> 48,
                number & 0xffff_ffff_ffff
            ),
            trace: trace_header(seconds, self.run, number),
        }
    }

    /// Invokes a function once. The meter books it to `route` and to the status that `outcome` returns.
    ///
    /// # Errors
    /// When the function is unknown, no process becomes free in time, or the function fails.
    pub async fn invoke(
        &self,
        function: &str,
        route: &str,
        invocation: Invocation,
        event: Bytes,
        waiting: Waiting,
        outcome: impl FnOnce(&Result<Bytes, Failure>) -> u16,
    ) -> Result<Bytes, Failure> {
        self.invoke_modelled(function, route, invocation, event, waiting, outcome)
            .await
            .0
    }

    /// Invokes a function without a limit on the wait for a process. The meter books 200 if the function returned, else
    /// 500.
    ///
    /// # Errors
    /// See [`invoke`](Self::invoke).
    pub async fn call(&self, function: &str, route: &str, event: Bytes) -> Result<Bytes, Failure> {
        let outcome = |result: &Result<_, _>| if result.is_ok() { 200 } else { 500 };
        self.invoke(
            function,
            route,
            self.identify(),
            event,
            Waiting::Patiently,
            outcome,
        )
        .await
    }

    /// Like [`invoke`](Self::invoke). Also returns the part of the time that was the platform's modelled share of a
    /// start.
    pub async fn invoke_modelled(
        &self,
        function: &str,
        route: &str,
        invocation: Invocation,
        event: Bytes,
        waiting: Waiting,
        outcome: impl FnOnce(&Result<Bytes, Failure>) -> u16,
    ) -> (Result<Bytes, Failure>, Duration) {
        let Some(pool) = self.pools.get(function) else {
            return (Err(Failure::Unknown), Duration::ZERO);
        };
        let number = invocation.number;
        self.meter.begin(number);
        let ran = pool.invoke(invocation, event, waiting).await;
        self.meter
            .end(number, function, route, outcome(&ran.result), ran.duration);
        (ran.result, ran.modelled)
    }

    /// Sets a function's provisioned concurrency to `units`, and starts or ends processes accordingly, within the
    /// process limit. Ignores unknown functions.
    pub fn set_provisioned(&self, function: &str, units: usize) {
        if let Some(pool) = self.pools.get(function) {
            pool.set_provisioned(units);
        }
    }

    /// Limits a function's processes to its reserved concurrency; `None` removes this limit.
    pub fn reserve(&self, function: &str, units: Option<usize>) {
        if let Some(pool) = self.pools.get(function) {
            pool.state().reserved = units;
        }
    }

    /// The progress of a function's provisioned concurrency; `None` for an unknown function.
    #[must_use]
    pub fn allocation(&self, function: &str) -> Option<Allocation> {
        self.pools.get(function).map(|pool| pool.allocation())
    }

    /// Kills the process that runs an invocation of a function. Returns false if no process runs it.
    #[must_use]
    pub fn kill(&self, function: &str, invocation: u64) -> bool {
        self.pools.get(function).is_some_and(|pool| pool.kill(invocation))
    }

    #[must_use]
    pub fn figures(&self) -> Vec<Processes> {
        self.pools.values().map(|pool| pool.figures()).collect()
    }

    /// Ends all processes and waits until they have exited.
    pub async fn stop(&self) {
        futures_util::future::join_all(self.pools.values().map(|pool| pool.stop())).await;
    }
}
