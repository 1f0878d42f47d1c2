//! Faults that hit every request from now on, until changed.
//!
//! Whether one request is hit follows from the faults' seed, the order (or intent) and the number of the attempt, never
//! from the order of arrival: the same run meets the same faults however its requests interleave.

use serde::{Deserialize, Serialize};

use crate::ids::draw;

/// What goes wrong. Absent fields mean "nothing".
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Added to every API request while it holds its idempotency key.
    pub latency_ms: u64,
    /// 503 for every API request, before anything is begun.
    pub outage: bool,
    /// Share of confirms (0 to 1) that are lost before they are carried out.
    pub timeout_before_charge: f64,
    /// Share of confirms (0 to 1) that are carried out and whose answer is lost.
    pub timeout_after_charge: f64,
    /// Share of the other POSTs (0 to 1) that are carried out and whose answer is lost.
    pub lost_answer: f64,
    /// The draws follow from this.
    pub seed: u64,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Carried out and answered.
    Answered,
    /// Lost on its way here.
    LostBefore,
    /// Carried out, its answer lost.
    LostAfter,
}

impl Faults {
    /// Draws a confirm's fate. `subject` is the order or intent, `attempt` counts its confirms from 0.
    #[must_use]
    pub fn confirm_fate(&self, subject: &str, attempt: u64) -> Fate {
        let drawn = draw(
            self.seed,
            &[b"confirm", subject.as_bytes(), &attempt.to_be_bytes()],
        );
        if drawn < self.timeout_before_charge {
            Fate::LostBefore
        } else if drawn < self.timeout_before_charge + self.timeout_after_charge {
            Fate::LostAfter
        } else {
            Fate::Answered
        }
    }

    /// Draws the fate of any other POST; `nth` tells repeats of the same operation apart.
    #[must_use]
    pub fn other_fate(&self, operation: &str, subject: &str, nth: u64) -> Fate {
        let drawn = draw(
            self.seed,
            &[operation.as_bytes(), subject.as_bytes(), &nth.to_be_bytes()],
        );
        if drawn < self.lost_answer {
            Fate::LostAfter
        } else {
            Fate::Answered
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_out_as_asked_and_repeat_with_the_seed() {
        let faults = Faults {
            timeout_before_charge: 0.2,
            timeout_after_charge: 0.3,
            seed: 11,
            ..Faults::default()
        };
        let fates: Vec<Fate> = (0..10_000)
            .map(|n| faults.confirm_fate(&format!("order-{n}"), 0))
            .collect();
        let count = |fate| fates.iter().filter(|f| **f == fate).count();
        assert!((1_800..2_200).contains(&count(Fate::LostBefore)));
        assert!((2_800..3_200).contains(&count(Fate::LostAfter)));
        let again: Vec<Fate> = (0..10_000)
            .map(|n| faults.confirm_fate(&format!("order-{n}"), 0))
            .collect();
        assert_eq!(fates, again);
    }

    #[test]
    fn nothing_is_lost_without_faults() {
        assert!((0..1_000).all(|n| Faults::default().confirm_fate("o", n) == Fate::Answered));
        assert!((0..1_000).all(|n| Faults::default().other_fate("create", "o", n) == Fate::Answered));
    }
}
