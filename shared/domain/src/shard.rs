//! Defines a stock shard and its five operations.
//!
//! Every operation is conditional on exactly what the caller read, so that a repeat changes nothing. The
//! database adapter expresses the same conditions as the database's condition expressions. The same contract
//! tests check that adapter and an adapter that uses these rules.

use std::collections::BTreeMap;

use crate::claim::{Claim, ClaimState};
use crate::ids::ShopperId;
use crate::time::Timestamp;

/// A stock shard: some units of one SKU. At every time, `free + sold + Σ claims == allocated`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shard {
    /// The number of units that the shard received when the plan was frozen. It never changes.
    pub allocated: u32,
    /// The number of units that any shopper may claim.
    pub free: u32,
    /// The number of units that are paid for.
    pub sold: u32,
    /// The claims; at most one for each shopper.
    pub claims: BTreeMap<ShopperId, Claim>,
}

/// Why a claim was refused. A refused claim changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimRefused {
    /// The shopper already has the contained claim in this shard.
    #[error("the shopper has a claim in this shard")]
    Mine(Claim),
    /// Fewer units are free than the claim needs.
    #[error("{free} units are free")]
    Short {
        /// The number of free units.
        free: u32,
    },
}

/// The error for an operation on a shard that differs from what the caller read. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard is not as it was seen")]
pub struct NotAsSeen;

impl Shard {
    /// A new shard, in which all `units` are free.
    #[must_use]
    pub fn allocated(units: u32) -> Self {
        Self {
            allocated: units,
            free: units,
            ..Self::default()
        }
    }

    /// The number of units that are held or ordered.
    #[must_use]
    pub fn claimed(&self) -> u32 {
        self.claims.values().map(|claim| claim.units).sum()
    }

    /// Whether `free + sold + Σ claims == allocated`, so that no unit was lost or added.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        u64::from(self.free) + u64::from(self.sold) + u64::from(self.claimed()) == u64::from(self.allocated)
    }

    /// Takes `claim.units` free units for `shopper`.
    ///
    /// # Errors
    /// [`ClaimRefused`] when the shopper has a claim in this shard, or too few units are free.
    pub fn claim(&mut self, shopper: &ShopperId, claim: Claim) -> Result<(), ClaimRefused> {
        if let Some(mine) = self.claims.get(shopper) {
            return Err(ClaimRefused::Mine(mine.clone()));
        }
        let Some(free) = self.free.checked_sub(claim.units) else {
            return Err(ClaimRefused::Short { free: self.free });
        };
        self.free = free;
        self.claims.insert(shopper.clone(), claim);
        Ok(())
    }

    /// Replaces the expired hold of `victim` by `claim` for `shopper`, who may be the same shopper. The hold
    /// must be exactly as `seen`. The caller must have checked that it may be taken over.
    ///
    /// # Errors
    /// [`NotAsSeen`] when the hold has changed, `shopper` has another claim in this shard, or the hold's
    /// units and the free units are too few.
    pub fn take_over(
        &mut self,
        shopper: &ShopperId,
        claim: Claim,
        victim: &ShopperId,
        seen: &Claim,
    ) -> Result<(), NotAsSeen> {
        let mine_in_the_way = shopper != victim && self.claims.contains_key(shopper);
        if self.claims.get(victim) != Some(seen) || mine_in_the_way {
            return Err(NotAsSeen);
        }
        let free = (self.free + seen.units)
            .checked_sub(claim.units)
            .ok_or(NotAsSeen)?;
        self.claims.remove(victim);
        self.claims.insert(shopper.clone(), claim);
        self.free = free;
        Ok(())
    }

    /// Returns the units of `shopper`'s claim, which must be exactly as `seen`: after a release, an expiry,
    /// or an order that ends unpaid.
    ///
    /// # Errors
    /// [`NotAsSeen`] when the claim is absent or differs.
    pub fn give_back(&mut self, shopper: &ShopperId, seen: &Claim) -> Result<(), NotAsSeen> {
        self.remove(shopper, seen)?;
        self.free += seen.units;
        Ok(())
    }

    /// Replaces `shopper`'s hold, which must be exactly as `seen`, by the claim `ordered`.
    ///
    /// # Errors
    /// [`NotAsSeen`] when the hold is absent or differs, or `ordered` is not an order's claim with the same
    /// units and the same reservation.
    pub fn order(&mut self, shopper: &ShopperId, seen: &Claim, ordered: Claim) -> Result<(), NotAsSeen> {
        let same = ordered.state == ClaimState::Ordered
            && ordered.units == seen.units
            && ordered.nonce == seen.nonce;
        if self.claims.get(shopper) != Some(seen) || !same {
            return Err(NotAsSeen);
        }
        self.claims.insert(shopper.clone(), ordered);
        Ok(())
    }

    /// Turns the units of `shopper`'s claim, which must be exactly as `seen`, into sold units.
    ///
    /// # Errors
    /// [`NotAsSeen`] when the claim is absent or differs.
    pub fn settle(&mut self, shopper: &ShopperId, seen: &Claim) -> Result<(), NotAsSeen> {
        self.remove(shopper, seen)?;
        self.sold += seen.units;
        Ok(())
    }

    /// The smallest returnable hold whose units and the free units together are at least `units`, and of
    /// equal holds the oldest; `None` if there is none.
    #[must_use]
    pub fn returnable(&self, units: u32, now: Timestamp) -> Option<(&ShopperId, &Claim)> {
        self.claims
            .iter()
            .filter(|(_, claim)| claim.is_returnable(now) && self.free + claim.units >= units)
            .min_by_key(|(_, claim)| (claim.units, claim.deadline))
    }

    fn remove(&mut self, shopper: &ShopperId, seen: &Claim) -> Result<(), NotAsSeen> {
        if self.claims.get(shopper) != Some(seen) {
            return Err(NotAsSeen);
        }
        self.claims.remove(shopper);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Nonce;
    use crate::limits::{CLOCK_SKEW_MS, MAX_SHARD_UNITS};
    use proptest::prelude::*;

    /// One step of a random history. Shoppers, keys and units are drawn from small sets, so that steps affect
    /// the same claims.
    #[derive(Debug, Clone)]
    enum Step {
        Claim { who: u8, units: u32, key: u8 },
        TakeOver { who: u8, units: u32, key: u8 },
        GiveBack { who: u8 },
        Order { who: u8 },
        Settle { who: u8 },
        Wait { ms: i64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let who = 0u8..6;
        let step = prop_oneof![
            3 => (who.clone(), 1u32..4, any::<u8>()).prop_map(|(who, units, key)| Step::Claim { who, units, key }),
            2 => (who.clone(), 1u32..4, any::<u8>()).prop_map(|(who, units, key)| Step::TakeOver { who, units, key }),
            1 => who.clone().prop_map(|who| Step::GiveBack { who }),
            2 => who.clone().prop_map(|who| Step::Order { who }),
            1 => who.prop_map(|who| Step::Settle { who }),
            1 => (0i64..20_000).prop_map(|ms| Step::Wait { ms }),
        ];
        proptest::collection::vec(step, 0..80)
    }

    fn shopper(who: u8) -> ShopperId {
        format!("s{who}").parse().unwrap()
    }

    fn nonce(key: u8) -> Nonce {
        Nonce::of_request(
            &"d".parse().unwrap(),
            &"A".parse().unwrap(),
            &"s".parse().unwrap(),
            &key.to_string(),
            Timestamp::from_millis(0),
        )
    }

    proptest! {
        #[test]
        fn the_equation_holds_after_every_step_and_a_repeat_changes_nothing(units in 1u32..=MAX_SHARD_UNITS, steps in steps()) {
            let mut shard = Shard::allocated(units);
            let mut now = Timestamp::from_millis(1_800_000_000_000);
            for step in steps {
                let before = shard.clone();
                let run = |shard: &mut Shard| -> bool { match &step {
                    Step::Claim { who, units, key } => {
                        let claim = Claim::held(*units, now.plus_seconds(15), nonce(*key));
                        shard.claim(&shopper(*who), claim).is_ok()
                    }
                    Step::TakeOver { who, units, key } => {
                        let claim = Claim::held(*units, now.plus_seconds(15), nonce(*key));
                        let seen = before.returnable(*units, now).map(|(v, c)| (v.clone(), c.clone()));
                        seen.is_some_and(|(victim, seen)| shard.take_over(&shopper(*who), claim, &victim, &seen).is_ok())
                    }
                    Step::GiveBack { who } => before.claims.get(&shopper(*who)).is_some_and(|c| shard.give_back(&shopper(*who), c).is_ok()),
                    Step::Order { who } => before.claims.get(&shopper(*who)).is_some_and(|seen| {
                        seen.ordered(now, now.plus_seconds(60)).is_ok_and(|o| o != *seen && shard.order(&shopper(*who), seen, o).is_ok())
                    }),
                    Step::Settle { who } => before.claims.get(&shopper(*who)).is_some_and(|c| shard.settle(&shopper(*who), c).is_ok()),
                    Step::Wait { .. } => false,
                }};
                let changed = run(&mut shard);
                prop_assert!(shard.adds_up(), "{step:?}: {shard:?}");
                prop_assert_eq!(shard.allocated, units);
                prop_assert!(shard.sold >= before.sold);
                prop_assert_eq!(changed, shard != before, "a refusal changes nothing: {:?}", step);
                let once = shard.clone();
                let again = run(&mut shard);
                prop_assert!(!again && shard == once, "a repeat changed the shard: {step:?}");
                if let Step::Wait { ms } = step { now = now.plus_millis(ms); }
            }
        }

        #[test]
        fn only_returnable_holds_are_offered(units in 1u32..4, age in 0i64..40_000) {
            let now = Timestamp::from_millis(1_800_000_000_000);
            let mut shard = Shard::allocated(6);
            let deadline = now.plus_seconds(15);
            shard.claim(&shopper(1), Claim::held(2, deadline, nonce(1))).unwrap();
            shard.claim(&shopper(2), Claim::held(3, deadline, nonce(2)).ordered(now, deadline).unwrap()).unwrap();
            let later = now.plus_millis(age);
            let offered = shard.returnable(units, later).map(|(who, _)| who.clone());
            let expected = (age >= 15_000 + CLOCK_SKEW_MS).then(|| shopper(1));
            prop_assert_eq!(offered, expected);
        }
    }

    #[test]
    fn a_full_shard_refuses_and_says_what_is_left() {
        let now = Timestamp::from_millis(0);
        let mut shard = Shard::allocated(3);
        shard.claim(&shopper(1), Claim::held(2, now, nonce(1))).unwrap();
        let refused = shard.claim(&shopper(2), Claim::held(2, now, nonce(2)));
        assert_eq!(refused, Err(ClaimRefused::Short { free: 1 }));
        let mine = shard.claim(&shopper(1), Claim::held(1, now, nonce(3)));
        assert!(matches!(mine, Err(ClaimRefused::Mine(c)) if c.nonce == nonce(1)));
    }

    #[test]
    fn a_unit_too_many_or_too_few_does_not_add_up() {
        let mut shard = Shard::allocated(9);
        let deadline = Timestamp::from_millis(0);
        shard
            .claim(&shopper(1), Claim::held(2, deadline, nonce(1)))
            .unwrap();
        shard
            .claim(&shopper(2), Claim::held(3, deadline, nonce(2)))
            .unwrap();
        shard
            .settle(&shopper(2), &shard.claims[&shopper(2)].clone())
            .unwrap();
        assert_eq!(shard.free, 4);
        assert_eq!(shard.claimed(), 2);
        assert_eq!(shard.sold, 3);
        assert!(shard.adds_up());
        for change in [
            |s: &mut Shard| s.free += 1,
            |s: &mut Shard| s.free -= 1,
            |s: &mut Shard| s.sold += 1,
            |s: &mut Shard| s.sold -= 1,
            |s: &mut Shard| s.claims.clear(),
        ] {
            let mut changed = shard.clone();
            change(&mut changed);
            assert!(!changed.adds_up(), "{changed:?}");
        }
    }

    #[test]
    fn a_hold_is_taken_over_as_it_was_seen_and_only_if_that_is_enough() {
        let deadline = Timestamp::from_millis(0);
        let mut shard = Shard::allocated(6);
        let seen = Claim::held(2, deadline, nonce(1));
        shard.claim(&shopper(1), seen.clone()).unwrap();
        shard
            .claim(&shopper(2), Claim::held(3, deadline, nonce(2)))
            .unwrap();
        let new = |units| Claim::held(units, deadline.plus_seconds(9), nonce(3));
        let other = Claim::held(2, deadline, nonce(9));
        for (who, units, victim, seen, taken) in [
            (3, 3, 1, &seen, true),
            (1, 3, 1, &seen, true),
            (3, 1, 1, &seen, true),
            (3, 4, 1, &seen, false),
            (2, 1, 1, &seen, false),
            (3, 1, 1, &other, false),
            (3, 1, 4, &seen, false),
        ] {
            let mut after = shard.clone();
            let answer = after.take_over(&shopper(who), new(units), &shopper(victim), seen);
            let row = format!("{who} with {units} over {victim}: {after:?}");
            if taken {
                assert_eq!(answer, Ok(()), "{row}");
                assert_eq!(after.free, 3 - units, "{row}");
                assert_eq!(after.claims.get(&shopper(who)), Some(&new(units)), "{row}");
                assert_eq!(after.claims.len(), 2, "{row}");
            } else {
                assert_eq!(answer, Err(NotAsSeen), "{row}");
                assert_eq!(after, shard.clone(), "{row}");
            }
        }
    }

    #[test]
    fn an_order_is_of_the_hold_that_was_seen() {
        let deadline = Timestamp::from_millis(0);
        let mut shard = Shard::allocated(6);
        let seen = Claim::held(2, deadline, nonce(1));
        shard.claim(&shopper(1), seen.clone()).unwrap();
        let ordered = Claim {
            state: ClaimState::Ordered,
            deadline: deadline.plus_seconds(60),
            ..seen.clone()
        };
        let before = shard.clone();
        for (who, seen, wrong) in [
            (
                1,
                &seen,
                Claim {
                    units: 3,
                    ..ordered.clone()
                },
            ),
            (
                1,
                &seen,
                Claim {
                    nonce: nonce(2),
                    ..ordered.clone()
                },
            ),
            (
                1,
                &seen,
                Claim {
                    state: ClaimState::Held,
                    ..ordered.clone()
                },
            ),
            (1, &ordered, ordered.clone()),
            (2, &seen, ordered.clone()),
        ] {
            assert_eq!(
                shard.order(&shopper(who), seen, wrong.clone()),
                Err(NotAsSeen),
                "{wrong:?}"
            );
            assert_eq!(shard, before);
        }
        shard.order(&shopper(1), &seen, ordered.clone()).unwrap();
        assert_eq!(shard.claims.get(&shopper(1)), Some(&ordered));
        assert_eq!(shard.free, 4);
        assert_eq!(shard.claimed(), 2);
    }

    #[test]
    fn units_go_back_or_are_sold_once_and_as_they_were_seen() {
        let deadline = Timestamp::from_millis(0);
        let seen = Claim::held(2, deadline, nonce(1));
        let other = Claim::held(2, deadline, nonce(2));
        let mut shard = Shard::allocated(6);
        shard.claim(&shopper(1), seen.clone()).unwrap();
        let (mut back, mut sold) = (shard.clone(), shard.clone());
        assert_eq!(back.give_back(&shopper(1), &other), Err(NotAsSeen));
        assert_eq!(sold.settle(&shopper(1), &other), Err(NotAsSeen));
        assert_eq!(&back, &shard);
        assert_eq!(&sold, &shard);
        assert_eq!(back.give_back(&shopper(1), &seen), Ok(()));
        assert_eq!(sold.settle(&shopper(1), &seen), Ok(()));
        assert_eq!(back.free, 6);
        assert_eq!(back.sold, 0);
        assert_eq!(back.claims.len(), 0);
        assert_eq!(sold.free, 4);
        assert_eq!(sold.sold, 2);
        assert_eq!(sold.claims.len(), 0);
        assert_eq!(back.give_back(&shopper(1), &seen), Err(NotAsSeen));
        assert_eq!(sold.settle(&shopper(1), &seen), Err(NotAsSeen));
    }

    #[test]
    fn the_smallest_sufficient_hold_goes_back_first_and_of_equals_the_oldest() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let past = now.plus_seconds(30);
        let mut shard = Shard::allocated(12);
        for (who, units, at) in [(1, 4, now), (2, 2, past), (3, 2, now), (4, 1, now), (5, 1, now)] {
            shard
                .claim(&shopper(who), Claim::held(units, at, nonce(who)))
                .unwrap();
        }
        assert_eq!(shard.free, 2);
        let later = now.plus_seconds(60);
        let offered = |units, at| shard.returnable(units, at).map(|(who, _)| who.clone());
        for (units, who) in [(3, Some(4)), (4, Some(3)), (5, Some(1)), (6, Some(1)), (7, None)] {
            assert_eq!(offered(units, later), who.map(shopper), "{units}");
        }
        assert_eq!(offered(3, now), None);
    }
}
