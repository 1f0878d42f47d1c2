//! Computes a figure: the median of several rounds, and their spread.

use serde::Serialize;

/// The statistics of several rounds of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// The middle value, or the mean of the two middle values if the number of rounds is even.
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// The number of rounds.
    pub n: usize,
}

impl Figure {
    /// The figure of the rounds; `None` without rounds.
    #[must_use]
    pub fn of(rounds: &[f64]) -> Option<Self> {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
            n: sorted.len(),
        })
    }
}

/// The ratio of two measurements in each round. The two measurements alternate, so that a temporary disturbance of
/// the machine affects both.
#[must_use]
pub fn ratios(rounds: &[f64], over: &[f64]) -> Vec<f64> {
    rounds
        .iter()
        .zip(over)
        .filter(|(_, over)| **over > 0.0)
        .map(|(value, over)| value / over)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Figure::of(&[]), None);
        let three = Figure::of(&[3.0, 1.0, 100.0]).unwrap();
        assert_eq!(three.median, 3.0);
        assert_eq!(three.min, 1.0);
        assert_eq!(three.max, 100.0);
        assert_eq!(three.n, 3);
        assert_eq!(Figure::of(&[1.0, 2.0, 3.0, 4.0]).unwrap().median, 2.5);
    }

    #[test]
    fn rounds_are_compared_one_by_one() {
        assert_eq!(ratios(&[2.0, 9.0], &[1.0, 3.0]), [2.0, 3.0]);
        assert!(ratios(&[2.0], &[0.0]).is_empty());
    }
}
