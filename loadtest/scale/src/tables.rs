//! Models DynamoDB's partitions: the placement of items, the units used in each second, and the requests that are
//! refused for lack of units.
//!
//! A hash places each key on one of a table's partitions; an index has partitions of its own. Within one second, a
//! partition admits requests until its limit is used, and no request after that. Unused units are not saved. A
//! table has a limit of its own, which works in the same way. Partitions never split: AWS does not document how
//! soon it splits a busy one.
//!
//! The first of [`PLACEMENTS`] placements decides what is refused. All of them count the *requested* units of
//! each second, refused requests included, so `partition_use_max` shows how far the demand exceeded the
//! limit.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use clap::ValueEnum;
use replay::chance::{key_of, keyed};
use serde::Serialize;

use crate::lock;
use crate::settings::{LIMITS, Lifted, Settings};

/// The number of placements of the keys that are counted in parallel.
pub const PLACEMENTS: usize = 10;
/// The largest number of keys of a table that are counted separately. In a table with more keys, no single
/// key matters.
const MOST_KEYS: usize = 20_000;
/// The number of a table's keys that the report names.
const TOLD_KEYS: usize = 8;

/// A table or an index whose partitions are modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Place {
    Stock,
    Purchases,
    Orders,
    OrdersOpen,
    OrdersByShopper,
    Addresses,
    Drops,
    Calendar,
    Status,
}

impl Place {
    /// The name of the place's table in the template, and the setting that lifts the table's limits; `None` if no
    /// setting does. A table's warm throughput and limits also apply to its indexes.
    #[must_use]
    pub const fn table(self) -> (&'static str, Option<Lifted>) {
        match self {
            Self::Stock => ("StockTable", Some(Lifted::Stock)),
            Self::Purchases => ("PurchasesTable", Some(Lifted::Purchases)),
            Self::Orders | Self::OrdersOpen | Self::OrdersByShopper => ("OrdersTable", Some(Lifted::Orders)),
            Self::Addresses => ("AddressesTable", None),
            Self::Drops | Self::Calendar => ("DropsTable", Some(Lifted::Drops)),
            Self::Status => ("StatusTable", Some(Lifted::Status)),
        }
    }
}

/// Whether units are read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    Read,
    Write,
}

/// The units that a request needs of one item.
#[derive(Debug, Clone)]
pub struct Touch {
    /// The table or index that contains the item.
    pub place: Place,
    pub key: String,
    /// Whether the item is read or written.
    pub access: Access,
    /// The number of units.
    pub units: f64,
}

impl Touch {
    #[must_use]
    pub fn read(place: Place, key: impl Into<String>, units: f64) -> Self {
        Self::new(place, key.into(), Access::Read, units)
    }

    #[must_use]
    pub fn write(place: Place, key: impl Into<String>, units: f64) -> Self {
        Self::new(place, key.into(), Access::Write, units)
    }

    fn new(place: Place, key: String, access: Access, units: f64) -> Self {
        Self {
            place,
            key,
            access,
            units,
        }
    }

    fn hash(&self) -> u64 {
        key_of(&self.key)
    }
}

#[derive(Debug)]
struct KeyUse {
    report: KeyReport,
    second: i64,
    in_second: f64,
}

/// The reads, or the writes, of one table or index.
#[derive(Debug)]
struct Side {
    place: Place,
    access: Access,
    ceiling: f64,
    most_of_table: f64,
    /// Whether the limits are lifted, so that every request is admitted.
    lifted: bool,
    /// Used units by partition in this second, for the first placement.
    used: Vec<f64>,
    used_of_table: f64,
    /// Requested units by placement and partition in this second.
    asked: Vec<f64>,
    keys: HashMap<u64, KeyUse>,
    total: f64,
    throttled: u64,
    first_throttle_us: Option<i64>,
    first_throttled_key: Option<String>,
    /// By placement: the highest demand on a partition in a second, as a share of its limit.
    use_max: [f64; PLACEMENTS],
    busiest_second: i64,
}

impl Side {
    fn new(
        (place, access): (Place, Access),
        partitions: usize,
        ceiling: f64,
        most_of_table: f64,
        lifted: bool,
    ) -> Self {
        Self {
            place,
            access,
            ceiling,
            most_of_table,
            lifted,
            used: vec![0.0; partitions],
            used_of_table: 0.0,
            asked: vec![0.0; partitions * PLACEMENTS],
            keys: HashMap::new(),
            total: 0.0,
            throttled: 0,
            first_throttle_us: None,
            first_throttled_key: None,
            use_max: [0.0; PLACEMENTS],
            busiest_second: 0,
        }
    }

    fn partition(&self, seed: u64, placement: usize, hash: u64) -> usize {
        let drawn = keyed(seed ^ 0x9a27, hash, placement as u64);
        usize::try_from(drawn % (self.used.len() as u64).max(1)).unwrap_or(0)
    }

    fn ask(&mut self, seed: u64, hash: u64, second: i64, touch: &Touch) {
        let partitions = self.used.len();
        for placement in 0..PLACEMENTS {
            let at = placement * partitions + self.partition(seed, placement, hash);
            if let Some(asked) = self.asked.get_mut(at) {
                *asked += touch.units;
            }
        }
        if self.keys.len() >= MOST_KEYS && !self.keys.contains_key(&hash) {
            return;
        }
        let key = self.keys.entry(hash).or_insert_with(|| KeyUse {
            report: KeyReport {
                key: touch.key.clone(),
                ..KeyReport::default()
            },
            second,
            in_second: 0.0,
        });
        if key.second != second {
            (key.second, key.in_second) = (second, 0.0);
        }
        key.in_second += touch.units;
        key.report.total += touch.units;
        key.report.peak = key.report.peak.max(key.in_second);
    }

    fn admits(&self, seed: u64, hash: u64) -> bool {
        if self.lifted {
            return true;
        }
        let used = self.used.get(self.partition(seed, 0, hash)).copied();
        used.is_some_and(|used| used < self.ceiling) && self.used_of_table < self.most_of_table
    }

    fn take(&mut self, seed: u64, hash: u64, units: f64) {
        let at = self.partition(seed, 0, hash);
        if let Some(used) = self.used.get_mut(at) {
            *used += units;
        }
        self.used_of_table += units;
        self.total += units;
    }

    /// Ends a second. Returns the highest demand on a partition in this second, as a share of the partition's
    /// limit.
    fn end_second(&mut self, second: i64) -> f64 {
        let partitions = self.used.len().max(1);
        let mut busiest = 0.0_f64;
        for (max, asked) in self.use_max.iter_mut().zip(self.asked.chunks(partitions)) {
            let most = asked.iter().copied().fold(0.0, f64::max) / self.ceiling;
            busiest = busiest.max(most);
            *max = max.max(most);
        }
        let worst = self.use_max.iter().copied().fold(0.0, f64::max);
        if busiest >= worst && busiest > 0.0 {
            self.busiest_second = second;
        }
        self.used.fill(0.0);
        self.asked.fill(0.0);
        self.used_of_table = 0.0;
        busiest
    }
}

#[derive(Debug)]
struct State {
    second: i64,
    /// The reads, and then the writes, of each place.
    sides: Vec<Side>,
    /// The highest demand on any partition in each second, as a share of its limit.
    busiest: Vec<(i64, f64)>,
    /// Items that transactions in progress will change, with the number of these transactions.
    locked: HashMap<u64, u32>,
    conflicts: u64,
}

impl State {
    fn side(&mut self, touch: &Touch) -> Option<&mut Side> {
        let at = 2 * touch.place as usize + touch.access as usize;
        self.sides.get_mut(at)
    }
}

/// The partitions of all tables and indexes of a run, and the demand on them.
#[derive(Debug)]
pub struct Tables {
    seed: u64,
    opens_us: i64,
    state: Mutex<State>,
}

/// The units that requests needed of a busy key.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct KeyReport {
    pub key: String,
    /// Units requested in the key's busiest second.
    pub peak: f64,
    /// Units requested in the whole run.
    pub total: f64,
}

/// The demand on a table or an index, for reads or for writes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlaceReport {
    /// The table or index.
    pub place: Place,
    /// Whether the units were read or written.
    pub access: Access,
    /// The number of partitions.
    pub partitions: usize,
    /// Units used.
    pub units: f64,
    /// Requests for an item that were refused for lack of units.
    pub throttled: u64,
    /// The time of the first refusal, in ms from the opening; `None` if none was refused.
    pub first_throttle_ms: Option<i64>,
    /// The key of the first refusal; `None` if none was refused.
    pub first_throttled_key: Option<String>,
    /// The demand on the busiest partition in its busiest second, as a share of the partition's limit.
    /// Refused requests count, and the value is that of the worst placement.
    pub partition_use_max: f64,
    /// The demand on the busiest partition in its busiest second, as a share of the limit, by placement. The
    /// first placement decides what is refused.
    pub partition_use_by_placement: Vec<f64>,
    /// The second of `partition_use_max`, from the opening.
    pub busiest_second: i64,
    pub busiest_keys: Vec<KeyReport>,
}

impl Tables {
    /// Tables with the partitions that the capacity of `settings` gives them, for a drop that opens at `opens_us`.
    #[must_use]
    pub fn new(settings: &Settings, opens_us: i64) -> Self {
        let (capacity, limits) = (&settings.capacity, settings.limits);
        let quotas = &capacity.quotas;
        let sides = |place: Place| {
            let (table, lift) = place.table();
            let warm = capacity.warm(table);
            let (read, write) = (f64::from(warm.read_units), f64::from(warm.write_units));
            let partitions = (read / LIMITS.partition_read_units).max(write / LIMITS.partition_write_units);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a quota over a thousand"
            )]
            let partitions = partitions.ceil() as usize;
            let lifted = lift.is_some_and(|lift| settings.lifted.contains(&lift));
            let side = |access, ceiling, most: u32| {
                Side::new((place, access), partitions, ceiling, f64::from(most), lifted)
            };
            let (reads, writes) = (quotas.table_read_units, quotas.table_write_units);
            [
                side(Access::Read, limits.partition_read_units, reads),
                side(Access::Write, limits.partition_write_units, writes),
            ]
        };
        Self {
            seed: settings.seed,
            opens_us,
            state: Mutex::new(State {
                second: 0,
                sides: Place::value_variants().iter().copied().flat_map(sides).collect(),
                busiest: Vec::new(),
                locked: HashMap::new(),
                conflicts: 0,
            }),
        }
    }

    fn state(&self, now_us: i64) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        let second = (now_us - self.opens_us).div_euclid(1_000_000);
        if second != state.second {
            self.end_second(&mut state);
            state.second = second;
        }
        state
    }

    fn end_second(&self, state: &mut State) {
        let second = state.second;
        let sides = state.sides.iter_mut();
        let busiest = sides.map(|side| side.end_second(second)).fold(0.0, f64::max);
        state.busiest.push((second, busiest));
    }

    /// Requests the units of all `touches` and of `later`; [`Tables::take`] takes the units of `later` when
    /// the outcome is known. Either all units of `touches` are taken, or none is and the request is refused.
    pub fn ask(&self, now_us: i64, touches: &[Touch], later: &[Touch]) -> bool {
        let mut state = self.state(now_us);
        let second = state.second;
        let mut refused = false;
        for touch in touches.iter().chain(later) {
            let hash = touch.hash();
            let Some(side) = state.side(touch) else {
                continue;
            };
            side.ask(self.seed, hash, second, touch);
            if !side.admits(self.seed, hash) {
                side.throttled += 1;
                if side.first_throttle_us.is_none() {
                    side.first_throttle_us = Some(now_us);
                    side.first_throttled_key = Some(touch.key.clone());
                }
                refused = true;
            }
        }
        if !refused {
            self.take_from(&mut state, touches);
        }
        !refused
    }

    /// Takes units that were requested before.
    pub fn take(&self, now_us: i64, touches: &[Touch]) {
        let mut state = self.state(now_us);
        self.take_from(&mut state, touches);
    }

    fn take_from(&self, state: &mut State, touches: &[Touch]) {
        for touch in touches {
            if let Some(side) = state.side(touch) {
                side.take(self.seed, touch.hash(), touch.units);
            }
        }
    }

    /// Whether a write of `keys` conflicts with a transaction in progress on one of these keys. Counts the
    /// conflict.
    pub fn conflicts(&self, keys: &[u64]) -> bool {
        let mut state = lock(&self.state);
        let met = keys.iter().any(|key| state.locked.contains_key(key));
        state.conflicts += u64::from(met);
        met
    }

    /// Locks `keys` against other writes until the returned value is dropped.
    pub fn lock(&self, keys: Vec<u64>) -> Locked<'_> {
        let mut state = lock(&self.state);
        for key in &keys {
            *state.locked.entry(*key).or_default() += 1;
        }
        drop(state);
        Locked { tables: self, keys }
    }

    /// The key by which transactions lock an item.
    #[must_use]
    pub fn lock_key(touch: &Touch) -> u64 {
        keyed(touch.place as u64, touch.hash(), 0)
    }

    /// The number of requests for items that were refused for lack of units so far.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        lock(&self.state).sides.iter().map(|side| side.throttled).sum()
    }

    /// The number of writes that conflicted with a transaction.
    #[must_use]
    pub fn conflicted(&self) -> u64 {
        lock(&self.state).conflicts
    }

    /// Units read and written in the whole run.
    #[must_use]
    pub fn units(&self) -> (f64, f64) {
        let state = lock(&self.state);
        let sum = |access| {
            let sides = state.sides.iter().filter(|side| side.access == access);
            sides.map(|side| side.total).sum()
        };
        (sum(Access::Read), sum(Access::Write))
    }

    /// For each second from the opening, the highest demand on a partition over all tables and placements, as
    /// a share of the partition's limit.
    #[must_use]
    pub fn busiest(&self) -> Vec<(i64, f64)> {
        let mut state = lock(&self.state);
        self.end_second(&mut state);
        state.busiest.clone()
    }

    /// The demand on each table and index.
    #[must_use]
    pub fn report(&self) -> Vec<PlaceReport> {
        let report = |side: &Side| {
            let mut keys: Vec<&KeyReport> = side.keys.values().map(|key| &key.report).collect();
            keys.sort_by(|a, b| b.peak.total_cmp(&a.peak).then_with(|| a.key.cmp(&b.key)));
            let first_us = side.first_throttle_us;
            PlaceReport {
                place: side.place,
                access: side.access,
                partitions: side.used.len(),
                units: side.total,
                throttled: side.throttled,
                first_throttle_ms: first_us.map(|us| (us - self.opens_us).div_euclid(1_000)),
                first_throttled_key: side.first_throttled_key.clone(),
                partition_use_max: side.use_max.iter().copied().fold(0.0, f64::max),
                partition_use_by_placement: side.use_max.to_vec(),
                busiest_second: side.busiest_second,
                busiest_keys: keys.into_iter().take(TOLD_KEYS).cloned().collect(),
            }
        };
        lock(&self.state).sides.iter().map(report).collect()
    }
}

/// Items that a transaction in progress will change.
pub struct Locked<'a> {
    tables: &'a Tables,
    keys: Vec<u64>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.tables.state);
        for key in &self.keys {
            if let Some(count) = state.locked.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    state.locked.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        Tables::new(&Settings::of_new_account(), 0)
    }

    fn write(key: &str) -> [Touch; 1] {
        [Touch::write(Place::Stock, key, 1.0)]
    }

    #[test]
    fn one_key_gets_one_partition_s_ceiling_in_each_second_and_saves_nothing_up() {
        let tables = tables();
        for second in [3, 4, 60] {
            let through = (0..1_500)
                .filter(|_| tables.ask(second * 1_000_000 + 5, &write("a"), &[]))
                .count();
            assert_eq!(through, 1_000, "{second}");
        }
        let _ = tables.busiest();
        let report = &tables.report()[1];
        assert_eq!(report.partitions, 4);
        assert_eq!(report.throttled, 1_500);
        assert_eq!(report.partition_use_max, 1.5);
        assert_eq!(report.first_throttle_ms, Some(3_000));
        assert_eq!(report.first_throttled_key.as_deref(), Some("a"));
        assert_eq!(report.busiest_keys[0].peak, 1_500.0);
    }

    #[test]
    fn a_request_takes_all_its_units_or_none_and_an_index_holds_its_table_back() {
        let tables = tables();
        let order = [Touch::write(Place::Orders, "o", 1.0)];
        let index = [Touch::write(Place::OrdersOpen, "0", 1.0)];
        while tables.ask(0, &index, &[]) {}
        let before = tables.units();
        assert!(!tables.ask(0, &order, &index));
        assert_eq!(tables.units(), before);
        assert!(tables.ask(0, &order, &[]));
    }

    #[test]
    fn many_keys_spread_and_a_table_has_a_ceiling_too() {
        let tables = tables();
        let through = (0..60_000)
            .filter(|n| tables.ask(0, &write(&n.to_string()), &[]))
            .count();
        assert_eq!(through, 4_000, "four partitions");
    }

    #[test]
    fn a_transaction_keeps_others_away_until_it_ends() {
        let tables = tables();
        let key = Tables::lock_key(&write("a")[0]);
        let held = tables.lock(vec![key]);
        assert!(tables.conflicts(&[key]));
        drop(held);
        assert!(!tables.conflicts(&[key]));
        assert_eq!(tables.conflicted(), 1);
    }
}
