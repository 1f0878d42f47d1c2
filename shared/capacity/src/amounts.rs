//! Defines capacity: the types of all values that pre-scaling sets.

use std::collections::BTreeMap;

use domain::drops::FieldError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::read::{self, Read};
use crate::members;

/// The concurrency of one function, in units of one environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// The number of environments that Lambda keeps initialized on the live alias.
    pub provisioned: u32,
    /// The reserved concurrency; with `None` the function uses the unreserved concurrency of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<u32>,
}

impl Concurrency {
    /// The number of units that the function takes from the account's concurrency.
    #[must_use]
    pub fn taken(self) -> u32 {
        self.provisioned.max(self.reserved.unwrap_or(0))
    }

    /// The larger of both values in each part. No reservation counts as smaller than any reservation.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            provisioned: self.provisioned.max(other.provisioned),
            reserved: self.reserved.max(other.reserved),
        }
    }
}

/// The size of the ledger's database: a Serverless v2 cluster's minimum, or the class of all instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseSize {
    /// The minimum of an Aurora Serverless v2 cluster, in ACU (steps of 0.5). The maximum is not changed.
    MinimumAcu(f64),
    /// The class of all instances of a provisioned cluster.
    Class(String),
}

/// The throughput that a table serves without a delay for scaling, in units a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmThroughput {
    /// The write units a second.
    pub write_units: u32,
    /// The read units a second.
    pub read_units: u32,
}

members!(WarmThroughput: write_units, read_units);

impl WarmThroughput {
    fn merged(self, other: Self, both: fn(u32, u32) -> u32) -> Self {
        Self {
            write_units: both(self.write_units, other.write_units),
            read_units: both(self.read_units, other.read_units),
        }
    }

    /// The larger of both values in each part.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.merged(other, u32::max)
    }

    /// The smaller of both values in each part.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        self.merged(other, u32::min)
    }
}

/// The setting that limits how fast a queue is consumed. An event source has a setting of one of two kinds.
/// Pre-scaling never changes the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Polling {
    /// The largest number of concurrent invocations, from 2 to 1000.
    MaximumConcurrency(u32),
    /// Pollers that run all the time, whether or not the queue contains messages.
    ProvisionedPollers {
        /// The smallest number of pollers, from 2 to 200.
        minimum: u32,
        /// The largest number of pollers, from 2 to 10000.
        maximum: u32,
    },
}

impl Read for Polling {
    fn read(part: &Value, at: &str, mistakes: &mut Vec<FieldError>) -> Option<Self> {
        match read::variant(part) {
            Some(("maximum_concurrency", most)) => {
                let most = Read::read(most, &format!("{at}.maximum_concurrency"), mistakes)?;
                Some(Self::MaximumConcurrency(most))
            }
            Some(("provisioned_pollers", content)) => {
                let at = &format!("{at}.provisioned_pollers");
                members!(content, at, mistakes => Self::ProvisionedPollers { minimum, maximum })
            }
            _ => {
                let message = "expected `maximum_concurrency` or `provisioned_pollers`";
                read::wrong(at, message, mistakes)
            }
        }
    }
}

/// The number of concurrent invocations that one provisioned poller can make.
const INVOCATIONS_PER_POLLER: u32 = 10;

impl Polling {
    /// The setting of the same kind that allows `invocations` concurrent invocations, within AWS's limits.
    #[must_use]
    pub fn for_invocations(self, invocations: u32) -> Self {
        match self {
            Self::MaximumConcurrency(_) => Self::MaximumConcurrency(invocations.clamp(2, 1_000)),
            Self::ProvisionedPollers { maximum, .. } => {
                let minimum = invocations.div_ceil(INVOCATIONS_PER_POLLER).clamp(2, 200);
                Self::ProvisionedPollers {
                    minimum,
                    maximum: maximum.max(minimum),
                }
            }
        }
    }

    /// The number of concurrent invocations that the setting allows without a delay for scaling.
    #[must_use]
    pub const fn invocations(self) -> u32 {
        match self {
            Self::MaximumConcurrency(maximum) => maximum,
            Self::ProvisionedPollers { minimum, .. } => minimum.saturating_mul(INVOCATIONS_PER_POLLER),
        }
    }

    /// The setting whose parts `both` computes from those of two settings; `None` if these are of different kinds.
    #[must_use]
    pub fn merged(self, other: Self, both: fn(u32, u32) -> u32) -> Option<Self> {
        use Polling::{MaximumConcurrency, ProvisionedPollers};
        match (self, other) {
            (MaximumConcurrency(one), MaximumConcurrency(other)) => {
                Some(MaximumConcurrency(both(one, other)))
            }
            (
                ProvisionedPollers { minimum, maximum },
                ProvisionedPollers {
                    minimum: other_minimum,
                    maximum: other_maximum,
                },
            ) => Some(ProvisionedPollers {
                minimum: both(minimum, other_minimum),
                maximum: both(maximum, other_maximum),
            }),
            _ => None,
        }
    }

    /// The larger of both settings in each part; `self` if the settings are of different kinds.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.merged(other, u32::max).unwrap_or(self)
    }
}

/// The capacity of all resources that pre-scaling sets: functions, database, tables and event sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// The concurrency, by the name of the function.
    pub functions: BTreeMap<String, Concurrency>,
    /// The size of the ledger's database.
    pub database: DatabaseSize,
    /// The warm throughput, by the name of the table.
    pub tables: BTreeMap<String, WarmThroughput>,
    /// The polling setting, by the name of the queue's event source.
    pub queues: BTreeMap<String, Polling>,
}

impl Capacity {
    /// The number of units of the account's concurrency that all functions together take.
    #[must_use]
    pub fn concurrency_taken(&self) -> u64 {
        self.functions.values().map(|c| u64::from(c.taken())).sum()
    }

    /// The concurrency of one function; zero for an unknown function.
    #[must_use]
    pub fn function(&self, name: &str) -> Concurrency {
        self.functions.get(name).copied().unwrap_or_default()
    }

    /// The warm throughput of one table; zero for an unknown table.
    #[must_use]
    pub fn table(&self, name: &str) -> WarmThroughput {
        self.tables.get(name).copied().unwrap_or_default()
    }
}

/// The capacity that exists when all steps of a run are complete. Resources that the run must not change
/// are absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// The concurrency, by the name of the function.
    pub functions: BTreeMap<String, Concurrency>,
    /// The size of the database; `None` if the run must not change it.
    pub database: Option<DatabaseSize>,
    /// The warm throughput, by the name of the table.
    pub tables: BTreeMap<String, WarmThroughput>,
    /// The polling setting, by the name of the queue's event source. A queue without an entry
    /// stays unchanged.
    pub queues: BTreeMap<String, Polling>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_keeps_its_kind_and_its_bounds() {
        let concurrency = Polling::MaximumConcurrency(50);
        assert_eq!(concurrency.for_invocations(1), Polling::MaximumConcurrency(2));
        assert_eq!(
            concurrency.for_invocations(9_999),
            Polling::MaximumConcurrency(1_000)
        );
        let pollers = Polling::ProvisionedPollers {
            minimum: 2,
            maximum: 20,
        };
        let more = pollers.for_invocations(301);
        assert_eq!(
            more,
            Polling::ProvisionedPollers {
                minimum: 31,
                maximum: 31
            }
        );
        assert_eq!(more.invocations(), 310);
        assert_eq!(pollers.max(concurrency), pollers);
    }

    #[test]
    fn no_reservation_is_less_than_any() {
        let free = Concurrency {
            provisioned: 7,
            reserved: None,
        };
        let capped = Concurrency {
            provisioned: 5,
            reserved: Some(6),
        };
        assert_eq!(
            free.max(capped),
            Concurrency {
                provisioned: 7,
                reserved: Some(6)
            }
        );
        assert_eq!(free.taken(), 7);
        assert_eq!(capped.taken(), 6);
    }
}
