//! Defines the current capacity, as a run reads it from the account.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::amounts::{Concurrency, Polling, WarmThroughput};
use super::baseline::Baseline;
use super::database::DatabaseBaseline;

/// Lambda's progress with the requested provisioned concurrency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allocation {
    /// All requested units are allocated, or none were requested.
    #[default]
    Ready,
    /// Lambda is allocating the units.
    InProgress,
    /// Lambda stopped before all units were allocated. They must be requested again.
    Failed,
}

/// The current concurrency of one function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedFunction {
    /// The requested concurrency.
    pub asked: Concurrency,
    /// The number of allocated units of provisioned concurrency.
    pub allocated: u32,
    /// Lambda's progress with the requested units.
    #[serde(default)]
    pub allocation: Allocation,
}

/// The class of one database instance, and whether it is the writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The instance's identifier in RDS.
    pub name: String,
    /// The instance's class.
    pub class: String,
    /// Whether the instance is the writer.
    pub writer: bool,
}

/// The kind of the ledger's database and its current size, as RDS reports them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservedDatabase {
    /// An Aurora Serverless v2 cluster.
    Serverless {
        /// The current minimum, in ACU.
        minimum_acu: f64,
    },
    /// A cluster of instances of a class.
    Provisioned {
        /// All instances of the cluster.
        instances: Vec<Instance>,
        /// Whether all instances are available, with no change in progress. The next change must wait until
        /// they are.
        available: bool,
    },
}

/// The current capacity of all resources that the baseline names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The concurrency, by the name of the function.
    pub functions: BTreeMap<String, ObservedFunction>,
    /// The state of the ledger's database.
    pub database: ObservedDatabase,
    /// The warm throughput, by the name of the table.
    pub tables: BTreeMap<String, WarmThroughput>,
    /// The polling setting, by the name of the queue's event source.
    pub queues: BTreeMap<String, Polling>,
    /// Whether orders are open, or messages to the ledger wait. The database is not reduced while this
    /// is true.
    pub orders_draining: bool,
}

impl Observed {
    /// The state in which every resource has its declared capacity.
    #[must_use]
    pub fn at_baseline(baseline: &Baseline) -> Self {
        let capacity = baseline.capacity();
        let functions = capacity.functions.into_iter().map(|(name, asked)| {
            let function = ObservedFunction {
                asked,
                allocated: asked.provisioned,
                allocation: Allocation::Ready,
            };
            (name, function)
        });
        let database = match &baseline.database {
            DatabaseBaseline::Serverless { minimum_acu, .. } => ObservedDatabase::Serverless {
                minimum_acu: *minimum_acu,
            },
            DatabaseBaseline::Provisioned { class, instances, .. } => ObservedDatabase::Provisioned {
                instances: (instances.iter().enumerate())
                    .map(|(n, name)| Instance {
                        name: name.clone(),
                        class: class.clone(),
                        writer: n == 0,
                    })
                    .collect(),
                available: true,
            },
        };
        Self {
            functions: functions.collect(),
            database,
            tables: capacity.tables,
            queues: capacity.queues,
            orders_draining: false,
        }
    }

    /// The concurrency of one function; zero for an unknown function.
    #[must_use]
    pub fn function(&self, name: &str) -> ObservedFunction {
        self.functions.get(name).copied().unwrap_or_default()
    }

    /// The number of units of provisioned concurrency that were requested and are not allocated yet.
    #[must_use]
    pub fn allocating(&self) -> u32 {
        let missing = |f: &ObservedFunction| f.asked.provisioned.saturating_sub(f.allocated);
        self.functions.values().map(missing).fold(0, u32::saturating_add)
    }
}
