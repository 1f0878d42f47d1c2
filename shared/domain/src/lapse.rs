//! Counts lapses: holds that expired unused and orders that ended because the shopper did not pay. Computes
//! the waiting time that they cause.
//!
//! A shopper who holds units repeatedly without paying blocks them for others at no cost. So the conductor
//! counts each hold that expires unused, and an order that ends by a decline or by the payment deadline
//! counts too. The first lapse has no consequence, since an answer may be lost or a decision may take long.
//! From the second on, the shopper must wait for the length of a hold before a further reservation.

use crate::claim::{Claim, ClaimState};
use crate::limits::CLOCK_SKEW_MS;
use crate::time::Timestamp;

/// The number of lapses without a waiting time.
pub const FREE_LAPSES: u32 = 1;

/// The time from a hold's deadline to its count, in milliseconds. It is half of the time after which other
/// shoppers may take the hold over: a checkout whose clock is behind by up to this time still comes first,
/// and the count comes before a take-over removes the hold.
pub const COUNTED_AFTER_MS: i64 = CLOCK_SKEW_MS / 2;

/// The lapses of one shopper in one drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapses {
    /// The number of lapses.
    pub count: u32,
    /// The time of the last lapse: the deadline of the hold, or the end of the order.
    pub last: Timestamp,
}

impl Lapses {
    /// The lapses after one more hold with this deadline; `None` when the hold has already been counted.
    /// Holds must be counted in the order of their deadlines, since a deadline up to the last one counts as
    /// a repeat.
    #[must_use]
    pub fn counting(before: Option<Self>, deadline: Timestamp) -> Option<Self> {
        match before {
            Some(before) if deadline <= before.last => None,
            before => Some(Self {
                count: before.map_or(0, |before| before.count).saturating_add(1),
                last: deadline,
            }),
        }
    }

    /// The milliseconds from `now` that the shopper must wait before a further reservation, in a drop whose
    /// holds last `hold_seconds`; 0 if the shopper need not wait.
    #[must_use]
    pub fn wait_ms(&self, hold_seconds: u32, now: Timestamp) -> i64 {
        if self.count <= FREE_LAPSES {
            return 0;
        }
        self.last.plus_seconds(hold_seconds).millis_since(now).max(0)
    }
}

/// Whether the claim is a hold that expired unused and must be counted at `now`.
#[must_use]
pub fn has_lapsed(claim: &Claim, now: Timestamp) -> bool {
    claim.state == ClaimState::Held && claim.deadline.plus_millis(COUNTED_AFTER_MS) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn each_hold_counts_once_and_the_second_costs_a_wait() {
        let first = Lapses::counting(None, NOW).unwrap();
        assert_eq!(first.count, 1);
        assert_eq!(first.wait_ms(60, NOW), 0);
        assert_eq!(Lapses::counting(Some(first), NOW), None);
        assert_eq!(Lapses::counting(Some(first), NOW.plus_millis(-1)), None);
        let second = Lapses::counting(Some(first), NOW.plus_seconds(90)).unwrap();
        assert_eq!(second.count, 2);
        for (after, wait_ms) in [(90, 60_000), (149, 1_000), (150, 0), (999, 0)] {
            assert_eq!(second.wait_ms(60, NOW.plus_seconds(after)), wait_ms, "{after}");
        }
    }

    #[test]
    fn a_hold_lapses_before_others_may_take_it_and_an_order_never_does() {
        let hold = Claim::held(1, NOW, "abcdefgh-_".parse().unwrap());
        let order = Claim {
            state: ClaimState::Ordered,
            ..hold.clone()
        };
        for (after_ms, lapsed) in [
            (0, false),
            (COUNTED_AFTER_MS - 1, false),
            (COUNTED_AFTER_MS, true),
        ] {
            let now = NOW.plus_millis(after_ms);
            assert_eq!(has_lapsed(&hold, now), lapsed);
            assert!(!hold.is_returnable(now));
            assert!(!has_lapsed(&order, now));
        }
    }
}
