//! Makes the decision of one run: computes the steps from the values that it read, and the record for the
//! next run.

use std::collections::BTreeMap;

use serde::Serialize;

use domain::time::Timestamp;

use super::amounts::Target;
use super::documents::Documents;
use super::observed::Observed;
use super::others::left_for_next;
use super::quotas::Quotas;
use super::steps::{Step, steps};
use super::target::{LEAST_BETWEEN_RUNS_MS, Record, Warning, target as target_of};
use super::wanted::{Wanted, wanted};

/// The decision of a run: its steps, its warnings, and the record for the next run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The capacity that is needed now, and the drops that need it.
    pub wanted: Wanted,
    /// The capacity that this run requests.
    pub target: Target,
    /// The steps from the observed capacity to the target.
    pub steps: Vec<Step>,
    /// Steps that are not carried out, since the run before has not confirmed them.
    pub withheld: Vec<Step>,
    /// Warnings for operators.
    pub warnings: Vec<Warning>,
    /// The record for the next run.
    #[serde(skip)]
    pub record: Record,
}

/// The decision of a run that reads `docs`, `quotas` and `observed` at `now`. `previous` is the record of the
/// run before.
///
/// The decision depends on the current and the needed capacity, and not on earlier actions. Only two things
/// are carried over. Without the capacity that the last run wanted, nothing is reduced. Without the values
/// that it set, a run would not notice [another controller](super::others).
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
