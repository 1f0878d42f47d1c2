//! Defines the usage figures of the stack's meter.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// The consumed units and the numbers of requests of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TableUse {
    /// Write units, including those of indexes, refused writes and cancelled transactions.
    pub wcu: f64,
    pub rcu: f64,
    /// Single-item writes that were applied; an item of a batch counts as one.
    pub writes: u64,
    /// Single-item writes that their condition refused.
    pub refused_writes: u64,
    /// Read requests of any kind.
    pub reads: u64,
    /// Write transactions that were applied and consumed write units of this table.
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
    /// The units and requests that were added since the reading `before`.
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
    pub function: String,
    /// The route key (`POST /orders`), else the source: `sqs:…`, `stream:…`, `schedule`, `invoke`, `trial`, `start`.
    pub route: String,
    /// The HTTP status. For other sources 200 when the function returned and 500 when it failed.
    pub status: u16,
    /// The number of invocations.
    pub invocations: u64,
    /// The sum of the invocations' run times, in ms.
    pub duration_ms: f64,
    /// The usage by table.
    pub tables: BTreeMap<String, TableUse>,
}

impl FunctionUse {
    /// Whether `other` has the same function, route and status.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.function, &self.route, self.status) == (&other.function, &other.route, other.status)
    }

    /// The units and requests that were added since the reading `before`.
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

/// One function's run times, from the start of an invocation on a process to its answer. The start of a process is not
/// included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunTimes {
    /// The 95th percentile, in ms, exact to 1 %.
    pub p95_ms: f64,
    /// A histogram: the highest time of a bucket in µs, and the number of invocations in it.
    pub counts: Vec<(u64, u64)>,
}

/// All figures since the stack's start: the answer to `GET /meter`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    /// The usage by table, for all callers.
    pub tables: BTreeMap<String, TableUse>,
    /// The usage by function, route and status.
    pub functions: Vec<FunctionUse>,
    /// SQS requests by action. AWS bills each request, also an empty receive.
    pub sqs_requests: BTreeMap<String, u64>,
    pub run_times: BTreeMap<String, RunTimes>,
    /// Messages delivered to functions, by queue. A redelivered message counts again.
    pub messages: BTreeMap<String, u64>,
    /// The usage of requests that named an invocation which was no longer running.
    pub unattributed: BTreeMap<String, TableUse>,
    /// DynamoDB requests that named a running invocation.
    pub attributed_requests: u64,
    /// DynamoDB requests that named an invocation which was no longer running.
    pub unattributed_requests: u64,
}
