//! Computes the values that follow from the expected number of shoppers: the number of processes, the number
//! of shards of a small allocation, and the number of shard reads ("looks") that a process may make.
//!
//! **Arithmetic.** A crowd's busiest second has one request for every five shoppers: 1,000,000 shoppers send
//! 200,000. A process serves ten requests a second (Lambda's limit), so the crowd needs 20,000 processes.
//! Two thirds of the processes serve requests for reservations. A request that looks at its shopper's two
//! shards costs one read unit, and one write unit more if it finds units. A new table gives 12,000 read units
//! and 4,000 write units a second, however many shards there are, and more after its warm throughput was raised. A key gives 3,000 and 1,000. The plan uses 60 % of each. So if more than 36,000
//! shoppers are expected, a new table cannot serve a look for every request, and each process has a budget.
//!
//! **The budget** counts read units. A look while the process knows that no unit is free costs one. A look
//! after which the request may write costs as many as the table gives for each write unit: three for a new
//! table, and one for a table that gives more writes than reads.
//!
//! **Repeats.** A request that says that it repeats an earlier one may look in advance of the budget, to find the
//! reservation of the earlier one and not to claim units. Later requests of the process wait until the budget has
//! grown again, so all looks together stay within it.
//!
//! **Under throttling** a table gives less than planned, since its keys are badly distributed or other
//! requests use it. Each refused look halves the process's share of its budget. The share grows again within
//! a minute.

use crate::limits::{CONDUCTOR_PERIOD_MS, STATUS_REPLICAS};
use crate::time::Timestamp;

/// The smallest and largest number of shoppers that an operator may expect.
pub const EXPECTED_SHOPPERS: std::ops::RangeInclusive<u32> = 1..=100_000_000;
/// The number of expected shoppers for which the busiest second has one request.
const SHOPPERS_PER_REQUEST: u32 = 5;
/// The largest number of requests a second that one process serves.
const REQUESTS_PER_PROCESS: u32 = 10;
/// The read units a second that DynamoDB gives for one key.
const KEY_READS: u32 = 3_000;
/// The share of a key's and a table's units that the plan uses, in percent.
const PLANNED_PERCENT: u32 = 60;
/// The number of busy keys that are assumed to share one partition. A partition gives as many units as
/// one key.
const KEYS_PER_PARTITION: u32 = 4;

/// The number of looks a second that one shard can serve.
const LOOKS_PER_SHARD: u32 = KEY_READS / 100 * PLANNED_PERCENT / KEYS_PER_PARTITION;
/// The number of processes for which one copy of a status document is enough.
const PROCESSES_PER_COPY: u32 = 320;
/// The smallest number of copies of a status document. More than one copy is needed, since a crowd may be
/// larger than expected.
const FEWEST_COPIES: u8 = 4;
/// The longest time over which requests that ask again are spread, in seconds.
const MOST_SPREAD_SECONDS: u32 = 300;
/// The cost of a look while the process knows that no unit is free, in millionths of a read unit.
const LOOK: i64 = 1_000_000;
/// The number of looks that a process may take in advance for repeats. It is larger than the cost of one request's
/// further looks, so that a repeat finds its reservation in a process that has just searched.
const LOOKS_IN_ADVANCE: i64 = 6;
/// The whole of a share: shares are counted in millionths.
const WHOLE: i64 = 1_000_000;
/// The smallest share of its budget that a process uses while the table refuses looks.
const LEAST_SHARE: i64 = WHOLE / 64;
/// The time in which a share grows from zero to the whole, in milliseconds.
const REGROWTH_MS: i64 = 60_000;
/// The largest cost of a look after which the request may write, in looks without a write.
const LOOKS_PER_WRITE: u32 = 3;
/// The number of requests that may try to get one unit in a further shard, in each [`CONDUCTOR_PERIOD_MS`].
/// More requests would only compete for the same shard.
const TRIES_PER_UNIT: u64 = 8;

/// The largest number of further shards that one request reads after its shopper's own two.
pub const MOST_FURTHER: usize = 6;
/// The number of further shards that a request reads under a budget. It equals the number of shards in the
/// first look, so that a request costs at most two looks, and half a look more if a further shard is remembered.
const MOST_FURTHER_IN_BUDGET: usize = 2;

const _: () = assert!(
    StockTable::NEW.looks() == 7_200 && LOOKS_PER_SHARD == 450,
    "the documentation has these numbers"
);

/// The capacity of the stock table in a second, as its warm throughput gives it. A look also costs half a
/// read unit of the purchases table, so that table must have at least half as many read units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockTable {
    /// The read units a second.
    pub read_units: u32,
    /// The write units a second.
    pub write_units: u32,
}

impl StockTable {
    /// The capacity of a new table.
    pub const NEW: Self = Self {
        read_units: 12_000,
        write_units: 4_000,
    };

    /// The read units a second that all looks together may use: the planned share of the read units, or three
    /// for each planned write unit if that is less.
    const fn looks(self) -> u32 {
        let reads = self.read_units / 100 * PLANNED_PERCENT;
        let by_writes = LOOKS_PER_WRITE * self.writes();
        if reads < by_writes { reads } else { by_writes }
    }

    /// The planned share of the write units, a second.
    const fn writes(self) -> u32 {
        self.write_units / 100 * PLANNED_PERCENT
    }
}

/// The number of requests in the busiest second.
#[must_use]
pub const fn busiest_second(expected_shoppers: u32) -> u32 {
    expected_shoppers.div_ceil(SHOPPERS_PER_REQUEST)
}

/// The number of processes that serve the busiest second.
#[must_use]
pub const fn processes(expected_shoppers: u32) -> u32 {
    busiest_second(expected_shoppers).div_ceil(REQUESTS_PER_PROCESS)
}

/// The number of processes that serve requests for reservations in the busiest second: two thirds of all. The scale model
/// has 63 % of them without a CDN, and 93 % with one.
const fn reserving(expected_shoppers: u32) -> u32 {
    2 * processes(expected_shoppers).div_ceil(3)
}

/// The number of copies of a drop's status document, and of the free counts of each SKU. In a second, each
/// process reads one copy of each document, at half a read unit. 320 processes share a copy, so a partition
/// can hold several copies. A small drop has few copies, so that the conductor needs few writes.
#[must_use]
pub fn status_copies(expected_shoppers: u32) -> u8 {
    let copies = processes(expected_shoppers).div_ceil(PROCESSES_PER_COPY);
    u8::try_from(copies)
        .unwrap_or(u8::MAX)
        .clamp(FEWEST_COPIES, STATUS_REPLICAS)
}

/// The number of shards that a SKU needs for its crowd, so that no shard receives more looks than it
/// can serve.
#[must_use]
pub fn shards(expected_shoppers: u32) -> u32 {
    busiest_second(expected_shoppers)
        .clamp(1, StockTable::NEW.looks())
        .div_ceil(LOOKS_PER_SHARD)
}

/// The load that a drop's crowd puts on the stock table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The number of shoppers that the operator expects.
    pub expected_shoppers: u32,
    /// The number of shards of all SKUs of the drop.
    pub shards: u32,
}

/// A process's budget of looks. The unused budget grows with time, up to the growth of one second or the cost
/// of one look, whichever is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookBudget {
    table: StockTable,
    /// The rest of the budget in millionths of a read unit, and the time at which it was computed; `None`
    /// before the first look. The rest is negative after a further look that the budget did not cover.
    left: Option<(i64, Timestamp)>,
    /// The share after the table last refused a look, in millionths, and the time of the refusal; `None` if
    /// the table has refused no look.
    reduced: Option<(i64, Timestamp)>,
}

impl Default for LookBudget {
    /// The budget at a new table.
    fn default() -> Self {
        Self::at(StockTable::NEW)
    }
}

impl LookBudget {
    /// The budget of a process that has just started and uses this table.
    #[must_use]
    pub const fn at(table: StockTable) -> Self {
        Self {
            table,
            left: None,
            reduced: None,
        }
    }

    /// The read units a second for the looks of all processes: limited by the table, and by the drop's number
    /// of shards.
    fn in_a_second(self, shards: u32) -> u32 {
        self.table
            .looks()
            .min(shards.saturating_mul(LOOKS_PER_SHARD))
            .max(1)
    }

    /// The share of its budget that the process may use now, in millionths.
    fn share(self, now: Timestamp) -> i64 {
        self.reduced.map_or(WHOLE, |(share, at)| {
            let regrown = now.millis_since(at).clamp(0, REGROWTH_MS) * WHOLE / REGROWTH_MS;
            (share + regrown).min(WHOLE)
        })
    }

    /// Whether the table refused a look within the last minute.
    #[must_use]
    pub fn is_reduced(self, now: Timestamp) -> bool {
        self.share(now) < WHOLE
    }

    /// Records that the table refused a look, which halves the share of its budget that the process may use,
    /// down to a minimum.
    pub fn refused(&mut self, now: Timestamp) {
        self.reduced = Some(((self.share(now) / 2).max(LEAST_SHARE), now));
    }

    /// The millionths of a read unit that a process may use in a second. `None` if the crowd is so small that
    /// each request may look.
    fn budget(self, crowd: Demand) -> Option<i64> {
        let looks = self.in_a_second(crowd.shards);
        // Few shards alone require no budget: `shards` gives enough for a crowd that a new table serves
        // without one.
        (busiest_second(crowd.expected_shoppers) > looks.max(StockTable::NEW.looks()))
            .then(|| self.part(crowd))
    }

    /// The process's equal part of all looks, in millionths of a read unit a second.
    fn part(self, crowd: Demand) -> i64 {
        let looks = self.in_a_second(crowd.shards);
        let reserving = reserving(crowd.expected_shoppers);
        i64::from(looks) * LOOK / i64::from(reserving)
    }

    /// The time, in seconds, over which the requests are spread that ask again while all units are held. In
    /// this time the crowd asks no more often than it can look. `None` if the crowd is so small that each
    /// request may look.
    #[must_use]
    pub fn spread_seconds(self, crowd: Demand) -> Option<u32> {
        self.budget(crowd)?;
        let looks = self.in_a_second(crowd.shards);
        Some((2 * crowd.expected_shoppers.div_ceil(looks)).min(MOST_SPREAD_SECONDS))
    }

    /// The number of further shards that a request reads when its shopper's two shards have no units and
    /// `free` units were counted elsewhere. Under a budget, `chance` selects as many requests as the units
    /// can serve; the others read none.
    #[must_use]
    pub fn further_shards(self, crowd: Demand, free: u32, chance: u64) -> usize {
        if self.budget(crowd).is_none() {
            return MOST_FURTHER;
        }
        let period_ms = CONDUCTOR_PERIOD_MS.unsigned_abs();
        let to_write =
            u64::from(self.in_a_second(crowd.shards)) * LOOK.unsigned_abs() / self.to_write().unsigned_abs();
        let looks = to_write * period_ms / 1_000;
        if chance % looks.max(1) < u64::from(free) * TRIES_PER_UNIT {
            MOST_FURTHER_IN_BUDGET
        } else {
            0
        }
    }

    /// The cost of a look after which the request may write, in millionths of a read unit.
    fn to_write(self) -> i64 {
        let writes = i64::from(self.table.writes().max(1));
        LOOK.max(i64::from(self.table.looks()) * LOOK / writes)
    }

    /// Takes the cost of a request's first look from the budget at `now`; false if the budget does not
    /// suffice. `scarce` means that the process knows that no unit is free, so the look only finds an earlier
    /// reservation. `chance` determines the initial rest of the budget, so that processes that start together
    /// do not all look at the same time.
    pub fn take(&mut self, crowd: Demand, scarce: bool, now: Timestamp, chance: u64) -> bool {
        let share = self.share(now);
        let budget = match self.budget(crowd) {
            None if share == WHOLE => return true,
            _ => self.part(crowd) * share / WHOLE,
        };
        let cost = if scarce { LOOK } else { self.to_write() };
        let most = budget.max(cost);
        let left = match self.left {
            None => i64::try_from(chance % most.unsigned_abs()).unwrap_or(0),
            Some((left, at)) => {
                let ms = now.millis_since(at).clamp(0, 60_000);
                (left + budget * ms / 1_000).min(most)
            }
        };
        let takes = left >= cost;
        let left = if takes { left - cost } else { left };
        self.left = Some((left, now));
        takes
    }

    /// Takes one look from the budget of coming seconds, for a request that repeats an earlier one whose answer did not
    /// arrive, after [`take`](Self::take) was false. Such a look finds an earlier reservation and claims no units. False
    /// if the process has already taken that many looks in advance, or if the table refuses looks.
    pub fn take_in_advance(&mut self, now: Timestamp) -> bool {
        let is_reduced = self.is_reduced(now);
        match &mut self.left {
            Some((left, _)) if !is_reduced && *left >= (1 - LOOKS_IN_ADVANCE) * LOOK => {
                *left -= LOOK;
                true
            }
            _ => false,
        }
    }

    /// Charges the budget for a request's further look at this many `shards`. The further look is made in any
    /// case; if the rest becomes negative, later first looks wait.
    pub fn charge(&mut self, shards: usize) {
        let of_shard = self.to_write() / 2;
        if let Some((left, _)) = &mut self.left {
            *left -= i64::try_from(shards).unwrap_or(0) * of_shard;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    /// A crowd for a drop that has many shards.
    const fn crowd(expected_shoppers: u32) -> Demand {
        Demand {
            expected_shoppers,
            shards: 417,
        }
    }

    #[test]
    fn the_reference_crowd() {
        assert_eq!(busiest_second(1_000_000), 200_000);
        assert_eq!(processes(1_000_000), 20_000);
        assert_eq!(shards(1_000_000), 16);
        assert_eq!(processes(1), 1);
        assert_eq!(shards(1), 1);
        assert_eq!(shards(36_000), 16);
        let copies = [1, 64_001, 1_000_000, u32::MAX].map(status_copies);
        assert_eq!(copies, [4, 5, 63, STATUS_REPLICAS]);
    }

    /// The capacity of a table whose warm throughput was raised.
    const WARM: StockTable = StockTable {
        read_units: 40_000,
        write_units: 8_000,
    };

    #[test]
    fn the_budget_follows_from_the_table() {
        let (new, warm) = (LookBudget::default(), LookBudget::at(WARM));
        assert_eq!(new.budget(crowd(1_000_000)), Some(539_973));
        assert_eq!(new.spread_seconds(crowd(1_000_000)), Some(278));
        assert_eq!(new.budget(crowd(36_000)), None);
        assert_eq!(new.spread_seconds(crowd(36_000)), None);
        assert_eq!(new.spread_seconds(crowd(u32::MAX)), Some(MOST_SPREAD_SECONDS));
        assert_eq!(warm.budget(crowd(1_000_000)), Some(1_079_946));
        assert_eq!(warm.spread_seconds(crowd(1_000_000)), Some(140));
        assert_eq!(warm.budget(crowd(72_000)), None);
    }

    #[test]
    fn a_table_of_many_writes_sells_with_every_look() {
        let large = LookBudget::at(StockTable {
            read_units: 20_000,
            write_units: 60_000,
        });
        let cost = [LookBudget::default(), LookBudget::at(WARM), large].map(LookBudget::to_write);
        assert_eq!(cost, [3 * LOOK, 3 * LOOK, LOOK]);
    }

    #[test]
    fn few_shards_serve_few_looks_however_warm_the_table_is() {
        let few = Demand {
            expected_shoppers: 1_000_000,
            shards: 12,
        };
        assert_eq!(LookBudget::default().budget(few), Some(404_979));
        assert_eq!(LookBudget::at(WARM).budget(few), Some(404_979));
    }

    #[test]
    fn as_many_requests_look_further_as_units_can_serve() {
        let further = |shoppers, free| {
            let looks =
                (0..36_000).map(|chance| LookBudget::default().further_shards(crowd(shoppers), free, chance));
            looks.collect::<Vec<_>>()
        };
        assert!(further(36_000, 0).iter().all(|shards| *shards == 6));
        for (free, tries) in [(0, 0), (1, 8), (100, 800), (450, 3_600), (100_000, 3_600)] {
            let looking = further(1_000_000, free)
                .iter()
                .filter(|shards| **shards == 2)
                .count();
            assert_eq!(
                looking,
                10 * tries,
                "of 10 times a period's looks, with {free} free units"
            );
        }
    }

    #[test]
    fn a_small_crowd_looks_with_every_request() {
        let mut looks = LookBudget::default();
        assert!((0..10_000).all(|_| looks.take(crowd(36_000), false, at(0), 0)));
        assert_eq!(looks, LookBudget::default());
    }

    #[test]
    fn each_refused_look_halves_the_share_which_grows_again_within_a_minute() {
        let (crowd, mut looks) = (crowd(20_000), LookBudget::default());
        let taken = |mut looks: LookBudget, from: i64| {
            let tries = (from..from + 10_000).step_by(10);
            tries.filter(|ms| looks.take(crowd, true, at(*ms), 0)).count()
        };
        assert_eq!(
            taken(looks, 0),
            1_000,
            "no look is refused, so each request looks"
        );
        (0..20).for_each(|_| looks.refused(at(0)));
        assert_eq!(looks.share(at(0)), LEAST_SHARE);
        // A process has 27 looks a second. It may use a 64th of them at first, and a sixth more after
        // ten seconds.
        assert!((22..34).contains(&taken(looks, 0)), "{}", taken(looks, 0));
        assert!(
            (104..121).contains(&taken(looks, 20_000)),
            "{}",
            taken(looks, 20_000)
        );
        assert!(looks.is_reduced(at(59_000)) && !looks.is_reduced(at(60_000)));
        assert_eq!(taken(looks, 60_000), 1_000);
        assert_eq!(
            LookBudget::default().spread_seconds(crowd),
            looks.spread_seconds(crowd)
        );
    }

    #[test]
    fn a_look_costs_less_while_nothing_is_free_and_a_further_one_is_paid_for_later() {
        let crowd = crowd(1_000_000);
        let next = |mut looks: LookBudget, scarce, from| {
            let mut mine = looks;
            let ms = (from..60_000).find(|ms| mine.take(crowd, scarce, at(*ms), 0));
            looks = mine;
            (ms.unwrap(), looks)
        };
        let (first, looks) = next(LookBudget::default(), true, 0);
        assert_eq!(first, 1_856, "539,973 millionths a second");
        let (second, mut looks) = next(looks, false, first);
        assert!((5_545..5_570).contains(&(second - first)), "{second}");
        looks.charge(2);
        let (third, _) = next(looks, true, second);
        assert!((7_390..7_430).contains(&(third - second)), "{third}");
    }

    #[test]
    fn repeats_look_in_advance_and_later_requests_pay() {
        let crowd = crowd(1_000_000);
        let mut looks = LookBudget::default();
        assert!(!looks.take_in_advance(at(0)), "before the first request");
        assert!(!looks.take(crowd, false, at(0), 0));
        let taken = (0..100).filter(|_| looks.take_in_advance(at(0))).count();
        assert_eq!(i64::try_from(taken).unwrap(), LOOKS_IN_ADVANCE);
        // 539,973 millionths of a look a second: six looks and one more take 13 s.
        let next = (0..60_000).find(|ms| looks.take(crowd, true, at(*ms), 0));
        assert!((12_900..13_000).contains(&next.unwrap()), "{next:?}");
        assert!(looks.take_in_advance(at(13_000)));
        looks.refused(at(13_000));
        assert!(!looks.take_in_advance(at(13_000)), "the table refuses looks");
    }

    proptest! {
        /// For every sequence of requests, a process looks no more often than its budget allows, and no less
        /// often while requests come.
        #[test]
        fn looks_keep_to_the_budget(
            shoppers in 36_001u32..5_000_000,
            chance: u64,
            waits in proptest::collection::vec(0i64..300, 50..400),
            repeats: bool,
        ) {
            let (crowd, mut looks) = (crowd(shoppers), LookBudget::default());
            let budget = looks.budget(crowd).unwrap();
            let (mut now, mut taken) = (0, 0);
            for wait in waits {
                now += wait;
                let takes = looks.take(crowd, true, at(now), chance)
                    || (repeats && looks.take_in_advance(at(now)));
                taken += i64::from(takes);
            }
            let in_advance = if repeats { LOOKS_IN_ADVANCE * LOOK } else { 0 };
            let most = budget.max(looks.to_write()) + budget * now / 1_000 + in_advance;
            prop_assert!(taken * LOOK <= most, "{taken} looks in {now} ms");
            // The budget that grows while no request comes may be lost: for each look, at most the growth of
            // 299 ms.
            let apart_ms = LOOK * 1_000 / budget.min(LOOK) + 2 * 300;
            prop_assert!(taken >= now / apart_ms - 1, "{taken} looks in {now} ms of {budget}");
        }

        /// All processes together stay within the table's throughput, also in the first second.
        #[test]
        fn a_crowd_stays_within_the_table(shoppers in 36_001u32..3_000_000, seed: u64) {
            let reserving = reserving(shoppers);
            let processes = reserving.min(3_000);
            let mut all: Vec<LookBudget> = vec![LookBudget::default(); processes as usize];
            let mut taken = 0u32;
            for ms in (0..1_000).step_by(100) {
                for (n, looks) in all.iter_mut().enumerate() {
                    let chance = crate::choice::mix(seed ^ n as u64);
                    taken += u32::from(looks.take(crowd(shoppers), true, at(ms), chance));
                }
            }
            let share = f64::from(processes) / f64::from(reserving);
            let allowed = f64::from(StockTable::NEW.looks()) * share;
            prop_assert!(f64::from(taken) <= allowed * 2.0 + 60.0, "{taken} of {allowed}");
        }
    }
}
