//! What follows from the number of shoppers that an operator expects: how many processes serve them, into how many shards a small
//! allocation is cut, and how many reads of shards a process may make.
//!
//! **Arithmetic.** A crowd's busiest second has a request for every fifth shopper: 1,000,000 shoppers make 200,000. A process serves
//! ten requests a second (Lambda's limit), so these are 20,000 processes; half of the requests are for reservations, and half of the
//! processes serve these. A request that looks at its shopper's two shards costs one read unit. A table gives 12,000 read units a
//! second when it is new, however many shards there are, and more after its warm throughput was raised; a key gives 3,000. Of each,
//! 60 % are planned for. So a crowd of more than 36,000 shoppers cannot look with every request at a new table, and each process has
//! a budget.

use crate::time::Timestamp;

/// The fewest and the most shoppers an operator may expect.
pub const EXPECTED_SHOPPERS: std::ops::RangeInclusive<u32> = 1..=100_000_000;
/// One request in the busiest second for so many shoppers.
const SHOPPERS_PER_REQUEST: u32 = 5;
/// The most requests a second that one process serves.
const REQUESTS_PER_PROCESS: u32 = 10;
/// Of the requests and of the processes, those for reservations, in percent.
const RESERVING_PERCENT: u32 = 50;
/// Read units a second of a table that nobody prepared.
pub const NEW_TABLE_READS: u32 = 12_000;
/// Read units a second of one key.
const KEY_READS: u32 = 3_000;
/// The planned share of both, in percent.
const PLANNED_PERCENT: u32 = 60;
/// So many busy keys may meet in one partition, whose units are a key's.
const KEYS_PER_PARTITION: u32 = 4;

/// Looks in a second for which one shard is enough.
const LOOKS_PER_SHARD: u32 = KEY_READS / 100 * PLANNED_PERCENT / KEYS_PER_PARTITION;
/// The longest wait that a process without looks left asks for, in seconds.
const MOST_SPREAD_SECONDS: u32 = 300;
/// What a look at a shopper's two shards takes of a budget, in thousandths of a shard.
const OWN_LOOK: i64 = 2_000;

/// The most further shards that one request reads, beside its shopper's two.
pub const MOST_FURTHER: usize = 6;
/// Further shards where looks have a budget: as many as its first look read, so that each request costs two looks at most.
const MOST_FURTHER_IN_BUDGET: usize = 2;

const _: () = assert!(
    planned_looks(NEW_TABLE_READS) == 7_200 && LOOKS_PER_SHARD == 450,
    "the documentation has these numbers"
);

/// Looks at two shards that all processes together may make in a second, each of one read unit, at a table that gives `read_units`.
const fn planned_looks(read_units: u32) -> u32 {
    read_units / 100 * PLANNED_PERCENT
}

/// Requests in the busiest second.
#[must_use]
pub const fn busiest_second(expected_shoppers: u32) -> u32 {
    expected_shoppers.div_ceil(SHOPPERS_PER_REQUEST)
}

/// The processes that serve the busiest second.
#[must_use]
pub const fn processes(expected_shoppers: u32) -> u32 {
    busiest_second(expected_shoppers).div_ceil(REQUESTS_PER_PROCESS)
}

/// The shards of a SKU that its crowd needs, so that no shard's reads are hot.
#[must_use]
pub fn shards(expected_shoppers: u32) -> u32 {
    busiest_second(expected_shoppers)
        .clamp(1, planned_looks(NEW_TABLE_READS))
        .div_ceil(LOOKS_PER_SHARD)
}

/// What a drop's crowd asks of the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The shoppers that the operator expects.
    pub expected_shoppers: u32,
    /// The shards of all SKUs of the drop.
    pub shards: u32,
}

/// A process's budget of looks. It grows with time and is never saved up beyond a second's, or one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    /// Read units a second that the stock table gives.
    read_units: u32,
    /// Millionths of a shard, and when they were that many; below 0 after a further look.
    left: Option<(i64, Timestamp)>,
}

impl Default for Looks {
    /// At a table that nobody prepared.
    fn default() -> Self {
        Self::at_table(NEW_TABLE_READS)
    }
}

impl Looks {
    /// At a table that gives so many read units a second.
    #[must_use]
    pub const fn at_table(read_units: u32) -> Self {
        Self {
            read_units,
            left: None,
        }
    }

    /// Looks that all processes together may make in a second: as many as the table and the drop's shards serve.
    fn in_a_second(self, shards: u32) -> u32 {
        planned_looks(self.read_units)
            .min(shards.saturating_mul(LOOKS_PER_SHARD))
            .max(1)
    }

    /// Thousandths of a shard that a process may read in a second; `None` if the crowd is small enough for a look with each request.
    fn budget(self, crowd: Demand) -> Option<i64> {
        let looks = self.in_a_second(crowd.shards);
        // What `shards` cut for is enough for a crowd that needs no budget.
        if busiest_second(crowd.expected_shoppers) <= looks.max(planned_looks(NEW_TABLE_READS)) {
            return None;
        }
        let reserving = (processes(crowd.expected_shoppers) * RESERVING_PERCENT).div_ceil(100);
        Some(i64::from(looks) * OWN_LOOK / i64::from(reserving))
    }

    /// The seconds over which those are spread who ask again while all units are held: in so long the crowd asks no more often than it
    /// can look. `None` if it is small enough for a look with each request.
    #[must_use]
    pub fn spread_seconds(self, crowd: Demand) -> Option<u32> {
        self.budget(crowd)?;
        let looks = self.in_a_second(crowd.shards);
        Some((2 * crowd.expected_shoppers.div_ceil(looks)).min(MOST_SPREAD_SECONDS))
    }

    /// How many further shards a request reads when its shopper's two have no units.
    #[must_use]
    pub fn further_shards(self, crowd: Demand) -> usize {
        match self.budget(crowd) {
            None => MOST_FURTHER,
            Some(_) => MOST_FURTHER_IN_BUDGET,
        }
    }

    /// Takes a request's first look at `now`; false if there is none left. `chance` decides how much of a budget a process begins with,
    /// so that processes that begin together do not all look at once.
    pub fn take(&mut self, crowd: Demand, now: Timestamp, chance: u64) -> bool {
        let Some(budget) = self.budget(crowd) else {
            return true;
        };
        let most = budget.max(OWN_LOOK) * 1_000;
        let left = match self.left {
            None => i64::try_from(chance % most.unsigned_abs()).unwrap_or(0),
            Some((left, at)) => {
                let ms = now.millis_since(at).clamp(0, 60_000);
                (left + budget * ms).min(most)
            }
        };
        let takes = left >= OWN_LOOK * 1_000;
        let left = if takes { left - OWN_LOOK * 1_000 } else { left };
        self.left = Some((left, now));
        takes
    }

    /// Charges a request's further look at so many `shards`. It is made in any case, and later looks wait for it.
    pub fn charge(&mut self, shards: usize) {
        if let Some((left, _)) = &mut self.left {
            *left -= i64::try_from(shards).unwrap_or(0) * OWN_LOOK / 2 * 1_000;
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

    /// A crowd for a drop of many shards.
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
        assert_eq!((processes(1), shards(1), shards(36_000)), (1, 1, 16));
    }

    #[test]
    fn the_budget_follows_from_the_table() {
        let new = Looks::default();
        assert_eq!(new.budget(crowd(1_000_000)), Some(1_440));
        assert_eq!(new.spread_seconds(crowd(1_000_000)), Some(278));
        assert_eq!(new.further_shards(crowd(1_000_000)), 2);
        assert_eq!(new.budget(crowd(36_000)), None);
        assert_eq!(new.spread_seconds(crowd(36_000)), None);
        assert_eq!(new.further_shards(crowd(36_000)), 6);
        assert_eq!(new.spread_seconds(crowd(u32::MAX)), Some(MOST_SPREAD_SECONDS));
        let warm = Looks::at_table(40_000);
        assert_eq!(warm.budget(crowd(1_000_000)), Some(4_800));
        assert_eq!(warm.spread_seconds(crowd(1_000_000)), Some(84));
        assert_eq!(warm.budget(crowd(120_000)), None);
    }

    #[test]
    fn few_shards_serve_few_looks_however_warm_the_table_is() {
        let few = Demand {
            expected_shoppers: 1_000_000,
            shards: 12,
        };
        assert_eq!(Looks::default().budget(few), Some(1_080));
        assert_eq!(Looks::at_table(40_000).budget(few), Some(1_080));
    }

    #[test]
    fn a_small_crowd_looks_with_every_request() {
        let mut looks = Looks::default();
        assert!((0..10_000).all(|_| looks.take(crowd(36_000), at(0), 0)));
        assert_eq!(looks, Looks::default());
    }

    #[test]
    fn a_further_look_is_paid_for_later() {
        let mut looks = Looks::default();
        let crowd = crowd(1_000_000);
        assert!(!looks.take(crowd, at(0), 0));
        assert!(!looks.take(crowd, at(1_388), 0));
        assert!(looks.take(crowd, at(1_389), 0), "1,440 thousandths a second");
        looks.charge(2);
        let next = (1_390..60_000).find(|ms| looks.take(crowd, at(*ms), 0));
        assert!(
            next.is_some_and(|ms| (1_389 + 2_770..1_389 + 2_785).contains(&ms)),
            "{next:?}"
        );
    }

    proptest! {
        /// However requests arrive, a process looks no more often than its budget allows, and no less often than that if it is asked.
        #[test]
        fn looks_keep_to_the_budget(
            shoppers in 36_001u32..5_000_000,
            chance: u64,
            waits in proptest::collection::vec(0i64..300, 50..400),
        ) {
            let (crowd, mut looks) = (crowd(shoppers), Looks::default());
            let budget = looks.budget(crowd).unwrap();
            let (mut now, mut taken) = (0, 0);
            for wait in waits {
                now += wait;
                taken += i64::from(looks.take(crowd, at(now), chance));
            }
            let most = budget.max(OWN_LOOK) + budget * now / 1_000;
            prop_assert!(taken * OWN_LOOK <= most, "{taken} looks in {now} ms");
            // What grows while nobody asks may be lost: at most 299 ms' for each look.
            let apart_ms = OWN_LOOK * 1_000 / budget.min(OWN_LOOK) + 2 * 300;
            prop_assert!(taken >= now / apart_ms - 1, "{taken} looks in {now} ms of {budget}");
        }

        /// All processes of a crowd together stay within what the table gives, also in the first second.
        #[test]
        fn a_crowd_stays_within_the_table(shoppers in 36_001u32..3_000_000, seed: u64) {
            let reserving = processes(shoppers).div_ceil(2);
            let processes = reserving.min(3_000);
            let mut all: Vec<Looks> = vec![Looks::default(); processes as usize];
            let mut taken = 0u32;
            for ms in (0..1_000).step_by(100) {
                for (n, looks) in all.iter_mut().enumerate() {
                    let chance = crate::choice::mix(seed ^ n as u64);
                    taken += u32::from(looks.take(crowd(shoppers), at(ms), chance));
                }
            }
            let share = f64::from(processes) / f64::from(reserving);
            let allowed = f64::from(planned_looks(NEW_TABLE_READS)) * share;
            prop_assert!(f64::from(taken) <= allowed * 2.0 + 60.0, "{taken} of {allowed}");
        }
    }
}
