//! Defines the shard plan: how a SKU's units are divided into shards. The plan is frozen when the drop is
//! published; a restock only appends shards.

use serde::{Deserialize, Serialize};

use crate::crowd;
use crate::limits::{MAX_PER_SHOPPER, MAX_SEGMENTS_PER_SKU, MAX_SHARD_UNITS, MAX_SHARDS_PER_SKU};

/// A range of shards that were allocated together. All are full, except that the last contains the remainder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The index of the segment's first shard.
    pub first: u16,
    /// The number of units in all shards of the segment.
    pub units: u32,
    /// The number of units in a full shard: a multiple of the per-shopper limit, at most [`MAX_SHARD_UNITS`].
    pub shard_units: u32,
    /// A hash of the idempotency key of the restock that added the segment; `None` for the first allocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Segment {
    /// The number of the segment's shards.
    #[must_use]
    pub fn shards(&self) -> u16 {
        let shards = self.units.div_ceil(self.shard_units.max(1));
        u16::try_from(shards).unwrap_or(u16::MAX)
    }

    /// The index and the allocation of each shard of the segment.
    pub fn allocations(&self) -> impl Iterator<Item = (u16, u32)> + '_ {
        (0..self.shards()).map(|n| {
            let before = u32::from(n) * self.shard_units;
            (self.first + n, self.shard_units.min(self.units - before))
        })
    }
}

/// The shards of one SKU, in segments: the first allocation, then one for each restock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardPlan {
    segments: Vec<Segment>,
}

/// The error for a plan that cannot be extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There are no units to allocate.
    #[error("at least one unit is needed")]
    NoUnits,
    /// The plan would have more than [`MAX_SHARDS_PER_SKU`] shards.
    #[error("too many units for one SKU")]
    TooMany,
    /// The plan would have more than [`MAX_SEGMENTS_PER_SKU`] segments.
    #[error("too many restocks of one SKU")]
    TooManySegments,
    /// The limit per shopper is 0 or above [`MAX_PER_SHOPPER`].
    #[error("the limit per shopper is out of range")]
    BadLimit,
}

impl ShardPlan {
    /// Appends shards for `units` more units. A small allocation is divided into as many shards as a crowd of
    /// `expected_shoppers` needs, but each shard has at least one shopper's limit. `request` identifies a
    /// restock; a repeat of the same request changes nothing.
    ///
    /// # Errors
    /// [`PlanError`] when a limit would be exceeded. The plan then stays unchanged.
    pub fn extend(
        &mut self,
        units: u32,
        per_shopper_limit: u32,
        expected_shoppers: u32,
        request: Option<String>,
    ) -> Result<(), PlanError> {
        if request.is_some() && self.segments.iter().any(|s| s.request == request) {
            return Ok(());
        }
        if units == 0 {
            return Err(PlanError::NoUnits);
        }
        if per_shopper_limit == 0 || per_shopper_limit > MAX_PER_SHOPPER {
            return Err(PlanError::BadLimit);
        }
        if self.segments.len() >= MAX_SEGMENTS_PER_SKU {
            return Err(PlanError::TooManySegments);
        }
        let whole_limits = |units: u32| units / per_shopper_limit * per_shopper_limit;
        let (largest, wanted) = (whole_limits(MAX_SHARD_UNITS), crowd::shards(expected_shoppers));
        let shard_units = if units.div_ceil(largest) >= wanted {
            largest
        } else {
            whole_limits(units / wanted).clamp(per_shopper_limit, largest)
        };
        let first = self.shards();
        if units.div_ceil(shard_units) > u32::from(MAX_SHARDS_PER_SKU - first) {
            return Err(PlanError::TooMany);
        }
        self.segments.push(Segment {
            first,
            units,
            shard_units,
            request,
        });
        Ok(())
    }

    /// The number of shards. Their indices are `0..shards()`.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.segments.last().map_or(0, |s| s.first + s.shards())
    }

    /// The number of shards of the first allocation, without those of restocks.
    #[must_use]
    pub fn first_shards(&self) -> u16 {
        self.segments.first().map_or(0, Segment::shards)
    }

    /// The number of units in all shards.
    #[must_use]
    pub fn units(&self) -> u32 {
        self.segments.iter().map(|s| s.units).sum()
    }

    /// The index and the allocation of every shard.
    pub fn allocations(&self) -> impl Iterator<Item = (u16, u32)> + '_ {
        self.segments.iter().flat_map(Segment::allocations)
    }

    /// The segment that the restock with this `request` added; `None` if there was no such restock.
    #[must_use]
    pub fn added_by(&self, request: &str) -> Option<&Segment> {
        self.segments
            .iter()
            .find(|s| s.request.as_deref() == Some(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_plan_allocates_exactly_its_units(parts in proptest::collection::vec(1u32..3_000, 1..6), limit in 1u32..=MAX_PER_SHOPPER) {
            let mut plan = ShardPlan::default();
            for (n, units) in parts.iter().enumerate() {
                plan.extend(*units, limit, 1_000, (n > 0).then(|| n.to_string())).unwrap();
                let once = plan.clone();
                if n > 0 { plan.extend(*units, limit, 1_000, Some(n.to_string())).unwrap(); }
                prop_assert_eq!(&once, &plan, "a repeated restock changed the plan");
            }
            let shards: Vec<_> = plan.allocations().collect();
            prop_assert_eq!(shards.iter().map(|(_, u)| u).sum::<u32>(), parts.iter().sum::<u32>());
            prop_assert_eq!(plan.units(), parts.iter().sum::<u32>());
            prop_assert!(shards.iter().enumerate().all(|(n, (index, _))| n == usize::from(*index)));
            prop_assert_eq!(shards.len(), usize::from(plan.shards()));
            let full = MAX_SHARD_UNITS / limit * limit;
            prop_assert!(shards.iter().all(|(_, u)| *u >= 1 && *u <= full));
            prop_assert!(shards.iter().filter(|(_, u)| *u < full).count() <= parts.len(), "one remainder a segment");
        }
    }

    proptest! {
        /// An allocation has as many shards as its crowd needs and the limit allows, and never fewer than for
        /// a small crowd.
        #[test]
        fn a_crowd_is_spread_over_shards(units in 1u32..40_000, limit in 1u32..=MAX_PER_SHOPPER, shoppers in 1u32..10_000_000) {
            let plan = |shoppers| {
                let mut plan = ShardPlan::default();
                plan.extend(units, limit, shoppers, None).unwrap();
                plan
            };
            let (cut, least) = (plan(shoppers), plan(1));
            prop_assert_eq!(cut.units(), units);
            prop_assert!(cut.shards() >= least.shards());
            let whole = units / limit;
            let wanted = crowd::shards(shoppers).min(whole.max(1));
            prop_assert!(u32::from(cut.shards()) >= wanted, "{} of {}", cut.shards(), wanted);
            let shards: Vec<u32> = cut.allocations().map(|(_, units)| units).collect();
            let full = shards[0];
            prop_assert!(full <= MAX_SHARD_UNITS && (units < limit || full >= limit));
            prop_assert!(shards.iter().rev().skip(1).all(|units| *units == full && units.is_multiple_of(limit)));
        }
    }

    #[test]
    fn a_few_units_for_many_are_cut_down_to_the_limit() {
        for (units, limit, shoppers, shards) in [
            (24, 1, 1_000, 1),
            (24, 1, 1_000_000, 24),
            (24, 2, 1_000_000, 12),
            (24, 12, 1_000_000, 2),
            (600, 1, 1_000, 25),
            (600, 1, 1_000_000, 25),
            (100, 1, 1_000_000, 17),
            (5, 12, 1_000_000, 1),
        ] {
            let mut plan = ShardPlan::default();
            plan.extend(units, limit, shoppers, None).unwrap();
            assert_eq!(
                plan.shards(),
                shards,
                "{units} units, {limit} each, {shoppers} shoppers"
            );
        }
    }

    #[test]
    fn limits_are_kept() {
        let mut plan = ShardPlan::default();
        assert_eq!(plan.extend(0, 1, 1_000, None), Err(PlanError::NoUnits));
        assert_eq!(plan.extend(1, 0, 1_000, None), Err(PlanError::BadLimit));
        assert_eq!(
            plan.extend(1, MAX_PER_SHOPPER + 1, 1_000, None),
            Err(PlanError::BadLimit)
        );
        assert_eq!(plan.extend(u32::MAX, 1, 1_000, None), Err(PlanError::TooMany));
        assert_eq!(plan, ShardPlan::default());
        assert_eq!(
            plan.extend(24 * u32::from(MAX_SHARDS_PER_SKU), 1, 1_000, None),
            Ok(())
        );
        assert_eq!(
            plan.extend(1, 1, 1_000, Some("r".into())),
            Err(PlanError::TooMany)
        );
    }

    #[test]
    fn restocks_are_found_by_their_requests_and_limited_in_number() {
        let mut plan = ShardPlan::default();
        assert_eq!(plan.shards(), 0);
        for n in 0..MAX_SEGMENTS_PER_SKU {
            plan.extend(30, 5, 1_000, (n > 0).then(|| n.to_string())).unwrap();
        }
        let full = plan.clone();
        assert_eq!(
            plan.extend(1, 5, 1_000, Some("r".into())),
            Err(PlanError::TooManySegments)
        );
        assert_eq!(
            plan.extend(30, 5, 1_000, Some("7".into())),
            Ok(()),
            "a repeat adds nothing"
        );
        assert_eq!(plan, full);
        let seventh = plan.added_by("7").unwrap();
        assert_eq!(seventh.first, 14);
        assert_eq!(seventh.shards(), 2);
        assert_eq!(seventh.allocations().collect::<Vec<_>>(), [(14, 20), (15, 10)]);
        assert_eq!(plan.added_by("r"), None);
    }
}
