//! One run: from what was read to the steps of now, and the record for the next run.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::time::Timestamp;

use super::documents::Documents;
use super::observed::Observed;
use super::others::left_for_next;
use super::quotas::Quotas;
use super::steps::{Step, steps};
use super::target::{LEAST_BETWEEN_RUNS_MS, Record, Target, Warning, target as target_of};
use super::wanted::{Wanted, wanted};

/// What a run decides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// What is wanted, and for which drops.
    pub wanted: Wanted,
    /// What shall be there after this run.
    pub target: Target,
    /// How to get there.
    pub steps: Vec<Step>,
    /// What would be done as well, had the run before agreed.
    pub withheld: Vec<Step>,
    /// What people should know.
    pub warnings: Vec<Warning>,
    /// What the next run must be given.
    #[serde(skip)]
    pub record: Record,
}

/// Decides what a run does that reads `docs`, `quotas` and `observed` at `now`, after a run that left `previous`.
///
/// It is level-triggered: it looks at what is there and what is wanted, never at what was done before. Two things are carried over: what the
/// last run wanted, without which nothing goes down, and what it set, without which [another controller](super::others) would stay unnoticed.
#[must_use]
pub fn reconcile(
    docs: &Documents,
    quotas: &Quotas,
    observed: &Observed,
    previous: Option<&Record>,
    now: Timestamp,
) -> Decision {
    let wanted = wanted(docs, quotas, now);
    let (target, warnings) = target_of(docs, quotas, &wanted, observed, previous, now);
    let steps_now = steps(observed, &target);
    let agreeing = Record {
        at: now.plus_millis(-LEAST_BETWEEN_RUNS_MS),
        wanted: wanted.capacity.clone(),
        set: BTreeMap::new(),
    };
    let (agreed, _) = target_of(docs, quotas, &wanted, observed, Some(&agreeing), now);
    let mut withheld = steps(observed, &agreed);
    withheld.retain(|step| !steps_now.contains(step));
    let nothing = BTreeMap::new();
    let last = previous.map_or(&nothing, |record| &record.set);
    let set = left_for_next(last, observed, &wanted.capacity, &target, now);
    Decision {
        steps: steps_now,
        withheld,
        record: Record {
            at: now,
            wanted: wanted.capacity.clone(),
            set,
        },
        wanted,
        target,
        warnings,
    }
}
