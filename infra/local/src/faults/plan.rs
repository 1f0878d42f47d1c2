//! Which faults a run has, read from their names.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The share of AWS's ceilings that `throttle` leaves a partition unless told otherwise: 30 write and 90 read units a
/// second. One machine's load would never reach the whole of them.
pub const DEFAULT_THROTTLE_SHARE: f64 = 0.03;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Ceilings of DynamoDB's partitions.
    Throttle,
    /// Writes in conflict with a transaction.
    TransactionConflict,
    /// Writes that are lost on their way to the table.
    TimeoutBeforeWrite,
    /// Writes whose answer is lost, or that arrive after the caller has given up.
    TimeoutAfterWrite,
    /// Slow answers of DynamoDB.
    SlowDynamodb,
    /// SIGKILL for function processes.
    KillFunctions,
    /// Messages delivered twice.
    QueueDuplicates,
    /// Messages held back and shuffled.
    QueueReorder,
    /// The relay killed before and after it sends.
    RelayCrash,
    /// Payments confirmed, their answer lost.
    GatewayTimeoutAfterCharge,
    /// A payment gateway that refuses everything, for seconds at a time.
    GatewayOutage,
    /// Crashes of PostgreSQL.
    PostgresRestart,
    /// Function processes whose clocks are off.
    ClockSkew,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Throttle,
        Self::TransactionConflict,
        Self::TimeoutBeforeWrite,
        Self::TimeoutAfterWrite,
        Self::SlowDynamodb,
        Self::KillFunctions,
        Self::QueueDuplicates,
        Self::QueueReorder,
        Self::RelayCrash,
        Self::GatewayTimeoutAfterCharge,
        Self::GatewayOutage,
        Self::PostgresRestart,
        Self::ClockSkew,
    ];

    /// Its name on the command line and in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::TransactionConflict => "transaction-conflict",
            Self::TimeoutBeforeWrite => "timeout-before-write",
            Self::TimeoutAfterWrite => "timeout-after-write",
            Self::SlowDynamodb => "slow-dynamodb",
            Self::KillFunctions => "kill-functions",
            Self::QueueDuplicates => "queue-duplicates",
            Self::QueueReorder => "queue-reorder",
            Self::RelayCrash => "relay-crash",
            Self::GatewayTimeoutAfterCharge => "gateway-timeout-after-charge",
            Self::GatewayOutage => "gateway-outage",
            Self::PostgresRestart => "postgres-restart",
            Self::ClockSkew => "clock-skew",
        }
    }
}

/// The faults of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPlan {
    faults: BTreeSet<Fault>,
    /// The share of AWS's ceilings that `throttle` leaves.
    pub throttle_share: f64,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            faults: BTreeSet::new(),
            throttle_share: DEFAULT_THROTTLE_SHARE,
        }
    }
}

/// A plan that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no such fault.
    #[error("there is no fault `{0}`; there are {all}, everything", all = names())]
    Unknown(String),
    /// The value is not one the fault takes.
    #[error("`{0}`: only throttle takes a value, the share of AWS's ceilings, above 0 and at most 1")]
    Value(String),
}

fn names() -> String {
    Fault::ALL.map(Fault::name).join(", ")
}

impl FaultPlan {
    /// Whether a fault is part of it.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Whether nothing shall go wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Its faults.
    pub fn iter(&self) -> impl Iterator<Item = Fault> + '_ {
        self.faults.iter().copied()
    }
}

impl FromStr for FaultPlan {
    type Err = PlanError;

    /// Reads names separated by commas; `everything` stands for all, `throttle=0.05` sets the ceilings' share.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            if name == "everything" {
                plan.faults.extend(Fault::ALL);
            } else {
                let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
                let fault = fault.ok_or_else(|| PlanError::Unknown(name.to_owned()))?;
                plan.faults.insert(fault);
            }
            if let Some(value) = value {
                let share = value
                    .parse()
                    .ok()
                    .filter(|share| (f64::MIN_POSITIVE..=1.0).contains(share));
                plan.throttle_share = share
                    .filter(|_| name == Fault::Throttle.name())
                    .ok_or_else(|| PlanError::Value(word.to_owned()))?;
            }
        }
        Ok(plan)
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.faults.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(fault.name())?;
            if *fault == Fault::Throttle {
                write!(f, "={}", self.throttle_share)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_order_and_written_in_one() {
        let plan: FaultPlan = " queue-reorder, throttle=0.25 ,kill-functions,,".parse().unwrap();
        assert!(plan.has(Fault::QueueReorder) && !plan.has(Fault::ClockSkew));
        assert_eq!(plan.to_string(), "throttle=0.25,kill-functions,queue-reorder");
        assert_eq!(plan.to_string().parse(), Ok(plan));
        assert!("".parse::<FaultPlan>().unwrap().is_empty());
    }

    #[test]
    fn everything_is_all_of_them() {
        let plan: FaultPlan = "everything".parse().unwrap();
        assert!(Fault::ALL.into_iter().all(|fault| plan.has(fault)));
        let one_by_one: FaultPlan = names().parse().unwrap();
        assert_eq!(one_by_one, plan);
        assert_eq!(plan.throttle_share, DEFAULT_THROTTLE_SHARE);
        let with_share: FaultPlan = "everything,throttle=0.5".parse().unwrap();
        assert_eq!(with_share.throttle_share, 0.5);
    }

    #[test]
    fn what_is_not_there_is_refused_with_all_there_is() {
        let error = "throttle,trottle".parse::<FaultPlan>().unwrap_err().to_string();
        assert!(error.starts_with("there is no fault `trottle`"), "{error}");
        for name in Fault::ALL.map(Fault::name).into_iter().chain(["everything"]) {
            assert!(error.contains(name), "{error}");
        }
        for wrong in [
            "throttle=0",
            "throttle=2",
            "throttle=x",
            "throttle=NaN",
            "clock-skew=1",
        ] {
            let error = wrong.parse::<FaultPlan>().unwrap_err();
            assert_eq!(error, PlanError::Value(wrong.to_owned()));
        }
    }
}
