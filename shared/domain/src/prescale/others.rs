//! Whether something else changes the provisioned concurrency that runs set.
//!
//! **The problem.** Another controller on the same alias, such as a scaling policy of Application Auto Scaling or a person, sets its own value each
//! time a run has set one. Without a rule, both change the alias for ever, Lambda allocates anew each time, and nobody is told.
//!
//! **The model.** A run leaves for each function the values one of which the alias has if nobody else changes it: what the run found, and what it
//! asked for until Lambda accepted that. The next run that finds another value warns. It raises what a drop wants all the same. What the other
//! raised, it leaves for [`LEFT_TO_OTHERS_MS`], then takes it back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

use super::capacity::Capacity;
use super::observed::Observed;
use super::target::Target;

/// How long what another controller raised is left alone, in milliseconds. An operator who is alarmed can look at it, and a process that
/// was stopped before its call and continued after it costs no more than this.
pub const LEFT_TO_OTHERS_MS: i64 = 15 * 60_000;

/// What runs set of one function's provisioned concurrency.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSet {
    /// Units, one of which the alias asks for if nobody else changes it.
    pub values: BTreeSet<u32>,
    /// When a run first found another value, if one did and left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

impl LastSet {
    /// Since when another controller has changed what is now found as `units`; `None` if it is what runs set.
    #[must_use]
    pub fn changed_since(&self, units: u32, now: Timestamp) -> Option<Timestamp> {
        (!self.values.contains(&units)).then(|| self.changed_at.unwrap_or(now))
    }
}

/// What the next run compares with, by function: `last` is what the last run left for this one, `observed` what this one found, `wanted` what
/// drops need and `target` what it asks for.
#[must_use]
pub fn left_for_next(
    last: &BTreeMap<String, LastSet>,
    observed: &Observed,
    wanted: &Capacity,
    target: &Target,
    now: Timestamp,
) -> BTreeMap<String, LastSet> {
    let one = |(name, there): (&String, &super::observed::ObservedFunction)| {
        let found = there.asked.provisioned;
        let to = target.functions.get(name).map_or(found, |to| to.provisioned);
        let left_alone = to == found && found != wanted.function(name).provisioned;
        let last = last.get(name);
        let left = match last.and_then(|last| Some((last, last.changed_since(found, now)?))) {
            Some((last, since)) if left_alone => LastSet {
                values: last.values.clone(),
                changed_at: Some(since),
            },
            _ => LastSet {
                values: BTreeSet::from([found, to]),
                changed_at: None,
            },
        };
        (name.clone(), left)
    };
    observed.functions.iter().map(one).collect()
}
