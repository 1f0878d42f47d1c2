//! Describes the injected faults of a run, sets the tolerance for them, and ends them before the audit.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use stack_api::faults::{Fault, FaultPlan};
use stack_api::{StackFile, Struck};

use crate::control;

/// Faults after which API Gateway answers in place of a function that died or exceeded its time limit.
const DEADLY: [Fault; 4] = [
    Fault::KillFunctions,
    Fault::TimeoutBeforeWrite,
    Fault::TimeoutAfterWrite,
    Fault::SlowDynamodb,
];

/// The largest number of times that a shopper sends the same request, in a run without faults.
pub const TRIES: u32 = 6;
/// The largest number of times that a shopper sends the same request, in a run with faults.
pub const TRIES_IN_TROUBLE: u32 = 12;

/// The longest time until killed or lost work is repeated, in seconds: twice the visibility timeout of a message's
/// queue, plus the time to the next run of a schedule.
const AFTERMATH_SECONDS: u64 = 300;

/// The time limit until everything that the faults stopped runs again.
const END_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FaultReport {
    /// The faults' names, separated by commas; empty without faults.
    pub plan: FaultPlan,
    /// The seed of the faults' random numbers.
    pub seed: u64,
    /// How often each fault happened, by name.
    pub struck: BTreeMap<String, Struck>,
}

impl FaultReport {
    /// Whether any fault was requested.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.plan.is_empty()
    }

    /// Whether functions die in this run, so that API Gateway answers 500 in their place.
    #[must_use]
    pub fn is_deadly(&self) -> bool {
        DEADLY.iter().any(|fault| self.plan.has(*fault))
    }

    /// Requested faults that never happened.
    pub fn idle(&self) -> impl Iterator<Item = Fault> {
        let strikes = |fault: Fault| self.struck.get(fault.name()).map_or(0, |struck| struck.strikes);
        self.plan.iter().filter(move |fault| strikes(*fault) == 0)
    }
}

/// The limits of repeats and of the drain. They are wider in a run with faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The largest number of times that a shopper sends the same request.
    pub tries: u32,
    /// Whether the operator repeats failed requests, and publishes another drop when a drop is not scheduled in
    /// time.
    pub operator_insists: bool,
    /// The extra time that the drain may take.
    pub drain: Duration,
}

impl Allowance {
    /// The tolerance for the stack's faults.
    #[must_use]
    pub fn of(stack: &StackFile) -> Self {
        let trouble = !stack.faults.is_empty();
        Self {
            tries: if trouble { TRIES_IN_TROUBLE } else { TRIES },
            operator_insists: trouble,
            drain: Duration::from_secs(if trouble { AFTERMATH_SECONDS } else { 0 }),
        }
    }
}

/// Ends all faults until the stack stops, waits until everything that they stopped runs again, and returns their
/// counts.
///
/// # Errors
/// When the stack does not answer.
pub async fn end(stack: &StackFile) -> anyhow::Result<FaultReport> {
    Ok(FaultReport {
        plan: stack.faults.clone(),
        seed: stack.fault_seed,
        struck: control::post(stack, "/faults/end", None, END_LIMIT).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(plan: &str, struck: &[(&str, u64)]) -> FaultReport {
        FaultReport {
            plan: plan.parse().unwrap(),
            seed: 1,
            struck: struck
                .iter()
                .map(|(name, strikes)| {
                    let strikes = *strikes;
                    (
                        (*name).to_owned(),
                        Struck {
                            strikes,
                            ..Struck::default()
                        },
                    )
                })
                .collect(),
        }
    }

    #[test]
    fn what_was_asked_for_and_never_struck_is_named() {
        let none = report("", &[]);
        assert!(!none.any() && !none.is_deadly() && none.idle().next().is_none());
        let some = report(
            "throttle=0.01,clock-skew,kill-functions",
            &[("throttle", 3), ("clock-skew", 0)],
        );
        assert_eq!(
            some.idle().collect::<Vec<_>>(),
            [Fault::KillFunctions, Fault::ClockSkew]
        );
        assert!(some.any() && some.is_deadly());
        assert!(!report("throttle=0.01", &[]).is_deadly());
    }
}
