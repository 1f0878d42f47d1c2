//! Applies the throughput limits of DynamoDB's partitions, as token buckets.
//!
//! A table has [`PARTITIONS`] partitions, like a new on-demand table. A hash of the key selects an item's partition.
//! Each partition serves 1,000 write and 3,000 read units a second; the fault lowers both limits to a share of them. As
//! on AWS, a request is admitted while any units are left and is charged its real cost, so a bucket may become
//! negative. Unused units are kept for one second. AWS may keep them longer.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The number of partitions of a table.
pub const PARTITIONS: u64 = 4;
/// AWS's limit for one partition, in write units a second.
pub const WRITE_UNITS_PER_SECOND: f64 = 1_000.0;
/// AWS's limit for one partition, in read units a second.
pub const READ_UNITS_PER_SECOND: f64 = 3_000.0;

/// Whether a request reads or writes an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    Read,
    /// A write, also one that its condition refuses.
    Write,
}

/// The partition of an item, for one kind of access.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    table: String,
    partition: u64,
    access: Access,
}

impl Place {
    /// The partition of the item with `key` in `table` (or index).
    #[must_use]
    pub fn of(table: &str, key: &str, access: Access) -> Self {
        let mut hasher = DefaultHasher::new();
        (table, key).hash(&mut hasher);
        Self {
            table: table.to_owned(),
            partition: hasher.finish() % PARTITIONS,
            access,
        }
    }

    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    units: f64,
    at: Duration,
}

/// The buckets of all partitions. The caller passes the time, so tests can choose it.
#[derive(Debug)]
pub struct Partitions {
    share: f64,
    buckets: HashMap<Place, Bucket>,
}

impl Partitions {
    /// Full buckets with `share` of AWS's limits.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self {
            share,
            buckets: HashMap::new(),
        }
    }

    fn bucket(&mut self, place: &Place, now: Duration) -> &mut Bucket {
        let rate = self.share
            * match place.access {
                Access::Read => READ_UNITS_PER_SECOND,
                Access::Write => WRITE_UNITS_PER_SECOND,
            };
        let bucket = self
            .buckets
            .entry(place.clone())
            .or_insert(Bucket { units: rate, at: now });
        let gained = now.saturating_sub(bucket.at).as_secs_f64() * rate;
        bucket.units = (bucket.units + gained).min(rate);
        bucket.at = bucket.at.max(now);
        bucket
    }

    /// Whether the partition has any units left.
    pub fn admits(&mut self, place: &Place, now: Duration) -> bool {
        self.bucket(place, now).units > 0.0
    }

    /// Charges the units of a request.
    pub fn charge(&mut self, place: &Place, units: f64, now: Duration) {
        self.bucket(place, now).units -= units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The number of admitted one-unit writes, with one attempt every millisecond.
    fn through(partitions: &mut Partitions, place: &Place, from_ms: u64, to_ms: u64) -> usize {
        (from_ms..to_ms)
            .filter(|ms| {
                let admitted = partitions.admits(place, at(*ms));
                if admitted {
                    partitions.charge(place, 1.0, at(*ms));
                }
                admitted
            })
            .count()
    }

    #[test]
    fn a_partition_lets_its_share_through_and_a_second_s_worth_at_once() {
        let mut partitions = Partitions::new(0.1);
        let place = Place::of("stock", "a", Access::Write);
        // The partition admits 100 units in this second, and the 100 units that the full bucket has at the start.
        let first = through(&mut partitions, &place, 0, 1_000);
        assert!((199..=201).contains(&first), "{first}");
        let later = through(&mut partitions, &place, 1_000, 3_000);
        assert!((199..=201).contains(&later), "{later}");
        assert_eq!(through(&mut partitions, &place, 600_000, 600_050), 50);
    }

    #[test]
    fn a_debt_is_paid_before_anything_is_let_through() {
        let mut partitions = Partitions::new(0.01);
        let place = Place::of("stock", "a", Access::Write);
        partitions.charge(&place, 30.0, at(0));
        assert!(!partitions.admits(&place, at(1_990)));
        assert!(partitions.admits(&place, at(2_010)));
    }

    #[test]
    fn reads_writes_tables_and_partitions_are_apart() {
        let mut partitions = Partitions::new(0.001);
        partitions.charge(&Place::of("stock", "a", Access::Write), 5.0, at(0));
        assert!(!partitions.admits(&Place::of("stock", "a", Access::Write), at(0)));
        assert!(partitions.admits(&Place::of("stock", "a", Access::Read), at(0)));
        assert!(partitions.admits(&Place::of("orders", "a", Access::Write), at(0)));
        let places: std::collections::HashSet<Place> = (0..200)
            .map(|n| Place::of("stock", &n.to_string(), Access::Write))
            .collect();
        assert_eq!(places.len() as u64, PARTITIONS);
    }
}
