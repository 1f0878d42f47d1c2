//! Updates the profile by the evidence of one drop.

use serde::{Deserialize, Serialize};

use super::super::measured::Measured;
use super::super::phase::Phase;
use super::super::profile::{CapacityProfile, FunctionShare, Group};
use super::evidence::evidence;
use super::number::{Number, Numbers, numbers, with};

/// How far the evidence of one drop may move a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The part of an increase that is used, 0 to 1.
    pub up: f64,
    /// The part of a decrease that is used, 0 to 1.
    pub down: f64,
    /// The largest factor by which a number may grow, so that an implausible measurement, or the requests of
    /// bots, cannot multiply the next drop's capacity without limit. The factor does not limit a function's
    /// share of its group.
    pub at_most: f64,
}

impl Default for Pace {
    /// An increase is used fully, since missing capacity affected shoppers, but at most up to a factor of
    /// four. A decrease is used half, since idle capacity only cost money, and the next drop may be busier.
    fn default() -> Self {
        Self {
            up: 1.0,
            down: 0.5,
            at_most: 4.0,
        }
    }
}

/// The change of one number by one drop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The number's name in the profile.
    pub number: String,
    /// The former value; 0 for a number that the profile did not have.
    pub old: f64,
    /// The value that the drop's evidence implies.
    pub seen: f64,
    /// The new value.
    pub new: f64,
    /// Whether the growth of the number was limited ([`Pace::at_most`]).
    pub held_back: bool,
}

/// The profile after an update, and what changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Updated {
    /// The updated profile; its `source` names the drop.
    pub profile: CapacityProfile,
    /// One entry for each number of the profile that the drop measured, also if its value stayed the same.
    pub changes: Vec<Change>,
    /// The names of the numbers that the drop did not measure, which stay unchanged.
    pub kept: Vec<String>,
}

/// `profile`, updated by the measured load of one drop. Without any evidence the profile stays the same,
/// including its `source`.
///
/// Afterwards each function has the capacity that the drop implies, unless the growth was limited. When the
/// shares of a group move, rising shares move fully and falling shares only half way, so their sum exceeds
/// the whole. The weights of the group then grow by the same factor.
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

/// Moves the value from `old` towards `seen`, and returns whether the growth was limited.
fn step(old: f64, seen: f64, pace: Pace) -> (f64, bool) {
    if seen <= old {
        return (old + (seen - old) * pace.down, false);
    }
    let up = old + (seen - old) * pace.up;
    // A factor on a value of zero would prevent any growth, so the growth from zero is not limited.
    let most = if old > 0.0 {
        old * pace.at_most
    } else {
        f64::INFINITY
    };
    (up.min(most), up > most)
}

/// If the parts of a group exceed the whole, scales the group's weights up by the same factor, so that no
/// function loses capacity.
fn make_room(group: &Group, next: &mut Numbers) {
    let part = |(share, old): (&FunctionShare, f64)| {
        let number = Number::part(share);
        let found = next.get(&number).copied();
        number.bounded(found.unwrap_or(old))
    };
    let whole: f64 = group.parts().map(part).sum();
    if whole <= 1.0 {
        return;
    }
    for phase in Phase::ALL {
        let weight = next
            .entry(Number::weight(group, phase))
            .or_insert(*group.weight.of(phase));
        *weight *= whole;
    }
}

/// The new `source`: the original source and the last drop. A list of all drops would grow without limit.
fn source(profile: &CapacityProfile, measured: &Measured) -> String {
    const MARK: &str = "; learned from ";
    let origin = profile.source.split(MARK).next().unwrap_or_default();
    format!("{origin}{MARK}{}", measured.source)
}
