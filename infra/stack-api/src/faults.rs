//! Names the faults that a run can inject, and parses plans from these names.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The default share of AWS's limits that `throttle` leaves a partition: 30 write and 90 read units a second. The load
/// of one machine would never reach the full limits.
pub const DEFAULT_THROTTLE_SHARE: f64 = 0.03;

/// The default length of `postgres-outage`, in seconds.
pub const DEFAULT_OUTAGE_SECONDS: u32 = 20;

/// The longest outage of a plan, in seconds.
const MOST_OUTAGE_SECONDS: u32 = 7_200;

/// The name for all faults of the stack.
pub const EVERYTHING: &str = "everything";

macro_rules! faults {
    ($($(#[doc = $meaning:literal])+ $fault:ident = $name:literal,)+) => {
        /// A fault that a run can inject. The local stack supports [`Fault::IN_STACK`]; the replay supports all faults.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Fault {
            $($(#[doc = $meaning])+ #[serde(rename = $name)] $fault,)+
        }

        impl Fault {
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$fault),+];

            /// The name on the command line, in JSON and in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)+
                }
            }
        }
    };
}

faults! {
    /// Requests beyond the limits of DynamoDB's partitions are refused.
    Throttle = "throttle",
    /// Writes are refused because of a transaction on the same item.
    TransactionConflict = "transaction-conflict",
    /// Writes are lost before DynamoDB carries them out.
    TimeoutBeforeWrite = "timeout-before-write",
    /// Answers to writes are lost, or writes arrive after the caller's time-out.
    TimeoutAfterWrite = "timeout-after-write",
    /// DynamoDB answers slowly.
    SlowDynamodb = "slow-dynamodb",
    /// A database call fails permanently, once.
    BrokenCall = "broken-call",
    /// A read that may be eventually consistent returns an older state.
    StaleReads = "stale-reads",
    /// Function processes are killed.
    KillFunctions = "kill-functions",
    /// The relay is killed before or after it sends.
    RelayCrash = "relay-crash",
    /// A batch of the stream is delivered again.
    StreamRepeats = "stream-repeats",
    /// A queue does not accept messages, or its answer is lost.
    QueueRefusals = "queue-refusals",
    /// A queue delivers messages twice.
    QueueDuplicates = "queue-duplicates",
    /// A queue delivers messages late and out of order.
    QueueReorder = "queue-reorder",
    /// The gateway carries out a request, and its answer is lost.
    GatewayTimeoutAfterCharge = "gateway-timeout-after-charge",
    /// The gateway does not carry out a request, and answers with a failure or not at all.
    GatewayTimeoutBeforeCharge = "gateway-timeout-before-charge",
    /// The gateway refuses every request, for seconds at a time; or once, for the time that the plan sets.
    GatewayOutage = "gateway-outage",
    /// The gateway's webhooks are lost, sent twice, or late and so out of order.
    WebhookDisorder = "webhook-disorder",
    /// PostgreSQL crashes and restarts.
    PostgresRestart = "postgres-restart",
    /// PostgreSQL is down once, for a long time.
    PostgresOutage = "postgres-outage",
    /// An answer of the API does not reach the shopper.
    LostAnswers = "lost-answers",
    /// The clocks of function processes are wrong, by at most the offset that the rules assume.
    ClockSkew = "clock-skew",
}

impl Fault {
    /// The faults of the local stack, in the order in which plans are written.
    pub const IN_STACK: [Self; 15] = [
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
        Self::WebhookDisorder,
        Self::PostgresRestart,
        Self::PostgresOutage,
        Self::ClockSkew,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The faults that a run injects into the local stack, with the values that some faults take.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPlan {
    faults: BTreeSet<Fault>,
    /// The share of AWS's limits that `throttle` leaves.
    pub throttle_share: f64,
    /// The length of `postgres-outage`, in seconds.
    pub postgres_outage_seconds: u32,
    /// The length of the gateway's one outage, in seconds; without a value, outages are short and repeated.
    pub gateway_outage_seconds: Option<u32>,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            faults: BTreeSet::new(),
            throttle_share: DEFAULT_THROTTLE_SHARE,
            postgres_outage_seconds: DEFAULT_OUTAGE_SECONDS,
            gateway_outage_seconds: None,
        }
    }
}

/// A plan that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No fault has this name.
    #[error("there is no fault `{0}`; there are {all}, {EVERYTHING}", all = Fault::IN_STACK.map(Fault::name).join(", "))]
    Unknown(String),
    /// The fault does not accept the value.
    #[error(
        "`{0}`: throttle takes the share of AWS's ceilings, above 0 and at most 1; postgres-outage and gateway-outage take seconds, 1 to \
         {MOST_OUTAGE_SECONDS}; no other fault takes a value"
    )]
    Value(String),
}

impl FaultPlan {
    /// Whether the plan contains a fault.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Whether the plan contains no fault.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Sets a fault's value; `None` if the value is invalid.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        if name == Fault::Throttle.name() {
            let share = value.parse().ok();
            self.throttle_share = share.filter(|share| (f64::MIN_POSITIVE..=1.0).contains(share))?;
        } else if name == Fault::PostgresOutage.name() {
            let seconds = value.parse().ok();
            self.postgres_outage_seconds = seconds.filter(|s| (1..=MOST_OUTAGE_SECONDS).contains(s))?;
        } else if name == Fault::GatewayOutage.name() {
            let seconds = value.parse().ok();
            self.gateway_outage_seconds = Some(seconds.filter(|s| (1..=MOST_OUTAGE_SECONDS).contains(s))?);
        } else {
            return None;
        }
        Some(())
    }

    /// The faults of the plan, in the order of [`Fault::IN_STACK`].
    pub fn iter(&self) -> impl Iterator<Item = Fault> + '_ {
        Fault::IN_STACK.into_iter().filter(|fault| self.has(*fault))
    }
}

impl FromStr for FaultPlan {
    type Err = PlanError;

    /// Parses names separated by commas. `everything` stands for all faults; `throttle=0.05` sets the
    /// remaining share of the limits; `postgres-outage=60` and `gateway-outage=60` set the length of the
    /// outage in seconds.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            if name == EVERYTHING {
                plan.faults.extend(Fault::IN_STACK);
            } else {
                let fault = Fault::IN_STACK.into_iter().find(|fault| fault.name() == name);
                let fault = fault.ok_or_else(|| PlanError::Unknown(name.to_owned()))?;
                plan.faults.insert(fault);
            }
            if let Some(value) = value {
                let set = plan.set(name, value);
                set.ok_or_else(|| PlanError::Value(word.to_owned()))?;
            }
        }
        Ok(plan)
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(fault.name())?;
            match fault {
                Fault::Throttle => write!(f, "={}", self.throttle_share)?,
                Fault::PostgresOutage => write!(f, "={}", self.postgres_outage_seconds)?,
                Fault::GatewayOutage => {
                    if let Some(seconds) = self.gateway_outage_seconds {
                        write!(f, "={seconds}")?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Serialize for FaultPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FaultPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_the_command_line_know_a_fault_by_the_same_name() {
        for fault in Fault::ALL {
            let name = serde_json::to_value(fault).unwrap();
            assert_eq!(name, fault.name());
            assert_eq!(serde_json::from_value::<Fault>(name).unwrap(), fault);
        }
        let names: BTreeSet<&str> = Fault::ALL.map(Fault::name).into();
        assert_eq!(names.len(), Fault::ALL.len());
    }

    #[test]
    fn names_are_read_in_any_order_and_written_in_one() {
        let plan: FaultPlan = " queue-reorder, throttle=0.25 ,kill-functions,,".parse().unwrap();
        assert!(plan.has(Fault::QueueReorder) && !plan.has(Fault::ClockSkew));
        assert_eq!(plan.to_string(), "throttle=0.25,kill-functions,queue-reorder");
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(json, format!("\"{plan}\""));
        assert_eq!(serde_json::from_str::<FaultPlan>(&json).unwrap(), plan);
        assert!("".parse::<FaultPlan>().unwrap().is_empty());
        let plan: FaultPlan = "postgres-outage=60".parse().unwrap();
        assert_eq!(plan.postgres_outage_seconds, 60);
        assert_eq!(plan.to_string(), "postgres-outage=60");
        let plan: FaultPlan = "gateway-outage=60".parse().unwrap();
        assert_eq!(plan.gateway_outage_seconds, Some(60));
        assert_eq!(plan.to_string(), "gateway-outage=60");
    }

    #[test]
    fn everything_is_all_of_them() {
        let plan: FaultPlan = "everything".parse().unwrap();
        assert!(plan.iter().eq(Fault::IN_STACK));
        let one_by_one: FaultPlan = Fault::IN_STACK.map(Fault::name).join(",").parse().unwrap();
        assert_eq!(one_by_one, plan);
        assert_eq!(plan.throttle_share, DEFAULT_THROTTLE_SHARE);
        let with_share: FaultPlan = "everything,throttle=0.5".parse().unwrap();
        assert_eq!(with_share.throttle_share, 0.5);
    }

    #[test]
    fn what_is_not_there_is_refused_with_all_there_is() {
        let error = "throttle,trottle".parse::<FaultPlan>().unwrap_err().to_string();
        assert!(error.starts_with("there is no fault `trottle`"), "{error}");
        for name in Fault::IN_STACK.map(Fault::name).into_iter().chain([EVERYTHING]) {
            assert!(error.contains(name), "{error}");
        }
        for wrong in [
            "throttle=0",
            "throttle=2",
            "throttle=x",
            "throttle=NaN",
            "clock-skew=1",
            "postgres-outage=0",
            "postgres-outage=7201",
            "postgres-outage=1.5",
            "gateway-outage=0",
            "everything=1",
        ] {
            let error = wrong.parse::<FaultPlan>().unwrap_err();
            assert_eq!(error, PlanError::Value(wrong.to_owned()));
        }
    }
}
