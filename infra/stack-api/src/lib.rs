//! Defines the local stack's interface for other programs: the file `stack.json`, the answers of its control address,
//! the payment gateway's log, and the names of faults.
//!
//! `infra/local` and `infra/sandbox-gateway` write these types as JSON; `loadtest`, its benchmark and the replay read
//! them. Python tools read the same field names. The crate only reads, writes, adds and subtracts these values. In
//! addition, [`units`] computes what DynamoDB charges, for the stack's meter and for the model in `loadtest/scale`.
#![forbid(unsafe_code)]

pub mod faults;
pub mod gateway_log;
mod meter;
pub mod units;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use meter::{FunctionUse, Meter, RunTimes, TableUse};

use crate::faults::FaultPlan;

/// The header of an HTTP answer with the time, in µs, that the stack slept to model the platform's part of a cold
/// start.
pub const MODELLED_HEADER: &str = "x-stampede-modelled-us";

/// The addresses of a running stack: the file `stack.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StackFile {
    pub api_url: String,
    /// DynamoDB's address, with metering.
    pub dynamodb_url: String,
    pub sqs_url: String,
    /// The URL of the ledger's PostgreSQL.
    pub database_url: String,
    /// The certificate authority of PostgreSQL's certificate, in PEM. The server accepts TLS only.
    pub database_roots: String,
    pub gateway_url: String,
    /// The rate, in calls a second, beyond which the gateway answers 429. Absent if the gateway has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_calls_per_second: Option<u32>,
    /// The path of the gateway's own log. Each line is a [`gateway_log::Line`].
    pub gateway_log: PathBuf,
    /// The folder of the sent mails, one file for each.
    pub mails: PathBuf,
    /// The address of the control endpoint, for figures, queues and invocations.
    pub control_url: String,
    /// The address of the control planes, if they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_planes_url: Option<String>,
    /// A bearer token for the operator's routes.
    pub operator_token: String,
    /// The process id of the stack.
    pub pid: u32,
    /// The injected faults.
    pub faults: FaultPlan,
    /// The seed of the faults' random numbers.
    pub fault_seed: u64,
    /// Table names by the environment variable that carries them.
    pub tables: BTreeMap<String, String>,
    pub queues: BTreeMap<String, String>,
    /// The merged environment of all functions, for running a function of this stack under other tools.
    pub environment: BTreeMap<String, String>,
}

impl StackFile {
    /// Reads a stack's file.
    ///
    /// # Errors
    /// When the file does not exist or is malformed.
    pub fn load(path: &Path) -> io::Result<Self> {
        let read = std::fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        read.map_err(|error| io::Error::other(format!("no stack runs: reading {}: {error}", path.display())))
    }

    /// The name of the table that the functions get in `variable`.
    ///
    /// # Errors
    /// When the stack has no such table.
    pub fn table(&self, variable: &str) -> io::Result<&str> {
        let table = self.tables.get(variable).map(String::as_str);
        table.ok_or_else(|| io::Error::other(format!("the stack has no {variable}")))
    }
}

/// One function's processes and invocations: an element of the answer to `GET /functions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    pub function: String,
    /// The number of running processes.
    pub processes: usize,
    /// Provisioned processes that have started and have not been released.
    pub ahead: usize,
    /// The number of processes that were started because a request waited.
    pub cold_starts: u64,
    /// Invocations that have ended or were refused.
    pub invocations: u64,
    /// Failed invocations, without those in `throttles`.
    pub errors: u64,
    /// Invocations refused because no process was available.
    pub throttles: u64,
    /// Invocations that waited for the start of a process.
    pub waited_for_cold_start: u64,
    /// Invocations that a process started on demand served, although the function has provisioned concurrency.
    pub spill_over: u64,
    /// Invocations that run or wait now.
    pub running: usize,
}

impl Processes {
    /// The numbers of cold starts, invocations and errors since `before`. Values of the present, such as `running`,
    /// stay those of `self`.
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

/// Whether work is left: the answer to `GET /idle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// Whether all streams are drained, all queues with a consumer are empty, and only scheduled functions run.
    pub idle: bool,
    /// Whether every record of every stream is handled.
    pub streams_drained: bool,
    /// The number of stream records that were read and are not handled yet.
    pub stream_records_pending: usize,
    /// Messages in queues with a consumer, including those in flight and those held back.
    pub queue_messages: u64,
    /// Invocations that run or wait, by function. Scheduled functions are listed and do not count for `idle`.
    pub running: BTreeMap<String, usize>,
}

/// The count of one fault: a value of the answers to `GET /faults` and `POST /faults/end`, by the fault's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// How often the fault happened.
    pub strikes: u64,
    /// The count by kind.
    pub kinds: BTreeMap<String, u64>,
}
