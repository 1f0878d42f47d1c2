//! Names the numbers of the profile that can be learned, and reads and replaces their values.

use std::collections::BTreeMap;
use std::fmt;

use super::super::phase::Phase;
use super::super::profile::{CapacityProfile, FunctionShare, Group, LEAST_MS, MOST_MS, MOST_PER, TableUse};

/// Names one number of the profile that can be learned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Number {
    /// A group's requests for each shopper or unit in one phase.
    Weight {
        /// The group, by its name in the profile.
        group: String,
        /// The phase in which the requests count.
        phase: Phase,
    },
    /// A function's part of the requests of its group, 0 to 1.
    Part {
        /// The function, by its name in the profile.
        function: String,
    },
    /// The 95th percentile of a function's run time, in ms.
    P95 {
        /// The function, by its name in the profile.
        function: String,
    },
    /// The mean of a function's run time, in ms.
    Mean {
        /// The function, by its name in the profile.
        function: String,
    },
    /// A table's write units for each unit sold.
    WriteUnits {
        /// The table, by its name in the profile.
        table: String,
    },
    /// A table's read units for each request of a group.
    ReadUnits {
        /// The table, by its name in the profile.
        table: String,
        /// The group whose requests are counted, by its name in the profile.
        group: String,
    },
    /// A queue's messages for each unit sold.
    Messages {
        /// The event source, by its name in the profile.
        source: String,
    },
    /// The 95th percentile of the time for one of a queue's messages, in ms.
    Handling {
        /// The event source, by its name in the profile.
        source: String,
    },
    /// The ledger's rows for each unit sold.
    Rows,
}

/// Values for numbers of the profile.
pub type Numbers = BTreeMap<Number, f64>;

/// The smallest part of a group's requests that a function may have, since a share must be above zero.
const LEAST_PART: f64 = 0.001;
/// The number of significant digits of learned numbers. The measurements of one drop do not justify
/// more digits.
const DIGITS: i32 = 4;

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight { group, phase } => write!(f, "group.{group}.weight.{phase}"),
            Self::Part { function } => write!(f, "function.{function}.share"),
            Self::P95 { function } => write!(f, "function.{function}.p95_ms"),
            Self::Mean { function } => write!(f, "function.{function}.mean_ms"),
            Self::WriteUnits { table } => write!(f, "table.{table}.write_units_per_unit"),
            Self::ReadUnits { table, group } => {
                write!(f, "table.{table}.read_units_per_request.{group}")
            }
            Self::Messages { source } => write!(f, "queue.{source}.messages_per_unit"),
            Self::Handling { source } => write!(f, "queue.{source}.handling_ms"),
            Self::Rows => f.write_str("database.rows_per_unit"),
        }
    }
}

impl Number {
    pub(super) fn weight(group: &Group, phase: Phase) -> Self {
        let group = group.name.clone();
        Self::Weight { group, phase }
    }

    pub(super) fn part(share: &FunctionShare) -> Self {
        let function = share.function.clone();
        Self::Part { function }
    }

    pub(super) fn p95(share: &FunctionShare) -> Self {
        let function = share.function.clone();
        Self::P95 { function }
    }

    pub(super) fn mean(share: &FunctionShare) -> Self {
        let function = share.function.clone();
        Self::Mean { function }
    }

    pub(super) fn reads(used: &TableUse, group: &str) -> Self {
        let (table, group) = (used.table.clone(), group.to_owned());
        Self::ReadUnits { table, group }
    }

    /// Whether the number is a percentile of a time. Of several runs the largest percentile counts, since a
    /// mean of percentiles has no meaning.
    #[must_use]
    pub const fn is_percentile(&self) -> bool {
        matches!(self, Self::P95 { .. } | Self::Handling { .. })
    }

    /// The value that is nearest to `value` and valid for this number in a profile.
    pub(super) fn bounded(&self, value: f64) -> f64 {
        let (least, most) = match self {
            Self::Part { .. } => (LEAST_PART, 1.0),
            Self::P95 { .. } | Self::Mean { .. } | Self::Handling { .. } => (LEAST_MS, MOST_MS),
            _ => (0.0, MOST_PER),
        };
        value.max(least).min(most)
    }
}

/// Passes each learnable number of `profile` to `each`, with its place in the profile. The parts of functions are
/// missing, since the profile has shares in place of parts.
fn for_each(profile: &mut CapacityProfile, mut each: impl FnMut(Number, &mut f64)) {
    for group in &mut profile.groups {
        for phase in Phase::ALL {
            let number = Number::weight(group, phase);
            each(number, group.weight.of_mut(phase));
        }
        for share in &mut group.functions {
            each(Number::p95(share), &mut share.p95_ms);
            each(Number::mean(share), &mut share.mean_ms);
        }
    }
    for used in &mut profile.tables {
        let table = used.table.clone();
        each(Number::WriteUnits { table }, &mut used.write_units_per_unit);
        for (group, units) in &mut used.read_units_per_request {
            let (table, group) = (used.table.clone(), group.clone());
            each(Number::ReadUnits { table, group }, units);
        }
    }
    for queue in &mut profile.queues {
        let source = || queue.source.clone();
        each(
            Number::Messages { source: source() },
            &mut queue.messages_per_unit,
        );
        each(Number::Handling { source: source() }, &mut queue.handling_ms);
    }
    each(Number::Rows, &mut profile.database.rows_per_unit);
}

/// The values of all learnable numbers of `profile`.
#[must_use]
pub fn numbers(profile: &CapacityProfile) -> Numbers {
    let parts = profile.groups.iter().flat_map(Group::parts);
    let mut numbers: Numbers = parts.map(|(share, part)| (Number::part(share), part)).collect();
    for_each(&mut profile.clone(), |number, value| {
        numbers.insert(number, *value);
    });
    numbers
}

/// `profile` with the given `numbers`, each limited to its valid range. All other numbers stay unchanged.
#[must_use]
pub(super) fn with(profile: &CapacityProfile, numbers: &Numbers) -> CapacityProfile {
    let mut profile = profile.clone();
    for group in &mut profile.groups {
        share_out(group, numbers);
    }
    for used in &mut profile.tables {
        for group in &profile.groups {
            let more = numbers.get(&Number::reads(used, &group.name));
            if more.is_some_and(|units| *units > 0.0) {
                used.read_units_per_request.entry(group.name.clone()).or_default();
            }
        }
    }
    for_each(&mut profile, |number, value| {
        if let Some(new) = numbers.get(&number) {
            *value = number.bounded(rounded(number.bounded(*new)));
        }
    });
    profile
}

/// Sets the shares of a group's functions from their parts, if `numbers` contain any part. The sum of the
/// shares does not change.
fn share_out(group: &mut Group, numbers: &Numbers) {
    let parts: Vec<(f64, bool)> = group
        .parts()
        .map(|(share, old)| {
            let number = Number::part(share);
            let found = numbers.get(&number).copied();
            (number.bounded(found.unwrap_or(old)), found.is_some())
        })
        .collect();
    if !parts.iter().any(|(_, found)| *found) {
        return;
    }
    let whole: f64 = parts.iter().map(|(part, _)| part).sum();
    let shares: f64 = group.functions.iter().map(|f| f.share).sum();
    for (function, (part, _)) in group.functions.iter_mut().zip(&parts) {
        function.share = rounded(part / whole * shares).min(MOST_PER);
    }
}

/// Rounds up to [`DIGITS`] significant digits, since rounding down would remove capacity.
fn rounded(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return value;
    }
    let mut factor = 1.0;
    let mut scaled = value;
    let (least, most) = (10f64.powi(DIGITS - 1), 10f64.powi(DIGITS));
    while scaled < least {
        factor *= 10.0;
        scaled = value * factor;
    }
    if scaled >= most {
        // A whole number with more digits is exact enough and short without further rounding.
        return value.ceil();
    }
    // The small subtraction prevents that an error of binary fractions raises the last digit.
    let up = (scaled - scaled * 1e-9).ceil();
    up / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_up_to_four_digits_and_noise_is_none() {
        for (value, wanted) in [
            (0.0, 0.0),
            (20.0, 20.0),
            (0.1 + 0.2, 0.3),
            (20.001, 20.01),
            (0.000_123_41, 0.000_123_5),
            (123_456.1, 123_457.0),
            (9_999.5, 10_000.0),
        ] {
            assert_eq!(rounded(value), wanted, "{value}");
        }
    }

    #[test]
    fn numbers_have_the_names_that_people_find_in_the_document() {
        let number = Number::Weight {
            group: "buy".to_owned(),
            phase: Phase::Opening,
        };
        assert_eq!(number.to_string(), "group.buy.weight.opening");
        assert_eq!(Number::Rows.to_string(), "database.rows_per_unit");
    }
}
