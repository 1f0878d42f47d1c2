//! What the local stack tells other programs: the file `stack.json`, the answers of its control address, the payment
//! gateway's log, and the names of faults.
//!
//! `infra/local` and `infra/sandbox-gateway` write these types as JSON; `loadtest`, its benchmark and the replay read
//! them. Python tools read the same field names. The crate has no behaviour but reading, writing, adding and subtracting.
#![forbid(unsafe_code)]

pub mod faults;
pub mod gateway_log;
mod meter;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use meter::{FunctionUse, Meter, RunTimes, TableUse};

use crate::faults::FaultPlan;

/// The header of an HTTP answer that says, in µs, how much of the time until the answer the stack slept for what only
/// Lambda's platform does in a cold start.
pub const MODELLED_HEADER: &str = "x-stampede-modelled-us";

/// Where a running stack is: the file `stack.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StackFile {
    /// The HTTP API.
    pub api_url: String,
    /// DynamoDB behind the meter.
    pub dynamodb_url: String,
    /// SQS.
    pub sqs_url: String,
    /// The ledger's PostgreSQL.
    pub database_url: String,
    /// The authority to trust about it, in PEM: it lets in over TLS only.
    pub database_roots: String,
    /// The sandbox payment gateway.
    pub gateway_url: String,
    /// The gateway's own log, one [`gateway_log::Line`] a line.
    pub gateway_log: PathBuf,
    /// The mails that functions sent, a file for each.
    pub mails: PathBuf,
    /// Figures, queues, invocations.
    pub control_url: String,
    /// The control planes, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_planes_url: Option<String>,
    /// A bearer token for the operator's routes.
    pub operator_token: String,
    /// The process that runs the stack.
    pub pid: u32,
    /// What goes wrong on purpose.
    pub faults: FaultPlan,
    /// What the faults' draws follow from.
    pub fault_seed: u64,
    /// Table names by the environment variable that carries them.
    pub tables: BTreeMap<String, String>,
    /// Queue URLs by name.
    pub queues: BTreeMap<String, String>,
    /// What a function's process needs in its environment to belong to this stack, of all functions together: for
    /// running one under other tools.
    pub environment: BTreeMap<String, String>,
}

impl StackFile {
    /// Reads a stack's file.
    ///
    /// # Errors
    /// When there is none or it is of another form.
    pub fn load(path: &Path) -> io::Result<Self> {
        let read = std::fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        read.map_err(|error| io::Error::other(format!("no stack runs: reading {}: {error}", path.display())))
    }

    /// The name of the table that the functions get as `variable`.
    ///
    /// # Errors
    /// When the stack has no such table.
    pub fn table(&self, variable: &str) -> io::Result<&str> {
        let table = self.tables.get(variable).map(String::as_str);
        table.ok_or_else(|| io::Error::other(format!("the stack has no {variable}")))
    }
}

/// One function's processes and invocations: an element of what `GET /functions` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// The function's name.
    pub function: String,
    /// Processes that run now.
    pub processes: usize,
    /// Processes that were started ahead of requests, are there and have not been given back.
    pub ahead: usize,
    /// Processes started while a request waited.
    pub cold_starts: u64,
    /// Invocations that have ended or were refused.
    pub invocations: u64,
    /// Invocations that failed, the refused ones apart.
    pub errors: u64,
    /// Invocations refused for want of a process.
    pub throttles: u64,
    /// Invocations that had to wait for a process to start.
    pub waited_for_cold_start: u64,
    /// Invocations served by a process started on demand although some are held ahead.
    pub spill_over: u64,
    /// Invocations that run or wait now.
    pub running: usize,
}

impl Processes {
    /// What was counted since `before`. What is there now stays as it is.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            cold_starts: self.cold_starts.saturating_sub(before.cold_starts),
            invocations: self.invocations.saturating_sub(before.invocations),
            errors: self.errors.saturating_sub(before.errors),
            throttles: self.throttles.saturating_sub(before.throttles),
            waited_for_cold_start: self
                .waited_for_cold_start
                .saturating_sub(before.waited_for_cold_start),
            spill_over: self.spill_over.saturating_sub(before.spill_over),
            ..self.clone()
        }
    }
}

/// Whether anything is left to do: the answer to `GET /idle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// Streams are drained, queues with a consumer are empty, and nothing runs but what runs on a schedule.
    pub idle: bool,
    /// No stream has records that its function has not got.
    pub streams_drained: bool,
    /// Records of streams that their functions have not got.
    pub stream_records_pending: usize,
    /// Messages in queues with a consumer, those under way and those held back included.
    pub queue_messages: u64,
    /// Invocations that run or wait, by function; scheduled functions are listed and do not count.
    pub running: BTreeMap<String, usize>,
}

/// How often one fault struck: a value of what `GET /faults` and `POST /faults/end` answer, by the fault's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// How often it struck.
    pub strikes: u64,
    /// The same by kind.
    pub kinds: BTreeMap<String, u64>,
}
