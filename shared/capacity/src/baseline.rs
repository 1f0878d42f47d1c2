//! Defines the declared baseline: the capacity between drops, and the resources that runs may change.

use serde::{Deserialize, Serialize};

use super::amounts::{Capacity, Concurrency, Polling, WarmThroughput};
use super::database::DatabaseBaseline;
use super::mistakes::Mistakes;
use crate::members;

/// The declared capacity of one function between drops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionBaseline {
    /// The function, by the name of its crate, such as `reserve`.
    pub function: String,
    /// The function's memory, in MB.
    pub memory_mb: u32,
    /// The provisioned concurrency on the live alias between drops, in units.
    #[serde(default)]
    pub provisioned: u32,
    /// The reserved concurrency between drops, in units; `None` if nothing is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<u32>,
}

members!(FunctionBaseline: function, memory_mb, provisioned or 0, reserved);

/// The declared throughput of one table that drops load heavily.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableBaseline {
    /// The table, by its logical id in the template, such as `StockTable`.
    pub table: String,
    /// The warm throughput that the table has now.
    pub warm: WarmThroughput,
    /// The limit to which runs may raise the warm throughput. It can never be lowered again, so a table
    /// without a higher limit is never raised.
    #[serde(default)]
    pub allowed: WarmThroughput,
}

members!(TableBaseline: table, warm, allowed or WarmThroughput::default());

/// The declared setting of one queue's event source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueBaseline {
    /// The event source, by the logical id of its queue in the template, such as `PaymentsQueue`.
    pub source: String,
    /// The function that consumes the queue, by the name of its crate.
    pub function: String,
    /// The polling setting between drops.
    pub polling: Polling,
}

members!(QueueBaseline: source, function, polling);

/// The whole baseline: the capacity of all resources between drops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The functions whose capacity runs may change.
    #[serde(rename = "function")]
    pub functions: Vec<FunctionBaseline>,
    /// The ledger's database between drops.
    pub database: DatabaseBaseline,
    /// The tables that drops load heavily.
    #[serde(rename = "table", default)]
    pub tables: Vec<TableBaseline>,
    /// The event sources of the queues.
    #[serde(rename = "queue", default)]
    pub queues: Vec<QueueBaseline>,
}

members!(Baseline:
    functions as "function", database, tables as "table" or Vec::new(),
    queues as "queue" or Vec::new(),
);

impl Baseline {
    /// The baseline as a [`Capacity`].
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let function = |f: &FunctionBaseline| {
            let (provisioned, reserved) = (f.provisioned, f.reserved);
            let concurrency = Concurrency {
                provisioned,
                reserved,
            };
            (f.function.clone(), concurrency)
        };
        let table = |t: &TableBaseline| (t.table.clone(), t.warm);
        let queue = |q: &QueueBaseline| (q.source.clone(), q.polling);
        Capacity {
            functions: self.functions.iter().map(function).collect(),
            database: self.database.size(),
            tables: self.tables.iter().map(table).collect(),
            queues: self.queues.iter().map(queue).collect(),
        }
    }

    /// The baseline of the function `name`; `None` if the baseline does not contain it.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&FunctionBaseline> {
        self.functions.iter().find(|f| f.function == name)
    }

    pub(super) fn check(&self, m: &mut Mistakes) {
        let functions = &self.functions;
        m.list("function", functions, ("function", |f| &f.function), |m, f| {
            m.check((128..=10_240).contains(&f.memory_mb), "memory_mb", "128 to 10240");
            let covers = f.reserved.is_none_or(|units| units >= f.provisioned);
            m.check(covers, "reserved", "at least as much as is provisioned");
        });
        m.part("database", |m| self.database.check(m));
        m.list("table", &self.tables, ("table", |t| &t.table), |_, _| {});
        m.list("queue", &self.queues, ("source", |q| &q.source), |m, queue| {
            let known = self.function(&queue.function).is_some();
            m.check(known, "function", "names a function of the baseline");
            let (ok, rule) = match queue.polling {
                Polling::MaximumConcurrency(most) => ((2..=1_000).contains(&most), "2 to 1000"),
                Polling::ProvisionedPollers { minimum, maximum } => (
                    (2..=200).contains(&minimum) && (minimum..=10_000).contains(&maximum),
                    "a minimum of 2 to 200, and a maximum from there to 10000",
                ),
            };
            m.check(ok, "polling", rule);
        });
    }
}
