//! Defines the function's answer and its metrics, which report the decisions, changes and measurements of a
//! run.

use capacity::learn::Lesson;
use capacity::plan::{Plan, plan};
use capacity::readiness::{Readiness, Ruling};
use capacity::reconcile::Decision;
use capacity::steps::Step;
use capacity::target::Warning;
use capacity::wanted::WantedDrop;
use domain::time::Timestamp;
use ports::drops::Lease;
use ports::prescale::{Carried, ControlError};
use serde::{Serialize, Serializer};
use serde_json::Value;
use startup::metrics::{COUNT, line};

use crate::{Mode, Read};

/// Why a step was not tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// An earlier step on the same resource has failed or is not complete.
    Waits,
    /// The run has no time left for the step.
    OutOfTime,
    /// With the current calendar, the step is no longer needed.
    NotWanted,
    /// Lease or calendar could not be read again, or the calendar now has mistakes.
    Uncertain,
    /// This run no longer holds the lease, or its time is over.
    Superseded,
    /// The audit record could not be written, without which nothing is reduced.
    NoAudit,
}

/// The result of a decided step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// The account accepted the step, or already had its value.
    Carried(Carried),
    /// The account refused the step, or did not answer and may have carried it out.
    Failed(ControlError),
    Skipped(Skipped),
}

impl Serialize for StepResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Carried(carried) => serializer.collect_str(carried),
            Self::Failed(error) => serializer.collect_str(error),
            Self::Skipped(why) => why.serialize(serializer),
        }
    }
}

/// A decided step with its result: accepted, failed or skipped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Taken {
    #[serde(flatten)]
    pub step: Step,
    pub went: StepResult,
}

impl Taken {
    /// Whether the step may have changed the account.
    #[must_use]
    pub fn changed(&self) -> bool {
        match &self.went {
            StepResult::Carried(carried) => *carried != Carried::AlreadySo,
            StepResult::Failed(error) => *error == ControlError::Unknown,
            StepResult::Skipped(_) => false,
        }
    }

    /// The function and the provisioned concurrency that Lambda accepted by this step.
    pub(crate) fn accepted(&self) -> Option<(&str, u32)> {
        match (&self.step, &self.went) {
            (Step::Provision { function, to, .. }, StepResult::Carried(_)) => Some((function, *to)),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    pub mode: Mode,
    /// The time of the decision.
    pub at: Timestamp,
    /// The other run that holds the lease, if there is one; then this run did nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby_for: Option<String>,
    /// The drops for which capacity is wanted.
    pub drops: Vec<WantedDrop>,
    pub warnings: Vec<Warning>,
    /// The decided changes.
    pub steps: Vec<Step>,
    /// Changes that wait for the confirmation of a second run.
    pub withheld: Vec<Step>,
    /// The result of each decided change, skipped changes included; empty in the modes `plan` and `verify`.
    pub taken: Vec<Taken>,
    pub readiness: Vec<Readiness>,
    /// The lesson of a finished drop, if it changed the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lesson: Option<Lesson>,
    /// The plans of all drops on the calendar, in the mode `plan`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<Plan>,
}

impl Outcome {
    fn nothing(mode: Mode, at: Timestamp) -> Self {
        Self {
            mode,
            at,
            standby_for: None,
            drops: Vec::new(),
            warnings: Vec::new(),
            steps: Vec::new(),
            withheld: Vec::new(),
            taken: Vec::new(),
            readiness: Vec::new(),
            lesson: None,
            plans: Vec::new(),
        }
    }

    pub(crate) fn standby(mode: Mode, at: Timestamp, theirs: &Lease) -> Self {
        Self {
            standby_for: Some(theirs.holder.clone()),
            ..Self::nothing(mode, at)
        }
    }

    pub(crate) fn decided(mode: Mode, at: Timestamp, decision: &Decision) -> Self {
        Self {
            drops: decision.wanted.drops.clone(),
            warnings: decision.warnings.clone(),
            steps: decision.steps.clone(),
            withheld: decision.withheld.clone(),
            ..Self::nothing(mode, at)
        }
    }

    pub(crate) fn plan(&mut self, read: &Read, now: Timestamp) {
        let observed = &read.seen.observed;
        let one = |id| plan(&read.docs, &read.quotas, observed, id, now).ok();
        let calendar = read.docs.calendar.iter();
        self.plans = calendar.filter_map(|drop| one(&drop.id)).collect();
    }

    /// Whether the metrics would report something: a drop, a decided step, or another controller's change.
    #[must_use]
    pub fn is_eventful(&self) -> bool {
        !(self.drops.is_empty() && self.readiness.is_empty() && self.taken.is_empty())
            || self.changed_by_others() > 0
    }

    /// The number of functions whose alias another controller changes.
    fn changed_by_others(&self) -> usize {
        let by_others = |warning: &&Warning| matches!(warning, Warning::ChangedByOthers { .. });
        self.warnings.iter().filter(by_others).count()
    }

    /// The line for CloudWatch in its embedded metric format, with the deployment stage as dimension.
    #[must_use]
    pub fn metrics(&self, stage: &str) -> Value {
        let count = |name: &'static str, number: usize| (name, COUNT, Value::from(number));
        let ready = |ready: &dyn Fn(&Readiness) -> bool| self.readiness.iter().filter(|r| ready(r)).count();
        let failed = |taken: &&Taken| matches!(taken.went, StepResult::Failed(_));
        let changed = |taken: &&Taken| taken.changed();
        // Spill-over is counted for the whole account, so every drop has the same value.
        let spill_over = self.readiness.iter().map(|r| r.spill_over).max().unwrap_or(0);
        let mut metrics = vec![
            count("PrescaledDrops", self.drops.len()),
            count("DropsNotReady", ready(&|r| !r.ready)),
            count("DropsNotOnCourse", ready(&|r| !r.on_course)),
            count("DropsRestrained", ready(&|r| r.ruling != Ruling::AsPlanned)),
            count("CapacityChanges", self.taken.iter().filter(changed).count()),
            count("CapacityChangesFailed", self.taken.iter().filter(failed).count()),
            count("AliasesChangedByOthers", self.changed_by_others()),
            ("SpillOver", COUNT, spill_over.into()),
        ];
        if let Some(error) = self.lesson.as_ref().and_then(|lesson| lesson.largest) {
            metrics.push(("PlanErrorLargest", "None", error.into()));
        }
        line("pre-scaling", stage, self.at, &metrics, &[])
    }
}
