//! Defines the status of a drop: one small document that the conductor writes and all clients read.

use serde::{Deserialize, Serialize};

use crate::drops::Phase;
use crate::ids::{DropId, SkuId};
use crate::named;
use crate::survey::Tally;
use crate::time::Timestamp;

named! {
    /// The availability of a SKU to shoppers.
    pub enum Availability {
        /// At least one unit is free.
        Available = "available",
        /// Every unit is held, in an open order or sold, and at least one is not sold. Units may return, so
        /// waiting makes sense.
        AllHeld = "all_held",
        /// Every unit is paid for, or the drop is over: no unit will return.
        Gone = "gone",
    }
}

impl Availability {
    /// The availability that follows from a count of the units, while the drop is not over.
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

/// The units of one SKU by state, as the last survey counted them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuCounts {
    /// The SKU whose units are counted.
    pub sku: SkuId,
    /// Units allocated to shards.
    pub allocated: u32,
    /// Units that any shopper may claim.
    pub free: u32,
    /// Units in holds.
    pub held: u32,
    /// Units in open orders, which are neither held nor sold.
    pub ordered: u32,
    /// Units that are paid for.
    pub sold: u32,
}

impl SkuCounts {
    /// The same counts as a [`Tally`].
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

/// The status document of a drop, as the conductor stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropStatus {
    /// The drop whose units are counted.
    pub drop: DropId,
    /// The time of the survey that counted the units.
    pub as_of: Timestamp,
    /// The fencing number of the lease under which the document was written. A document with a lower number
    /// never replaces one with a higher number.
    pub fencing: u64,
    /// The units of each SKU by state, in the order of the drop's SKUs.
    pub skus: Vec<SkuCounts>,
}

impl DropStatus {
    /// The units of one SKU by state; `None` if the document does not contain the SKU.
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

/// The number of seconds after which a client should read the status again: few near the opening and while
/// units may return, more otherwise. `None` once nothing will change.
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
