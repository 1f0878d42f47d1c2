//! The current capacity, as read from the account.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::amounts::{Concurrency, Polling, WarmThroughput};
use super::baseline::Baseline;
use super::database::DatabaseBaseline;

/// Lambda's progress with the requested provisioned concurrency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allocation {
    /// Everything is allocated; also if nothing was requested.
    #[default]
    Ready,
    /// In progress.
    InProgress,
    /// Lambda gave up with a part allocated: it must be requested again.
    Failed,
}

/// One function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedFunction {
    /// The requested concurrency.
    pub asked: Concurrency,
    /// The allocated provisioned concurrency.
    pub allocated: u32,
    /// Lambda's status.
    #[serde(default)]
    pub allocation: Allocation,
}

/// One database instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The instance's name.
    pub name: String,
    /// The instance's class.
    pub class: String,
    /// Whether it is the writer.
    pub writer: bool,
}

/// The ledger's database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservedDatabase {
    /// Aurora Serverless v2.
    Serverless {
        /// The current minimum, in ACU.
        minimum_acu: f64,
    },
    /// Instances of a class.
    Provisioned {
        /// All instances.
        instances: Vec<Instance>,
        /// Whether all are available, with no change in progress. The next change waits for that.
        available: bool,
    },
}

/// The current capacity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// By function.
    pub functions: BTreeMap<String, ObservedFunction>,
    /// The ledger's database.
    pub database: ObservedDatabase,
    /// By table.
    pub tables: BTreeMap<String, WarmThroughput>,
    /// By queue.
    pub queues: BTreeMap<String, Polling>,
    /// Whether orders are open or in progress to the ledger. The database is not reduced then.
    pub orders_draining: bool,
}

impl Observed {
    /// The state when everything is as declared.
    #[must_use]
    pub fn at_baseline(baseline: &Baseline) -> Self {
        let capacity = baseline.capacity();
        let functions = capacity.functions.into_iter().map(|(name, asked)| {
            let allocated = asked.provisioned;
            let allocation = Allocation::Ready;
            (
                name,
                ObservedFunction {
                    asked,
                    allocated,
                    allocation,
                },
            )
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

    /// One function; zero for an unknown function.
    #[must_use]
    pub fn function(&self, name: &str) -> ObservedFunction {
        self.functions.get(name).copied().unwrap_or_default()
    }

    /// Units of provisioned concurrency that were requested and are not allocated yet.
    #[must_use]
    pub fn allocating(&self) -> u32 {
        let missing = |f: &ObservedFunction| f.asked.provisioned.saturating_sub(f.allocated);
        self.functions.values().map(missing).fold(0, u32::saturating_add)
    }
}
