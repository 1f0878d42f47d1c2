//! What a run came to, as its answer and as metrics.

use domain::prescale::learn::Lesson;
use domain::prescale::plan::{Plan, plan};
use domain::prescale::readiness::{Readiness, Ruling};
use domain::prescale::reconcile::Decision;
use domain::prescale::steps::Step;
use domain::prescale::target::Warning;
use domain::prescale::wanted::WantedDrop;
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
    /// One before it on the same thing is not complete.
    Waits,
    /// The run ends first.
    OutOfTime,
    /// By the calendar as it now is, it is not wanted.
    NotWanted,
    /// Lease or calendar could not be read again.
    Uncertain,
    /// Another run has taken over, or the lease has run out.
    Superseded,
    /// It could not be put on record.
    NoAudit,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Went {
    /// The account took it.
    Carried(Carried),
    /// The account did not, or did not say.
    Failed(ControlError),
    /// It was not tried.
    Skipped(Skipped),
}

impl Serialize for Went {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Carried(carried) => serializer.collect_str(carried),
            Self::Failed(error) => serializer.collect_str(error),
            Self::Skipped(why) => why.serialize(serializer),
        }
    }
}

/// A step, and how it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Taken {
    /// Which.
    #[serde(flatten)]
    pub step: Step,
    /// How it went.
    pub went: Went,
}

impl Taken {
    /// Whether the account may be another than before.
    #[must_use]
    pub fn changed(&self) -> bool {
        match &self.went {
            Went::Carried(carried) => *carried != Carried::AlreadySo,
            Went::Failed(error) => *error == ControlError::Unknown,
            Went::Skipped(_) => false,
        }
    }

    /// The provisioned concurrency that Lambda accepted by this step, and of which function.
    pub(crate) fn accepted(&self) -> Option<(&str, u32)> {
        match (&self.step, &self.went) {
            (Step::Provision { function, to, .. }, Went::Carried(_)) => Some((function, *to)),
            _ => None,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// What it was asked for.
    pub mode: Mode,
    /// When it decided.
    pub at: Timestamp,
    /// Who else was at it; then nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby_for: Option<String>,
    /// The drops for which capacity is wanted.
    pub drops: Vec<WantedDrop>,
    /// What people should know.
    pub warnings: Vec<Warning>,
    /// What it decided to change.
    pub steps: Vec<Step>,
    /// What waits until a second run agrees.
    pub withheld: Vec<Step>,
    /// What it tried to.
    pub taken: Vec<Taken>,
    /// How ready the drops are.
    pub readiness: Vec<Readiness>,
    /// What a drop taught that is over, if the profile was changed by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lesson: Option<Lesson>,
    /// The plans of all drops on the calendar, in the mode `plan`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<Plan>,
}

impl Outcome {
    pub(crate) fn standby(mode: Mode, at: Timestamp, theirs: &Lease) -> Self {
        Self {
            mode,
            at,
            standby_for: Some(theirs.holder.clone()),
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

    pub(crate) fn decided(mode: Mode, at: Timestamp, decision: &Decision) -> Self {
        Self {
            mode,
            at,
            standby_for: None,
            drops: decision.wanted.drops.clone(),
            warnings: decision.warnings.clone(),
            steps: decision.steps.clone(),
            withheld: decision.withheld.clone(),
            taken: Vec::new(),
            readiness: Vec::new(),
            lesson: None,
            plans: Vec::new(),
        }
    }

    pub(crate) fn plan(&mut self, read: &Read, now: Timestamp) {
        let observed = &read.seen.observed;
        let one = |id| plan(&read.docs, &read.quotas, observed, id, now).ok();
        self.plans = (read.docs.calendar.iter())
            .filter_map(|drop| one(&drop.id))
            .collect();
    }

    /// Whether there is a drop, something was done, or another controller is at work.
    #[must_use]
    pub fn is_eventful(&self) -> bool {
        !(self.drops.is_empty() && self.readiness.is_empty() && self.taken.is_empty())
            || self.changed_by_others() > 0
    }

    /// Functions whose alias another controller changes.
    fn changed_by_others(&self) -> usize {
        let by_others = |warning: &&Warning| matches!(warning, Warning::ChangedByOthers { .. });
        self.warnings.iter().filter(by_others).count()
    }

    /// The line for CloudWatch, in its embedded metric format, with the deployment stage as dimension.
    #[must_use]
    pub fn metrics(&self, stage: &str) -> Value {
        let count = |name: &'static str, number: usize| (name, COUNT, Value::from(number));
        let ready = |ready: &dyn Fn(&Readiness) -> bool| self.readiness.iter().filter(|r| ready(r)).count();
        let failed = |taken: &&Taken| matches!(taken.went, Went::Failed(_));
        let changed = |taken: &&Taken| taken.changed();
        // Counted for the account, so every drop tells the same.
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
