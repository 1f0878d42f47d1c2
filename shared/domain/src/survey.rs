//! Evaluates the shards of a drop for the conductor: counts their units, and selects the holds to return.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::claim::{Claim, ClaimState};
use crate::ids::{ShardKey, ShopperId};
use crate::shard::Shard;
use crate::time::Timestamp;

/// The number of units of one SKU in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// The number of units that are allocated to shards.
    pub allocated: u32,
    /// The number of units that any shopper may claim.
    pub free: u32,
    /// The number of units in holds.
    pub held: u32,
    /// The number of units in open orders.
    pub ordered: u32,
    /// The number of units that are paid for.
    pub sold: u32,
}

impl Tally {
    /// Adds the units of one shard.
    pub fn add(&mut self, shard: &Shard) {
        self.allocated += shard.allocated;
        self.free += shard.free;
        self.sold += shard.sold;
        for claim in shard.claims.values() {
            match claim.state {
                ClaimState::Held => self.held += claim.units,
                ClaimState::Ordered => self.ordered += claim.units,
            }
        }
    }

    /// Whether no hold and no open order is left.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        self.held == 0 && self.ordered == 0
    }
}

/// A claim as it was read in a shard. A write is conditional on it: if the stored claim differs, the write
/// changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenClaim {
    /// The shard that contains the claim.
    pub shard: ShardKey,
    /// The shopper who owns the claim.
    pub shopper: ShopperId,
    /// The claim as it was read.
    pub claim: Claim,
}

/// Why a hold is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnReason {
    /// The claim's deadline has passed on every clock.
    Expired,
    /// The shopper's other claims reach the limit, or the shopper has a newer hold of the same SKU.
    Surplus,
    /// The drop was cancelled.
    DropCancelled,
}

/// The holds that must be returned now, among all claims of one drop. Ordered claims are not returned here,
/// since only an order's end may return its units.
///
/// A shopper with concurrent requests may hold more units than the limit. Then the newest holds are kept. A
/// surplus hold only delays other shoppers, since the order's transaction enforces the limit.
#[must_use]
pub fn holds_to_return(
    claims: &[SeenClaim],
    per_shopper_limit: u32,
    cancelled: bool,
    now: Timestamp,
) -> Vec<(SeenClaim, ReturnReason)> {
    let mut back = Vec::new();
    let mut by_shopper: BTreeMap<&ShopperId, Vec<&SeenClaim>> = BTreeMap::new();
    for seen in claims {
        if cancelled && seen.claim.state == ClaimState::Held {
            back.push((seen.clone(), ReturnReason::DropCancelled));
        } else if seen.claim.is_returnable(now) {
            back.push((seen.clone(), ReturnReason::Expired));
        } else {
            by_shopper.entry(&seen.shopper).or_default().push(seen);
        }
    }
    for mut of_one in by_shopper.into_values().filter(|claims| claims.len() > 1) {
        // Orders come first, then the newest hold (the latest deadline). The shard decides between equal
        // deadlines, so that each survey keeps the same hold.
        of_one.sort_by_key(|seen| {
            let is_order = seen.claim.state == ClaimState::Ordered;
            Reverse((is_order, seen.claim.deadline, &seen.shard))
        });
        let mut units = 0;
        let mut kept: Vec<&SeenClaim> = Vec::new();
        for seen in of_one {
            let same_sku = kept
                .iter()
                .any(|k| k.shard.sku == seen.shard.sku && k.claim.state == ClaimState::Held);
            let fits = units + seen.claim.units <= per_shopper_limit && !same_sku;
            if fits || seen.claim.state == ClaimState::Ordered {
                units += seen.claim.units;
                kept.push(seen);
            } else {
                back.push((seen.clone(), ReturnReason::Surplus));
            }
        }
    }
    back
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Nonce;

    fn seen(sku: &str, index: u16, who: &str, ordered: bool, units: u32, deadline_s: u32) -> SeenClaim {
        let nonce = Nonce::of_request(
            &"d".parse().unwrap(),
            &sku.parse().unwrap(),
            &who.parse().unwrap(),
            &index.to_string(),
            Timestamp::from_millis(0),
        );
        let deadline = Timestamp::from_millis(0).plus_seconds(deadline_s);
        let state = if ordered {
            ClaimState::Ordered
        } else {
            ClaimState::Held
        };
        SeenClaim {
            shard: ShardKey {
                drop: "d".parse().unwrap(),
                sku: sku.parse().unwrap(),
                index,
            },
            shopper: who.parse().unwrap(),
            claim: Claim {
                state,
                units,
                deadline,
                nonce,
            },
        }
    }

    fn at(s: u32) -> Timestamp {
        Timestamp::from_millis(0).plus_seconds(s)
    }

    #[test]
    fn expired_holds_go_back_and_orders_stay() {
        let claims = [
            seen("A", 0, "ada", false, 1, 10),
            seen("A", 0, "bob", true, 1, 10),
            seen("A", 1, "eve", false, 1, 90),
        ];
        let back = holds_to_return(&claims, 1, false, at(60));
        assert_eq!(back, vec![(claims[0].clone(), ReturnReason::Expired)]);
        assert!(
            holds_to_return(&claims, 1, false, at(11)).is_empty(),
            "within the skew a hold may still be live"
        );
    }

    #[test]
    fn of_two_live_holds_the_newer_survives() {
        let claims = [
            seen("A", 0, "ada", false, 1, 90),
            seen("A", 7, "ada", false, 1, 95),
        ];
        assert_eq!(
            holds_to_return(&claims, 2, false, at(60)),
            vec![(claims[0].clone(), ReturnReason::Surplus)]
        );
        let other_sku = [
            seen("A", 0, "ada", false, 1, 90),
            seen("B", 7, "ada", false, 1, 95),
        ];
        assert!(holds_to_return(&other_sku, 2, false, at(60)).is_empty());
        assert_eq!(
            holds_to_return(&other_sku, 1, false, at(60)),
            vec![(other_sku[0].clone(), ReturnReason::Surplus)]
        );
    }

    #[test]
    fn an_order_uses_the_limit_up_before_any_hold() {
        let claims = [
            seen("A", 0, "ada", true, 2, 70),
            seen("B", 1, "ada", false, 1, 99),
        ];
        assert_eq!(
            holds_to_return(&claims, 2, false, at(60)),
            vec![(claims[1].clone(), ReturnReason::Surplus)]
        );
    }

    #[test]
    fn a_cancelled_drop_keeps_no_hold() {
        let claims = [
            seen("A", 0, "ada", false, 1, 900),
            seen("A", 1, "bob", true, 1, 900),
        ];
        assert_eq!(
            holds_to_return(&claims, 1, true, at(60)),
            vec![(claims[0].clone(), ReturnReason::DropCancelled)]
        );
    }

    #[test]
    fn a_hold_may_stand_beside_an_order_of_its_sku_within_the_limit() {
        let claims = [
            seen("A", 0, "ada", true, 1, 70),
            seen("A", 1, "ada", false, 1, 90),
        ];
        assert_eq!(holds_to_return(&claims, 2, false, at(60)), vec![]);
    }

    #[test]
    fn orders_beyond_the_limit_stay_and_so_does_a_hold_that_is_alone() {
        let orders = [seen("A", 0, "ada", true, 2, 70), seen("B", 1, "ada", true, 2, 80)];
        assert_eq!(holds_to_return(&orders, 2, false, at(60)), vec![]);
        let alone = [
            seen("A", 0, "ada", false, 2, 70),
            seen("A", 1, "bob", false, 2, 70),
        ];
        assert_eq!(holds_to_return(&alone, 1, false, at(60)), vec![]);
    }

    #[test]
    fn of_holds_with_one_deadline_the_same_stays_every_time() {
        let mut claims = [
            seen("A", 3, "ada", false, 1, 90),
            seen("A", 7, "ada", false, 1, 90),
        ];
        let surplus = vec![(claims[0].clone(), ReturnReason::Surplus)];
        assert_eq!(holds_to_return(&claims, 2, false, at(60)), surplus);
        claims.reverse();
        assert_eq!(holds_to_return(&claims, 2, false, at(60)), surplus);
    }

    #[test]
    fn a_tally_adds_up() {
        let mut shard = Shard {
            sold: 4,
            free: 10,
            ..Shard::allocated(14)
        };
        for (who, ordered, units) in [("ada", false, 2), ("bob", true, 3)] {
            let claim = seen("A", 0, who, ordered, units, 5).claim;
            shard.claim(&who.parse().unwrap(), claim).unwrap();
        }
        let mut tally = Tally::default();
        tally.add(&shard);
        tally.add(&shard);
        assert_eq!(
            tally,
            Tally {
                allocated: 28,
                free: 10,
                held: 4,
                ordered: 6,
                sold: 8
            }
        );
    }

    #[test]
    fn a_drained_tally_has_neither_holds_nor_orders() {
        let tally = |held, ordered| Tally {
            allocated: 9,
            free: 1,
            held,
            ordered,
            sold: 1,
        };
        assert!(tally(0, 0).is_drained());
        assert!(!tally(1, 0).is_drained() && !tally(0, 1).is_drained() && !tally(1, 1).is_drained());
    }
}
