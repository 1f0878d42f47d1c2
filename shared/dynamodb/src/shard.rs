//! Reads and writes a shard's item: the counts `a` (allocated), `f` (free) and `s` (sold), and the map `c` of claims.
//! The names are short because every byte counts towards the one write unit of a claim.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::ids::ShardKey;
use domain::shard::Shard;
use ports::StoreError;

use crate::item::{Item, KEY, n, number, parsed, s, unreadable};

pub(crate) const TABLE: &str = "stock";
/// The largest accepted count of units: far more than [`domain::limits::MAX_SHARD_UNITS`], which may grow, and too few
/// for sums to overflow.
const MOST_UNITS: u32 = u16::MAX as u32;

pub(crate) fn shard_item(key: &ShardKey, shard: &Shard) -> Item {
    let claims = shard
        .claims
        .iter()
        .map(|(shopper, claim)| (shopper.to_string(), s(claim.to_string())));
    HashMap::from([
        (KEY.to_owned(), s(key.to_string())),
        ("a".to_owned(), n(shard.allocated)),
        ("f".to_owned(), n(shard.free)),
        ("s".to_owned(), n(shard.sold)),
        ("c".to_owned(), AttributeValue::M(claims.collect())),
    ])
}

pub(crate) fn shard_of(item: &Item) -> Result<Shard, StoreError> {
    let Some(AttributeValue::M(stored)) = item.get("c") else {
        return Err(unreadable(TABLE, "c"));
    };
    let mut claims = BTreeMap::new();
    for (shopper, claim) in stored {
        let shopper = shopper.parse().map_err(|_| unreadable(TABLE, "c"))?;
        let claim = claim.as_s().map_err(|_| unreadable(TABLE, "c"))?;
        claims.insert(shopper, claim.parse().map_err(|_| unreadable(TABLE, "c"))?);
    }
    Ok(Shard {
        allocated: units(item, "a")?,
        free: units(item, "f")?,
        sold: units(item, "s")?,
        claims,
    })
}

/// A count of units. An audit checks whether the counts add up. This function only refuses more units than any shard
/// can have.
fn units(item: &Item, name: &str) -> Result<u32, StoreError> {
    number(TABLE, item, name).and_then(|units| {
        if units <= MOST_UNITS {
            Ok(units)
        } else {
            Err(unreadable(TABLE, name))
        }
    })
}

pub(crate) fn keyed_shard_of(item: &Item) -> Result<(ShardKey, Shard), StoreError> {
    Ok((parsed(TABLE, item, KEY)?, shard_of(item)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::claim::Claim;
    use domain::ids::Nonce;
    use domain::limits::{MAX_SHARD_UNITS, MAX_SHARDS_PER_SKU, WRITE_UNIT_BYTES};
    use domain::time::Timestamp;
    use proptest::prelude::*;

    /// The size of a value by DynamoDB's published rules ("DynamoDB item sizes and formats" in its developer guide):
    /// texts in UTF-8 bytes; numbers one byte for each two significant digits and one more; maps three bytes and one
    /// for each entry.
    fn size(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.trim_matches('-').len().div_ceil(2) + 1,
            AttributeValue::M(map) => {
                3 + map
                    .iter()
                    .map(|(name, v)| name.len() + size(v) + 1)
                    .sum::<usize>()
            }
            other => panic!("no such value in a shard: {other:?}"),
        }
    }

    fn item_size(item: &Item) -> usize {
        item.iter().map(|(name, value)| name.len() + size(value)).sum()
    }

    prop_compose! {
        fn shards()(
            units in 1..=MAX_SHARD_UNITS,
            claims in proptest::collection::vec(("[A-Za-z0-9_-]{16}", 1u32..=3, 0i64..2_800_000_000_000, any::<bool>()), 0..=MAX_SHARD_UNITS as usize),
            sold in 0u32..4,
        ) -> Shard {
            let mut shard = Shard::allocated(units);
            for (n, (shopper, units, deadline, ordered)) in claims.into_iter().enumerate() {
                let nonce = Nonce::of_request(&"d".parse().unwrap(), &"A".parse().unwrap(), &shopper.parse().unwrap(), &n.to_string(), Timestamp::from_millis(deadline));
                let deadline = Timestamp::from_millis(deadline);
                let held = Claim::held(units, deadline, nonce);
                let claim = if ordered { held.ordered(Timestamp::from_millis(-1), deadline).unwrap() } else { held };
                // A full shard refuses the claim and does not change.
                let _ = shard.claim(&shopper.parse().unwrap(), claim);
            }
            let sold = sold.min(shard.free);
            shard.free -= sold;
            shard.sold += sold;
            shard
        }
    }

    proptest! {
        #[test]
        fn a_shard_survives_its_item_and_costs_one_write_unit(shard in shards(), drop in "[a-z0-9-]{20}", sku in "[A-Za-z0-9-]{16}", index in 0..MAX_SHARDS_PER_SKU) {
            let key = ShardKey { drop: drop.parse().unwrap(), sku: sku.parse().unwrap(), index };
            let item = shard_item(&key, &shard);
            prop_assert!(item_size(&item) < WRITE_UNIT_BYTES, "{} bytes", item_size(&item));
            prop_assert_eq!(keyed_shard_of(&item).unwrap(), (key, shard));
        }
    }

    #[test]
    fn the_fullest_shard_costs_one_write_unit() {
        let mut shard = Shard::allocated(MAX_SHARD_UNITS);
        for who in 0..MAX_SHARD_UNITS {
            let shopper = format!("{who:0>16}").parse().unwrap();
            let nonce = Nonce::of_request(
                &"d".parse().unwrap(),
                &"A".parse().unwrap(),
                &shopper,
                "k",
                Timestamp::from_millis(0),
            );
            let claim = Claim::held(1, Timestamp::from_millis(2_000_000_000_000), nonce);
            shard.claim(&shopper, claim).unwrap();
        }
        let key = ShardKey {
            drop: "d".repeat(20).parse().unwrap(),
            sku: "S".repeat(16).parse().unwrap(),
            index: MAX_SHARDS_PER_SKU - 1,
        };
        let bytes = item_size(&shard_item(&key, &shard));
        // `FULL_SHARD_BYTES` includes 3 bytes for counts that have more digits than the counts of this shard.
        assert_eq!(bytes + 3, domain::limits::FULL_SHARD_BYTES);
        assert!(bytes < WRITE_UNIT_BYTES);
    }

    #[test]
    fn more_units_than_any_shard_has_are_no_shard() {
        for name in ["a", "f", "s"] {
            let mut item = shard_item(&"d#S#0".parse().unwrap(), &Shard::allocated(MAX_SHARD_UNITS));
            for (number, good) in [
                ("24", true),
                ("65536", false),
                ("4294967295", false),
                ("-1", false),
            ] {
                item.insert(name.to_owned(), AttributeValue::N(number.to_owned()));
                assert_eq!(shard_of(&item).is_ok(), good, "{name} {number}");
            }
        }
    }

    #[test]
    fn an_item_that_is_no_shard_is_named_without_its_contents() {
        let mut item = shard_item(&"d#S#0".parse().unwrap(), &Shard::allocated(1));
        item.insert(
            "c".to_owned(),
            AttributeValue::M(HashMap::from([("zoe".to_owned(), s("secret"))])),
        );
        let error = shard_of(&item).unwrap_err().to_string();
        assert!(
            error.contains("`c`") && !error.contains("secret") && !error.contains("zoe"),
            "{error}"
        );
    }
}
