//! A profile from measured runs.

use serde::Serialize;

use super::super::measured::Measured;
use super::super::profile::CapacityProfile;
use super::evidence::{evidence, needs_shoppers};
use super::number::{Number, Numbers, numbers, with};

/// One number over all runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// Its name, as people find it in the document. A share is told as the function's part of its group, 0 to 1.
    pub number: String,
    /// What the profile said; none for one that it did not have.
    pub old: Option<f64>,
    /// What it says now.
    pub new: f64,
    /// The least of the runs.
    pub least: f64,
    /// The middle one, or half way between the two in the middle.
    pub median: f64,
    /// The largest.
    pub largest: f64,
    /// How many runs could tell.
    pub runs: usize,
}

/// A calibrated profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibrated {
    /// The profile.
    pub profile: CapacityProfile,
    /// Each number that was measured.
    pub spread: Vec<Spread>,
    /// Numbers that no run could tell: they are as they were.
    pub kept: Vec<String>,
}

/// The profile that `runs` say: the median of them, and for percentiles the largest. What none of them measured, and what
/// is people's to decide, stays as `profile` has it.
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

/// Of values in order.
fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    let at = |n: usize| values.get(n).copied().unwrap_or(0.0);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    }
}
