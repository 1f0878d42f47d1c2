//! Calibrates a profile by measured runs.

use serde::Serialize;

use super::super::measured::Measured;
use super::super::profile::CapacityProfile;
use super::evidence::{evidence, needs_shoppers};
use super::number::{Number, Numbers, numbers, with};

/// The smallest, median and largest value that runs measured for one number of the profile, and its new
/// value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// The number's name in the profile. The value of a share is the function's part of its group, 0 to 1.
    pub number: String,
    /// The profile's former value; `None` for a number that the profile did not have.
    pub old: Option<f64>,
    /// The new value in the profile.
    pub new: f64,
    /// The smallest value of all runs.
    pub least: f64,
    /// The median of the values; for an even number of runs, the mean of the two middle values.
    pub median: f64,
    /// The largest value of all runs.
    pub largest: f64,
    /// The number of runs that measured the number.
    pub runs: usize,
}

/// The profile after a calibration, and what changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibrated {
    /// The calibrated profile.
    pub profile: CapacityProfile,
    /// The measured values and the new value of each number that at least one run measured.
    pub spread: Vec<Spread>,
    /// The names of the numbers that no run measured, which stay unchanged.
    pub kept: Vec<String>,
}

/// The profile that follows from `runs`: the median of their values, and for percentiles the largest value.
/// Numbers that no run measured, and numbers that are set by hand, stay as in `profile`.
#[must_use]
pub fn calibrate(profile: &CapacityProfile, runs: &[Measured]) -> Calibrated {
    let mut seen: std::collections::BTreeMap<Number, Vec<f64>> = std::collections::BTreeMap::new();
    for run in runs {
        for (number, value) in evidence(profile, run) {
            seen.entry(number).or_default().push(value);
        }
    }
    let old = numbers(profile);
    let mut found = Numbers::new();
    for (number, values) in &mut seen {
        values.sort_by(f64::total_cmp);
        let chosen = if number.is_percentile() {
            values.last().copied().unwrap_or(0.0)
        } else {
            median(values)
        };
        found.insert(number.clone(), chosen);
    }
    needs_shoppers(&mut found, profile);
    seen.retain(|number, _| found.contains_key(number));
    let mut calibrated = with(profile, &found);
    let new = numbers(&calibrated);
    let spread = seen
        .iter()
        .map(|(number, values)| Spread {
            number: number.to_string(),
            old: old.get(number).copied(),
            new: new.get(number).copied().unwrap_or(0.0),
            least: values.first().copied().unwrap_or(0.0),
            median: median(values),
            largest: values.last().copied().unwrap_or(0.0),
            runs: values.len(),
        })
        .collect();
    let kept = old.keys().filter(|number| !seen.contains_key(*number));
    let kept: Vec<String> = kept.map(Number::to_string).collect();
    if !seen.is_empty() {
        let from: Vec<&str> = runs.iter().map(|run| run.source.as_str()).collect();
        calibrated.source = format!("measured: {}", from.join("; "));
        if !kept.is_empty() {
            calibrated.source += &format!("; {} numbers as before: {}", kept.len(), profile.source);
        }
    }
    Calibrated {
        profile: calibrated,
        spread,
        kept,
    }
}

/// The median of `values`, which must be sorted.
fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    let at = |n: usize| values.get(n).copied().unwrap_or(0.0);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    }
}
