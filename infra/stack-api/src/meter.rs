//! What was used, as the stack's meter counts it.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What was used of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TableUse {
    /// Write units, those of indexes, refused writes and cancelled transactions included.
    pub wcu: f64,
    /// Read units.
    pub rcu: f64,
    /// Single-item writes that were applied; an item of a batch counts as one.
    pub writes: u64,
    /// Single-item writes whose condition refused them.
    pub refused_writes: u64,
    /// Read requests, whatever they ask for.
    pub reads: u64,
    /// Write transactions that were applied and touched this table.
    pub transactions: u64,
    /// Write transactions that were cancelled and named this table.
    pub cancelled_transactions: u64,
}

impl AddAssign<&Self> for TableUse {
    fn add_assign(&mut self, other: &Self) {
        self.wcu += other.wcu;
        self.rcu += other.rcu;
        self.writes += other.writes;
        self.refused_writes += other.refused_writes;
        self.reads += other.reads;
        self.transactions += other.transactions;
        self.cancelled_transactions += other.cancelled_transactions;
    }
}

impl TableUse {
    /// What was used since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            wcu: self.wcu - before.wcu,
            rcu: self.rcu - before.rcu,
            writes: self.writes.saturating_sub(before.writes),
            refused_writes: self.refused_writes.saturating_sub(before.refused_writes),
            reads: self.reads.saturating_sub(before.reads),
            transactions: self.transactions.saturating_sub(before.transactions),
            cancelled_transactions: self
                .cancelled_transactions
                .saturating_sub(before.cancelled_transactions),
        }
    }
}

/// The sum over one function's invocations with one route and one outcome.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionUse {
    /// The function's name.
    pub function: String,
    /// The route key (`POST /orders`), else the source: `sqs:…`, `stream:…`, `schedule`, `invoke`.
    pub route: String,
    /// The HTTP status; for other sources 200 when the function returned and 500 when it failed.
    pub status: u16,
    /// How many.
    pub invocations: u64,
    /// Their run time together, in ms.
    pub duration_ms: f64,
    /// What they used, by table.
    pub tables: BTreeMap<String, TableUse>,
}

impl FunctionUse {
    /// Whether `other` is of the same function, route and status.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.function, &self.route, self.status) == (&other.function, &other.route, other.status)
    }

    /// What was used since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let nothing = TableUse::default();
        let tables = self.tables.iter().map(|(name, used)| {
            let past = before.tables.get(name).unwrap_or(&nothing);
            (name.clone(), used.since(past))
        });
        Self {
            invocations: self.invocations.saturating_sub(before.invocations),
            duration_ms: self.duration_ms - before.duration_ms,
            tables: tables.collect(),
            ..self.clone()
        }
    }
}

/// One function's run times, from the moment a process took an invocation to its answer: warm, so far as the process was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunTimes {
    /// 95 of 100 took at most this long, in ms, to a hundredth of it.
    pub p95_ms: f64,
    /// How many took how long: the highest time in µs that counts as the same, and their number.
    pub counts: Vec<(u64, u64)>,
}

/// All figures since the stack's start: the answer to `GET /meter`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    /// By table, whoever used it.
    pub tables: BTreeMap<String, TableUse>,
    /// By function, route and status.
    pub functions: Vec<FunctionUse>,
    /// SQS requests by action; each is billed, an empty receive too.
    pub sqs_requests: BTreeMap<String, u64>,
    /// Run times by function.
    pub run_times: BTreeMap<String, RunTimes>,
    /// Messages handed to functions, by queue; a message that comes again counts again.
    pub messages: BTreeMap<String, u64>,
    /// What requests used that named an invocation which was not running (any more).
    pub unattributed: BTreeMap<String, TableUse>,
    /// Requests to DynamoDB that named a running invocation.
    pub attributed_requests: u64,
    /// Requests to DynamoDB from within functions that named none.
    pub unattributed_requests: u64,
}
