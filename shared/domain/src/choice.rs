//! Chooses the shards in which a request looks for stock.
//!
//! A hash of drop, SKU and shopper selects two shards. This spreads shoppers evenly, and a repeat reads the same shards
//! and finds its own claim. Further shards are chosen by the counts that the conductor publishes.

use crate::ids::{DropId, ShopperId, SkuId, hash_parts};
use crate::shard::Shard;
use crate::time::Timestamp;

/// The shards that a shopper's request reads for one SKU: two first shards, and an order of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    first: u16,
    second: u16,
    seed: u64,
}

impl Choice {
    /// The choice of `shopper` among `shards` shards (at least 1).
    #[must_use]
    pub fn of(drop: &DropId, sku: &SkuId, shopper: &ShopperId, shards: u16) -> Self {
        let digest = hash_parts("shard", &[drop.as_str(), sku.as_str(), shopper.as_str()]);
        let mut bytes = [0u8; 8];
        bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let seed = u64::from_be_bytes(bytes);
        let shards = u64::from(shards.max(1));
        let first = seed % shards;
        let second = if shards == 1 {
            first
        } else {
            (first + 1 + (seed >> 20) % (shards - 1)) % shards
        };
        let index = |n: u64| u16::try_from(n).unwrap_or(0);
        Self {
            first: index(first),
            second: index(second),
            seed,
        }
    }

    /// The two first shards, which are the same if the SKU has one shard.
    #[must_use]
    pub const fn pair(&self) -> (u16, u16) {
        (self.first, self.second)
    }

    /// Up to `most` further shards with at least `units` free units, those with the most free units first.
    /// Shards with similar counts are in an order specific to this shopper, so that refused shoppers do not
    /// all try the same shard. `free` has the free count of each shard by index.
    #[must_use]
    pub fn further(&self, free: &[u32], units: u32, most: usize) -> Vec<u16> {
        let mut candidates: Vec<(u16, u32, u64)> = free
            .iter()
            .enumerate()
            .filter_map(|(n, free)| Some((u16::try_from(n).ok()?, *free)))
            .filter(|(index, free)| *free >= units && *index != self.first && *index != self.second)
            .map(|(index, free)| (index, free, mix(self.seed ^ u64::from(index))))
            .collect();
        // Counts of the same power of two are similar. Similar shards are ordered by the shopper's hash, so
        // that not all requests go to the fullest shard.
        candidates.sort_unstable_by_key(|(_, free, order)| (std::cmp::Reverse(free.ilog2()), *order));
        candidates
            .into_iter()
            .take(most)
            .map(|(index, _, _)| index)
            .collect()
    }
}

/// Spreads close numbers far apart (the finaliser of SplitMix64). The result is predictable, so it must not
/// be used for secrets.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The number of units that a shard could give to a request for `units`: its free units, or, if they are too
/// few, the free units and those of the returnable hold that suffices.
#[must_use]
pub fn on_offer(shard: &Shard, units: u32, now: Timestamp) -> u32 {
    if shard.free >= units {
        return shard.free;
    }
    shard
        .returnable(units, now)
        .map_or(shard.free, |(_, claim)| shard.free + claim.units)
}

/// Whether the first shard has so many free units that a request need not consider the second: enough for the
/// request, and half of the allocation.
#[must_use]
pub const fn well_filled(free: u32, allocated: u32, units: u32) -> bool {
    free >= units && free * 2 >= allocated
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_pair_is_steady_distinct_and_in_range(shopper in "[a-z0-9]{1,12}", shards in 1u16..500) {
            let ids = (("d1".parse().unwrap()), ("TEE".parse().unwrap()), shopper.parse().unwrap());
            let choice = Choice::of(&ids.0, &ids.1, &ids.2, shards);
            prop_assert_eq!(choice, Choice::of(&ids.0, &ids.1, &ids.2, shards));
            let (a, b) = choice.pair();
            prop_assert!(a < shards && b < shards && (shards == 1 || a != b));
        }

        #[test]
        fn further_shards_have_enough_and_are_new(free in proptest::collection::vec(0u32..=24, 1..60), units in 1u32..4) {
            let shards = u16::try_from(free.len()).unwrap();
            let choice = Choice::of(&"d".parse().unwrap(), &"S".parse().unwrap(), &"ada".parse().unwrap(), shards);
            let further = choice.further(&free, units, 4);
            let enough = free.iter().enumerate().filter(|(n, f)| **f >= units && *n != usize::from(choice.first) && *n != usize::from(choice.second)).count();
            prop_assert_eq!(further.len(), enough.min(4));
            for index in &further {
                prop_assert!(free[usize::from(*index)] >= units && *index != choice.first && *index != choice.second);
            }
        }
    }

    fn of(shopper: &str, shards: u16) -> Choice {
        Choice::of(
            &"d".parse().unwrap(),
            &"S".parse().unwrap(),
            &shopper.parse().unwrap(),
            shards,
        )
    }

    /// A repeat reads these shards for its claim, perhaps after a deployment, so a release must not
    /// change them.
    #[test]
    fn the_places_stay_from_version_to_version() {
        let free = [9; 12];
        assert_eq!(of("ada", 12).pair(), (2, 11));
        assert_eq!(of("ada", 12).further(&free, 1, 4), [4, 5, 6, 1]);
        assert_eq!(of("bob", 4096).pair(), (3778, 1986));
        assert_eq!(of("eve", 2).pair(), (1, 0));
        assert_eq!(of("eve", 1).pair(), (0, 0));
    }

    #[test]
    fn fuller_shards_come_first_and_small_differences_do_not_count() {
        let choice = of("ada", 12);
        let mut free = [0; 12];
        let others: Vec<u16> = (0..12)
            .filter(|n| *n != choice.first && *n != choice.second)
            .collect();
        for (index, units) in others.iter().zip([2, 9, 5, 8, 1, 3, 15, 4]) {
            free[usize::from(*index)] = units;
        }
        let found = choice.further(&free, 2, 12);
        let classes: Vec<u32> = found.iter().map(|n| free[usize::from(*n)].ilog2()).collect();
        assert_eq!(classes, [3, 3, 3, 2, 2, 1, 1]);
        let same = free.map(|units| if units >= 8 { 8 } else { units });
        assert_eq!(choice.further(&same, 2, 12), found);
    }

    /// The expected values are the first numbers that the program of SplitMix64's authors prints for
    /// two seeds.
    #[test]
    fn the_mixer_is_that_of_splitmix64() {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        assert_eq!(mix(STEP), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567 + STEP), 6_457_827_717_110_365_317);
    }

    #[test]
    fn a_shard_offers_its_free_units_or_those_of_a_hold_that_may_go_back() {
        use crate::claim::Claim;
        let deadline = Timestamp::from_millis(1_800_000_000_000);
        let mut shard = Shard::allocated(5);
        let hold = Claim::held(3, deadline, "abcdefghij".parse().unwrap());
        shard.claim(&"ada".parse().unwrap(), hold).unwrap();
        let (before, after) = (deadline, deadline.plus_seconds(60));
        for (units, now, offered) in [
            (1, after, 2),
            (2, after, 2),
            (3, after, 5),
            (5, after, 5),
            (6, after, 2),
            (3, before, 2),
        ] {
            assert_eq!(on_offer(&shard, units, now), offered, "{units}");
        }
    }

    #[test]
    fn half_full_is_well_filled_if_it_is_enough() {
        for (free, allocated, units, well) in [
            (12, 24, 1, true),
            (11, 24, 1, false),
            (3, 5, 1, true),
            (2, 5, 1, false),
            (2, 3, 2, true),
            (2, 3, 3, false),
            (24, 24, 24, true),
        ] {
            assert_eq!(
                well_filled(free, allocated, units),
                well,
                "{free} of {allocated}, {units} wanted"
            );
        }
    }

    #[test]
    fn shoppers_spread_over_the_shards() {
        let mut hits = [0u32; 25];
        for n in 0..10_000 {
            let shopper = format!("s{n}").parse().unwrap();
            let (a, b) = Choice::of(&"d".parse().unwrap(), &"S".parse().unwrap(), &shopper, 25).pair();
            hits[usize::from(a)] += 1;
            hits[usize::from(b)] += 1;
        }
        // The mean is 800 and the standard deviation about 28, so a correct hash practically never deviates
        // by six times that.
        assert!(hits.iter().all(|h| (632..=968).contains(h)), "{hits:?}");
    }
}
