//! The status of a drop for shoppers: one small document that the conductor writes and all clients read.

use serde::{Deserialize, Serialize};

use crate::drops::Phase;
use crate::ids::{DropId, SkuId};
use crate::named;
use crate::survey::Tally;
use crate::time::Timestamp;

named! {
    /// The availability of a SKU.
    pub enum Availability {
        /// Units are free.
        Available = "available",
        /// Every unit is held or in an open order. Some may return, so waiting makes sense.
        AllHeld = "all_held",
        /// Every unit is paid for, or the drop is over: no unit will return.
        Gone = "gone",
    }
}

impl Availability {
    /// The availability by a count, while the drop is not over.
    #[must_use]
    pub const fn of(tally: &Tally) -> Self {
        if tally.free > 0 {
            Self::Available
        } else if tally.sold >= tally.allocated {
            Self::Gone
        } else {
            Self::AllHeld
        }
    }
}

/// The counts of one SKU in the last survey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuCounts {
    /// The SKU.
    pub sku: SkuId,
    /// Units allocated.
    pub allocated: u32,
    /// Units free.
    pub free: u32,
    /// Units held.
    pub held: u32,
    /// Units in open orders.
    pub ordered: u32,
    /// Units sold.
    pub sold: u32,
}

impl SkuCounts {
    /// The counts as a tally.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        Tally {
            allocated: self.allocated,
            free: self.free,
            held: self.held,
            ordered: self.ordered,
            sold: self.sold,
        }
    }
}

/// The status document of a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropStatus {
    /// The drop.
    pub drop: DropId,
    /// When it was surveyed.
    pub as_of: Timestamp,
    /// The fencing number of the lease under which it was written; a lower one never overwrites a higher one.
    pub fencing: u64,
    /// The counts by SKU, in the drop's order.
    pub skus: Vec<SkuCounts>,
}

impl DropStatus {
    /// The counts of one SKU.
    #[must_use]
    pub fn of(&self, sku: &SkuId) -> Option<&SkuCounts> {
        self.skus.iter().find(|counts| counts.sku == *sku)
    }

    /// Whether every unit of every SKU is paid for.
    #[must_use]
    pub fn is_sold_out(&self) -> bool {
        !self.skus.is_empty() && self.skus.iter().all(|c| c.sold >= c.allocated)
    }
}

/// The number of seconds after which a client should ask again: short near the opening and while units may return, long
/// otherwise. `None` once nothing will change.
#[must_use]
pub fn next_poll_seconds(phase: Phase, starts_at: Timestamp, gone: bool, now: Timestamp) -> Option<u32> {
    match phase {
        Phase::Closed | Phase::Cancelled => None,
        Phase::Open if gone => None,
        Phase::Open | Phase::Paused => Some(2),
        Phase::Upcoming => {
            let seconds = starts_at.millis_since(now).max(0) / 1000;
            Some(u32::try_from(seconds / 4).unwrap_or(60).clamp(2, 60))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gone_is_only_said_when_every_unit_is_paid_for() {
        let tally = |free, held, ordered, sold| Tally {
            allocated: 10,
            free,
            held,
            ordered,
            sold,
        };
        assert_eq!(Availability::of(&tally(1, 0, 0, 9)), Availability::Available);
        assert_eq!(Availability::of(&tally(0, 1, 0, 9)), Availability::AllHeld);
        assert_eq!(Availability::of(&tally(0, 0, 1, 9)), Availability::AllHeld);
        assert_eq!(Availability::of(&tally(0, 0, 0, 10)), Availability::Gone);
    }

    #[test]
    fn polls_thin_out_with_distance() {
        let at = |s| Timestamp::from_millis(0).plus_seconds(s);
        let poll = |now| next_poll_seconds(Phase::Upcoming, at(1000), false, at(now));
        assert_eq!(poll(0), Some(60));
        assert_eq!(poll(900), Some(25));
        assert_eq!(poll(999), Some(2));
        assert_eq!(next_poll_seconds(Phase::Open, at(0), true, at(5)), None);
        assert_eq!(next_poll_seconds(Phase::Open, at(0), false, at(5)), Some(2));
    }
}
