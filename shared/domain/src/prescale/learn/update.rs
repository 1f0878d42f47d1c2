//! The profile moved by one drop.

use serde::{Deserialize, Serialize};

use super::super::measured::Measured;
use super::super::phase::Phase;
use super::super::profile::{CapacityProfile, Group};
use super::evidence::evidence;
use super::number::{Number, Numbers, numbers, with};

/// How far one drop may move a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Of the way up, 0 to 1.
    pub up: f64,
    /// Of the way down, 0 to 1.
    pub down: f64,
    /// No number grows to more than so many times itself: a figure that is beyond belief, or a crowd of machines, shall not
    /// buy the next drop everything. The share of a function in its group is not held back.
    pub at_most: f64,
}

impl Default for Pace {
    /// Up at once, for what was short was felt by people; down half way, for what was idle was only paid for, and the next
    /// drop may be busier. Four times at most.
    fn default() -> Self {
        Self {
            up: 1.0,
            down: 0.5,
            at_most: 4.0,
        }
    }
}

/// One number that was moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub number: String,
    /// What the profile said; 0 for one that it did not have.
    pub old: f64,
    /// What the drop says.
    pub seen: f64,
    /// What the profile says now.
    pub new: f64,
    /// Whether it was kept from growing as far as it should.
    pub held_back: bool,
}

/// An updated profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Updated {
    /// The profile; its `source` names the drop.
    pub profile: CapacityProfile,
    /// Numbers for which the drop was evidence.
    pub changes: Vec<Change>,
    /// Numbers that the drop could not tell: they are as they were.
    pub kept: Vec<String>,
}

/// `profile` moved by what one drop caused. With no evidence at all the profile is the same, `source` included.
///
/// Afterwards each function has what the drop says it needs, unless it was held back: where shares of a group move, those
/// that rise do so at once and those that fall only half way, which is more than the whole; so the group's weights grow by
/// as much.
#[must_use]
pub fn update(profile: &CapacityProfile, measured: &Measured, pace: Pace) -> Updated {
    let seen = evidence(profile, measured);
    let old = numbers(profile);
    let was = |number: &Number| old.get(number).copied().unwrap_or(0.0);
    let mut next = Numbers::new();
    let mut held_back = std::collections::BTreeSet::new();
    for (number, value) in &seen {
        let free = Pace {
            at_most: f64::INFINITY,
            ..pace
        };
        let is_part = matches!(number, Number::Part { .. });
        let (value, held) = step(was(number), *value, if is_part { free } else { pace });
        next.insert(number.clone(), value);
        if held {
            held_back.insert(number.clone());
        }
    }
    for group in &profile.groups {
        make_room(group, &mut next);
    }
    let mut updated = with(profile, &next);
    let now = numbers(&updated);
    if !seen.is_empty() {
        updated.source = source(profile, measured);
        updated.learned_from = Some(measured.drop.clone());
    }
    let change = |(number, seen): (&Number, &f64)| Change {
        number: number.to_string(),
        old: was(number),
        seen: *seen,
        new: now.get(number).copied().unwrap_or(0.0),
        held_back: held_back.contains(number),
    };
    Updated {
        profile: updated,
        changes: seen.iter().map(change).collect(),
        kept: (old.keys())
            .filter(|number| !seen.contains_key(*number))
            .map(Number::to_string)
            .collect(),
    }
}

/// From `old` towards `seen`; whether it should have been further.
fn step(old: f64, seen: f64, pace: Pace) -> (f64, bool) {
    if seen <= old {
        return (old + (seen - old) * pace.down, false);
    }
    let up = old + (seen - old) * pace.up;
    // Nothing has no multiple.
    let most = if old > 0.0 {
        old * pace.at_most
    } else {
        f64::INFINITY
    };
    (up.min(most), up > most)
}

/// Where a group's parts are more than the whole, lets its weights grow by as much, so that no function loses.
fn make_room(group: &Group, next: &mut Numbers) {
    let part = |(share, old): (&super::super::profile::FunctionShare, f64)| {
        let number = Number::Part {
            function: share.function.clone(),
        };
        let found = next.get(&number).copied();
        number.bounded(found.unwrap_or(old))
    };
    let whole: f64 = group.parts().map(part).sum();
    if whole <= 1.0 {
        return;
    }
    for phase in Phase::ALL {
        let number = Number::Weight {
            group: group.name.clone(),
            phase,
        };
        let weight = next.entry(number).or_insert(*group.weight.of(phase));
        *weight *= whole;
    }
}

/// The drop that was last, and what there was before it: not the whole history, which has no bounds.
fn source(profile: &CapacityProfile, measured: &Measured) -> String {
    const MARK: &str = "; learned from ";
    let origin = profile.source.split(MARK).next().unwrap_or_default();
    format!("{origin}{MARK}{}", measured.source)
}
