//! What goes wrong on purpose in the stack under load: asked for, counted, and ended before the audit reads.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::client::{Call, Client};
use crate::stack::StackFile;

/// Faults after which API Gateway answers for a function that died or ran out of time.
const DEADLY: [&str; 4] = [
    "kill-functions",
    "timeout-before-write",
    "timeout-after-write",
    "slow-dynamodb",
];

/// How often a shopper sends the same request when nothing is broken on purpose.
pub const TRIES: u32 = 6;
/// The same in a run with faults: people who see errors everywhere insist.
pub const TRIES_IN_TROUBLE: u32 = 12;

/// How long all that was killed or lost may take to come again, in seconds: a message twice its queue's visibility time, and
/// the next run of a schedule.
const AFTERMATH_SECONDS: u64 = 240;

/// How often one fault struck, as the stack counted it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// How often.
    pub strikes: u64,
    /// The same by kind.
    #[serde(default)]
    pub kinds: BTreeMap<String, u64>,
}

/// The faults of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    /// Their names, separated by commas; empty without faults.
    pub plan: String,
    /// The seed of their draws.
    pub seed: u64,
    /// How often each struck, by name.
    pub struck: BTreeMap<String, Struck>,
}

impl FaultReport {
    /// Whether anything was to go wrong.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.plan.is_empty()
    }

    /// Whether functions die in this run, so that API Gateway answers 500 in their place.
    #[must_use]
    pub fn is_deadly(&self) -> bool {
        names(&self.plan).any(|name| DEADLY.contains(&name))
    }

    /// Faults that were asked for and never struck.
    pub fn idle(&self) -> impl Iterator<Item = &str> {
        names(&self.plan).filter(|name| self.struck.get(*name).is_none_or(|struck| struck.strikes == 0))
    }
}

/// The names of a plan, without the value that one may have.
fn names(plan: &str) -> impl Iterator<Item = &str> {
    plan.split(',')
        .map(|word| word.split_once('=').map_or(word, |(name, _)| name))
        .filter(|name| !name.is_empty())
}

/// What a run allows for its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How often a shopper sends the same request.
    pub tries: u32,
    /// Whether the operator sends again what failed, and begins anew when a drop is not ready in time.
    pub operator_insists: bool,
    /// How much longer the drain may take.
    pub drain: Duration,
}

impl Allowance {
    /// For the stack's faults.
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

/// Ends all faults for good; answers how often each struck. What they took away is back then.
///
/// # Errors
/// When the stack does not answer.
pub async fn end(stack: &StackFile) -> anyhow::Result<FaultReport> {
    let mut call = Call::get(format!("{}/faults/end", stack.control_url).parse()?);
    call.method = Method::POST;
    let answer = Client::new(Duration::from_secs(60))
        .send(&call)
        .await
        .context("ending the faults")?;
    ensure!(
        answer.status == 200,
        "ending the faults was answered {}",
        answer.status
    );
    Ok(FaultReport {
        plan: stack.faults.clone(),
        seed: stack.fault_seed,
        struck: answer.json().context("how often the faults struck")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(plan: &str, struck: &[(&str, u64)]) -> FaultReport {
        FaultReport {
            plan: plan.to_owned(),
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
        assert_eq!(some.idle().collect::<Vec<_>>(), ["clock-skew", "kill-functions"]);
        assert!(some.any() && some.is_deadly());
        assert!(!report("throttle=0.01", &[]).is_deadly());
    }
}
