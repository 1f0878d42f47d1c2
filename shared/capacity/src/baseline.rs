//! The declared baseline: the capacity between drops, and the resources that may be changed.

use serde::{Deserialize, Serialize};

use super::amounts::{Capacity, Concurrency, Polling, WarmThroughput};
use super::database::DatabaseBaseline;
use super::mistakes::Mistakes;
use crate::members;

/// One function between drops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionBaseline {
    /// The function.
    pub function: String,
    /// The function's memory, in MB.
    pub memory_mb: u32,
    /// Provisioned concurrency on the live alias.
    #[serde(default)]
    pub provisioned: u32,
    /// Reserved concurrency, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<u32>,
}

members!(FunctionBaseline: function, memory_mb, provisioned or 0, reserved);

/// One hot table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableBaseline {
    /// The table.
    pub table: String,
    /// The throughput that it serves at once.
    pub warm: WarmThroughput,
    /// The limit to which it may be raised. Warm throughput can never be lowered, so a table without a higher limit is
    /// never raised.
    #[serde(default)]
    pub allowed: WarmThroughput,
}

members!(TableBaseline: table, warm, allowed or WarmThroughput::default());

/// One queue's event source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueBaseline {
    /// The event source, named after its queue.
    pub source: String,
    /// The function that consumes the queue.
    pub function: String,
    /// The polling setting.
    pub polling: Polling,
}

members!(QueueBaseline: source, function, polling);

/// The whole baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Functions.
    #[serde(rename = "function")]
    pub functions: Vec<FunctionBaseline>,
    /// The ledger's database.
    pub database: DatabaseBaseline,
    /// Hot tables.
    #[serde(rename = "table", default)]
    pub tables: Vec<TableBaseline>,
    /// Queues.
    #[serde(rename = "queue", default)]
    pub queues: Vec<QueueBaseline>,
}

members!(Baseline:
    functions as "function", database, tables as "table" or Vec::new(),
    queues as "queue" or Vec::new(),
);

impl Baseline {
    /// The baseline as capacity.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let concurrency = |f: &FunctionBaseline| Concurrency {
            provisioned: f.provisioned,
            reserved: f.reserved,
        };
        Capacity {
            functions: self
                .functions
                .iter()
                .map(|f| (f.function.clone(), concurrency(f)))
                .collect(),
            database: self.database.size(),
            tables: self.tables.iter().map(|t| (t.table.clone(), t.warm)).collect(),
            queues: self
                .queues
                .iter()
                .map(|q| (q.source.clone(), q.polling))
                .collect(),
        }
    }

    /// One function.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&FunctionBaseline> {
        self.functions.iter().find(|f| f.function == name)
    }

    pub(super) fn check(&self, m: &mut Mistakes) {
        for (n, function) in self.functions.iter().enumerate() {
            let at = format!("baseline.function[{n}]");
            let earlier = self.functions.iter().take(n).map(|f| f.function.as_str());
            m.name(&function.function, earlier, format!("{at}.function"));
            m.check(
                (128..=10_240).contains(&function.memory_mb),
                format!("{at}.memory_mb"),
                "128 to 10240",
            );
            m.check(
                function
                    .reserved
                    .is_none_or(|reserved| reserved >= function.provisioned),
                format!("{at}.reserved"),
                "at least as much as is provisioned",
            );
        }
        self.database.check(m);
        for (n, table) in self.tables.iter().enumerate() {
            let at = format!("baseline.table[{n}]");
            m.name(
                &table.table,
                self.tables.iter().take(n).map(|t| t.table.as_str()),
                format!("{at}.table"),
            );
        }
        for (n, queue) in self.queues.iter().enumerate() {
            let at = format!("baseline.queue[{n}]");
            m.name(
                &queue.source,
                self.queues.iter().take(n).map(|q| q.source.as_str()),
                format!("{at}.source"),
            );
            m.check(
                self.function(&queue.function).is_some(),
                format!("{at}.function"),
                "names a function of the baseline",
            );
            let (ok, rule) = match queue.polling {
                Polling::MaximumConcurrency(most) => ((2..=1_000).contains(&most), "2 to 1000"),
                Polling::ProvisionedPollers { minimum, maximum } => (
                    (2..=200).contains(&minimum) && (minimum..=10_000).contains(&maximum),
                    "a minimum of 2 to 200, and a maximum from there to 10000",
                ),
            };
            m.check(ok, format!("{at}.polling"), rule);
        }
    }
}
