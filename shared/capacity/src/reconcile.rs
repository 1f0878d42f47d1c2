//! One run: computes the current steps from what was read, and the record for the next run.

use std::collections::BTreeMap;

use serde::Serialize;

use domain::time::Timestamp;

use super::documents::Documents;
use super::observed::Observed;
use super::others::left_for_next;
use super::quotas::Quotas;
use super::steps::{Step, steps};
use super::target::{LEAST_BETWEEN_RUNS_MS, Record, Target, Warning, target as target_of};
use super::wanted::{Wanted, wanted};

/// The decision of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The needed capacity, and the drops that need it.
    pub wanted: Wanted,
    /// The capacity after this run.
    pub target: Target,
    /// The steps to the target.
    pub steps: Vec<Step>,
    /// Steps that need the confirmation of the run before, which is missing.
    pub withheld: Vec<Step>,
    /// Warnings for operators.
    pub warnings: Vec<Warning>,
    /// The record for the next run.
    #[serde(skip)]
    pub record: Record,
}

/// The decision of a run that reads `docs`, `quotas` and `observed` at `now`, after a run that left `previous`.
///
/// The decision is level-triggered: it depends on the current and the needed capacity, not on earlier actions. Two
/// things are carried over: what the last run wanted, without which nothing is reduced, and what it set, without which
/// [another controller](super::others) would not be noticed.
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
