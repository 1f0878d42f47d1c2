//! Detects other controllers that change the provisioned concurrency which runs set.
//!
//! **The problem.** Another controller of the same alias, for example a scaling policy of Application Auto
//! Scaling or an engineer, may set its own value each time after a run has set one. Without a rule, both
//! would change the alias forever, Lambda would allocate again each time, and no operator would be informed.
//!
//! **The model.** For each function, a run stores the values that the alias may have if no other controller
//! changes it: the value that the run found, and the value that it requested, until Lambda has accepted the
//! requested value. If the next run finds another value, it logs a warning. It still increases the value if a
//! drop needs more. An increase by another controller stays for [`LEFT_TO_OTHERS_MS`]; then a run reduces it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use domain::time::Timestamp;

use super::amounts::{Capacity, Target};
use super::observed::{Observed, ObservedFunction};

/// How long another controller's increase is kept, in milliseconds, so that an alerted operator can
/// examine it. The limit also bounds the cost of a process that was suspended before its call and made the
/// call later.
pub const LEFT_TO_OTHERS_MS: i64 = 15 * 60_000;

/// The values that runs set for one function's provisioned concurrency.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSet {
    /// The requested values, in units. The alias has one of these values if no other controller changes it.
    pub values: BTreeSet<u32>,
    /// The time at which a run first found another value and kept it; `None` if no run did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

impl LastSet {
    /// The record of a run that set one of `values`, or found a value and requested another.
    #[must_use]
    pub fn of(values: impl Into<BTreeSet<u32>>) -> Self {
        let (values, changed_at) = (values.into(), None);
        Self { values, changed_at }
    }

    /// The time since which another controller has changed the value, which is now `units`; `None` if runs
    /// set this value.
    #[must_use]
    pub fn changed_since(&self, units: u32, now: Timestamp) -> Option<Timestamp> {
        (!self.values.contains(&units)).then(|| self.changed_at.unwrap_or(now))
    }
}

/// The record for the next run, by the name of the function. `last` is the record of the run before,
/// `observed` the current state, `wanted` the capacity that drops need, and `target` the capacity that this
/// run requests.
#[must_use]
pub fn left_for_next(
    last: &BTreeMap<String, LastSet>,
    observed: &Observed,
    wanted: &Capacity,
    target: &Target,
    now: Timestamp,
) -> BTreeMap<String, LastSet> {
    let one = |(name, there): (&String, &ObservedFunction)| {
        let found = there.asked.provisioned;
        let to = target.functions.get(name).map_or(found, |to| to.provisioned);
        let left_alone = to == found && found != wanted.function(name).provisioned;
        let last = last.get(name);
        let left = match last.and_then(|last| Some((last, last.changed_since(found, now)?))) {
            Some((last, since)) if left_alone => LastSet {
                values: last.values.clone(),
                changed_at: Some(since),
            },
            _ => LastSet::of([found, to]),
        };
        (name.clone(), left)
    };
    observed.functions.iter().map(one).collect()
}
