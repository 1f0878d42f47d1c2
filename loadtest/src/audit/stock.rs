//! Checks promises 1 and 2: no unit is sold twice, and no unit stays blocked.

use std::collections::BTreeMap;

use domain::claim::ClaimState;
use domain::ids::{ReservationId, ShardKey};
use domain::limits::{CACHE_MS, CLOCK_SKEW_MS, CONDUCTOR_PERIOD_MS, STALE_MS};
use domain::shard::Shard;
use domain::survey::Tally;

use super::Count;
use super::journal_index::JournalIndex;
use crate::facts::{Ended, Ending, Expired, Facts, Sampled, ShardFact, UnitCounts};

/// The largest age of the data that an answer is based on, in ms: the times of two caches, one conductor period,
/// and 1.5 s for the transfer.
const KNOWLEDGE_AGE_MS: i64 = 2 * CACHE_MS + CONDUCTOR_PERIOD_MS + 1_500;
/// The largest age of the data that an answer is based on, in ms, in a run with faults. If the conductor died, a
/// status is used until it is stale, and clocks may differ.
const KNOWLEDGE_AGE_IN_TROUBLE_MS: i64 = STALE_MS + CLOCK_SKEW_MS + CACHE_MS + 1_500;
/// The longest time between a reservation's write and the arrival of its answer, in ms.
const ANSWER_MS: i64 = 1_000;

/// The time that a hold may exist after its deadline, in ms: the deadline must pass on every clock, a lease that
/// another conductor left must end (8 s), and the conductor must complete a step.
const OVERDUE_MS: i64 = 14_000;
/// The time that a hold may exist after its deadline, in ms, when functions are killed: the next run of the
/// conductor starts within a minute.
const OVERDUE_AFTER_KILL_MS: i64 = 75_000;

/// The time that a hold may exist after its deadline while the drop is on sale, in ms. It is longer if functions
/// are killed.
#[must_use]
pub const fn overdue_after_ms(functions_are_killed: bool) -> i64 {
    if functions_are_killed {
        OVERDUE_AFTER_KILL_MS
    } else {
        OVERDUE_MS
    }
}

/// The holds in `shards` whose deadline was more than 14 s before `at_ms`: the time since the deadline in ms, by
/// reservation.
#[must_use]
pub fn overdue<'a>(
    shards: impl Iterator<Item = (&'a ShardKey, &'a Shard)>,
    at_ms: i64,
) -> BTreeMap<String, i64> {
    let mut overdue = BTreeMap::new();
    for (key, shard) in shards {
        let held = shard.claims.values().filter(|c| c.state == ClaimState::Held);
        for claim in held {
            let by_ms = at_ms - claim.deadline.as_millis();
            if by_ms > OVERDUE_MS {
                let id = ReservationId {
                    shard: key.clone(),
                    nonce: claim.nonce.clone(),
                };
                overdue.insert(id.to_string(), by_ms);
            }
        }
    }
    overdue
}

/// The holds in `shards` that are at their end: nobody may renew them or take them over yet.
#[must_use]
pub fn expired<'a>(shards: impl Iterator<Item = (&'a ShardKey, &'a Shard)>, at_ms: i64) -> Vec<Expired> {
    let mut expired = Vec::new();
    for (key, shard) in shards {
        for (shopper, claim) in &shard.claims {
            let expires_at_ms = claim.deadline.as_millis();
            if claim.state == ClaimState::Held && is_at_its_end(expires_at_ms, at_ms) {
                expired.push(Expired {
                    shopper: shopper.to_string(),
                    sku: key.sku.to_string(),
                    expires_at_ms,
                });
            }
        }
    }
    expired
}

/// Whether a hold with this deadline may be neither renewed nor taken over at `at_ms` by some clock.
fn is_at_its_end(expires_at_ms: i64, at_ms: i64) -> bool {
    (-CLOCK_SKEW_MS..=2 * CLOCK_SKEW_MS).contains(&(at_ms - expires_at_ms))
}

/// Counts the units of `sku` in `shards` by state.
#[must_use]
pub fn count_units(shards: &[ShardFact], sku: &str) -> UnitCounts {
    let mut tally = Tally::default();
    for fact in shards.iter().filter(|s| s.sku == sku) {
        tally.add(&fact.shard);
    }
    tally.into()
}

/// Units beyond the allocation, and shards that did not add up, during the run or at its end.
pub(super) fn oversold(facts: &Facts, journal: &JournalIndex<'_>) -> Count {
    let mut found = Count::default();
    for sku in &facts.drop.skus {
        let allocated = u64::from(sku.units);
        let units = count_units(&facts.shards, &sku.sku);
        let taken = units.held + units.ordered + units.sold;
        found.add(taken.saturating_sub(allocated), || {
            format!("{}: {taken} units claimed or sold of {allocated}", sku.sku)
        });
    }
    for fact in &facts.shards {
        found.add(u64::from(!fact.shard.adds_up()), || {
            format!("at the end {}", describe(fact))
        });
    }
    for sampled in &journal.sampled {
        for line in &sampled.broken {
            found.add(1, || format!("at {} {line}", sampled.at_ms));
        }
        for (sku, units) in facts.drop.skus.iter().zip(&sampled.skus) {
            let taken = units.held + units.ordered + units.sold;
            let (at_ms, name, allocated) = (sampled.at_ms, &sku.sku, sku.units);
            found.add(taken.saturating_sub(allocated.into()), || {
                format!("at {at_ms} {name}: {taken} units claimed or sold of {allocated}")
            });
        }
    }
    found
}

/// Describes in one line a shard that does not add up.
pub(crate) fn describe(fact: &ShardFact) -> String {
    let (s, claims) = (&fact.shard, fact.shard.claimed());
    format!(
        "{}: allocated {} but free {} + sold {} + claims {claims}",
        fact.key, s.allocated, s.free, s.sold
    )
}

/// Units that are free at the end although a shopper who wanted that many or fewer was finally refused. Each
/// refused shopper counts at most once.
///
/// The answer *gone* is a final refusal. A shopper who leaves while all units are held leaves by choice, and does
/// not count. But if enough units were free all the time since the data of the last answer was read, that answer
/// was wrong, and the shopper counts. The answer *closed* is not a refusal of stock.
pub(super) fn undersold(facts: &Facts, journal: &JournalIndex<'_>) -> Count {
    let known_for_ms = if facts.trouble {
        KNOWLEDGE_AGE_IN_TROUBLE_MS
    } else {
        KNOWLEDGE_AGE_MS
    };
    let mut found = Count::default();
    for (index, sku) in facts.drop.skus.iter().enumerate() {
        let free = count_units(&facts.shards, &sku.sku).free;
        let least = least_spare(facts, journal, index, &sku.sku);
        let refused = |ended: &Ended| match ended.ending {
            Ending::Gone => true,
            Ending::Impatient => {
                let from_ms = ended.at_ms - known_for_ms;
                let first = journal.sampled.partition_point(|s| s.at_ms < from_ms);
                let least = least.get(first).copied();
                let free_all_along = least.is_some_and(|least| least >= u64::from(ended.quantity));
                let seen = journal.sampled.get(first..).unwrap_or_default();
                free_all_along && !own_hold_in_the_way(journal, seen, ended)
            }
            _ => false,
        };
        let wanted = |ended: &Ended| ended.sku == sku.sku && u64::from(ended.quantity) <= free;
        let ended = journal.ended.iter();
        let refused = ended.filter(|ended| wanted(ended) && refused(ended)).count();
        let (name, refused) = (&sku.sku, u64::try_from(refused).unwrap_or(u64::MAX));
        found.add(free.min(refused), || {
            format!("{name}: {free} units are free, {refused} shoppers were refused")
        });
    }
    found
}

/// Whether a shopper's own hold of the SKU had just expired when the shopper was refused. The shopper can renew the
/// hold no earlier than others may take its units, and until then can claim nothing else in the same shard. The
/// journal has no hold whose answers were all lost, so the samples in `seen` until the refusal count too.
fn own_hold_in_the_way(journal: &JournalIndex<'_>, seen: &[&Sampled], ended: &Ended) -> bool {
    let in_the_way = |sku: &str, expires_at_ms| sku == ended.sku && is_at_its_end(expires_at_ms, ended.at_ms);
    let answered = journal.reserved_by(&ended.shopper).iter().any(|reserved| {
        in_the_way(&reserved.sku, reserved.expires_at_ms)
            && !journal.released.contains(reserved.reservation_id.as_str())
    });
    let until = seen.iter().take_while(|sampled| sampled.at_ms <= ended.at_ms);
    let mut holds = until.flat_map(|sampled| &sampled.expired);
    answered || holds.any(|hold| hold.shopper == ended.shopper && in_the_way(&hold.sku, hold.expires_at_ms))
}

/// For each sample, the smallest number of spare units of the SKU in this sample or any later one. Spare
/// units are the free units less those that may have been taken and returned between two samples without
/// appearing in either.
fn least_spare(facts: &Facts, journal: &JournalIndex<'_>, index: usize, sku: &str) -> Vec<u64> {
    let mut reserved: Vec<(i64, u64)> = (journal.reserved.values())
        .filter(|reserved| reserved.sku == sku)
        .map(|reserved| (reserved.at_ms, u64::from(reserved.quantity)))
        .collect();
    reserved.sort_unstable();
    let mut sums = vec![0];
    for (_, units) in &reserved {
        sums.push(sums.last().copied().unwrap_or(0) + units);
    }
    let before = |at_ms: i64| {
        let count = reserved.partition_point(|(at, _)| *at < at_ms);
        sums.get(count).copied().unwrap_or(0)
    };
    let mut least = u64::MAX;
    let mut leasts = Vec::with_capacity(journal.sampled.len());
    let mut next: Option<&Sampled> = None;
    for sampled in journal.sampled.iter().rev() {
        let free = sampled.skus.get(index).map_or(0, |units| units.free);
        let unseen = next.filter(|_| !facts.every_change_sampled).map_or(0, |next| {
            before(next.at_ms + ANSWER_MS + 1).saturating_sub(before(sampled.at_ms))
        });
        least = least.min(free.saturating_sub(unseen));
        leasts.push(least);
        next = Some(sampled);
    }
    leasts.reverse();
    leasts
}

/// Holds that a sample during the sale found longer after their deadline than is allowed. The conductor should have
/// returned these holds.
pub(super) fn overdue_holds(facts: &Facts, journal: &JournalIndex<'_>) -> Count {
    let sale = facts.drop.starts_at_ms..=facts.drop.ends_at_ms;
    let mut longest: BTreeMap<&str, i64> = BTreeMap::new();
    for sampled in journal.sampled.iter().filter(|s| sale.contains(&s.at_ms)) {
        for (reservation, by_ms) in &sampled.overdue {
            let longest = longest.entry(reservation).or_default();
            *longest = (*longest).max(*by_ms);
        }
    }
    let mut found = Count::default();
    for (reservation, by_ms) in longest {
        found.add(u64::from(by_ms > facts.overdue_after_ms), || {
            format!("{reservation} was still held {by_ms} ms after its deadline")
        });
    }
    found
}

/// Claims that should not exist: claims of holds and orders whose deadline passed more than a conductor period and
/// the clock skew ago, and claims that end later than any claim may.
pub(super) fn leaked_holds(facts: &Facts) -> Count {
    let mut found = Count::default();
    for fact in &facts.shards {
        for (shopper, claim) in &fact.shard.claims {
            let overdue_ms = facts.at_ms - claim.deadline.as_millis() - CONDUCTOR_PERIOD_MS - CLOCK_SKEW_MS;
            found.add(u64::from(overdue_ms > 0), || {
                format!(
                    "{}: {shopper}'s {:?} claim is overdue by {overdue_ms} ms",
                    fact.key, claim.state
                )
            });
        }
    }
    // A claim whose deadline is too late would never be overdue, so it counts here.
    let longest_ms =
        1_000 * i64::from(facts.drop.hold_seconds.max(facts.drop.payment_seconds)) + CLOCK_SKEW_MS;
    let mut endless: BTreeMap<&str, u64> = BTreeMap::new();
    for fact in &facts.shards {
        for claim in fact.shard.claims.values() {
            if claim.deadline.as_millis() - facts.at_ms > longest_ms {
                *endless.entry(&fact.key).or_default() += 1;
            }
        }
    }
    for (key, claims) in endless {
        found.add(claims, || {
            format!("{key}: {claims} claims end later than any claim may")
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{audit, fixture};
    use super::*;
    use crate::facts::{Entry, Sampled};
    use domain::claim::Claim;
    use domain::ids::Nonce;
    use domain::time::Timestamp;

    fn hold(deadline_ms: i64) -> Claim {
        let nonce = Nonce::of_request(
            &"d".parse().unwrap(),
            &"A".parse().unwrap(),
            &"late".parse().unwrap(),
            "k",
            Timestamp::from_millis(0),
        );
        Claim::held(1, Timestamp::from_millis(deadline_ms), nonce)
    }

    #[test]
    fn sold_beyond_the_operators_allocation_is_oversold() {
        let mut facts = fixture::clean();
        // The shards are consistent, but contain more units than were put on sale.
        facts.drop.skus[0].units = 2;
        assert_eq!(audit(&facts).oversold, 1);
    }

    #[test]
    fn a_shard_that_does_not_add_up_at_the_end_is_oversold() {
        for change in [1u32, 3] {
            let mut facts = fixture::clean();
            facts.shards[0].shard.free += change;
            assert_eq!(audit(&facts).oversold, 1, "{change}");
        }
        let mut facts = fixture::clean();
        facts.shards[0].shard.free -= 1;
        assert_eq!(audit(&facts).oversold, 1);
    }

    #[test]
    fn a_sample_that_does_not_add_up_is_oversold_though_the_end_is_clean() {
        let mut facts = fixture::clean();
        facts.journal.push(Entry::Sampled(Sampled {
            at_ms: fixture::START + 10,
            skus: vec![],
            broken: vec!["d#A#0".into()],
            overdue: BTreeMap::new(),
            expired: vec![],
        }));
        assert_eq!(audit(&facts).oversold, 1);
        let mut facts = fixture::clean();
        let too_many = UnitCounts {
            free: 0,
            held: 7,
            ordered: 0,
            sold: 0,
        };
        facts.journal.push(Entry::Sampled(Sampled {
            at_ms: fixture::START + 10,
            skus: vec![too_many],
            broken: vec![],
            overdue: BTreeMap::new(),
            expired: vec![],
        }));
        assert_eq!(audit(&facts).oversold, 1);
    }

    #[test]
    fn gone_while_units_are_free_is_undersold() {
        let mut facts = fixture::clean();
        fixture::end(&mut facts, "late1", "A", 1, Ending::Gone);
        assert_eq!(audit(&facts).undersold, 1);
        for n in 0..50 {
            fixture::end(&mut facts, &format!("more{n}"), "A", 1, Ending::Gone);
        }
        assert_eq!(audit(&facts).undersold, 3, "capped by the units");
    }

    #[test]
    fn who_wanted_more_than_is_left_was_rightly_refused() {
        let mut facts = fixture::clean();
        fixture::end(&mut facts, "late1", "A", 4, Ending::Gone);
        fixture::end(&mut facts, "late2", "A", 1, Ending::Closed);
        assert_eq!(audit(&facts).undersold, 0);
    }

    #[test]
    fn losing_patience_counts_only_if_units_were_free_all_along() {
        let sample = |at_ms, free| {
            Entry::Sampled(Sampled {
                at_ms,
                skus: vec![UnitCounts {
                    free,
                    held: 0,
                    ordered: 0,
                    sold: 6 - free,
                }],
                broken: vec![],
                overdue: BTreeMap::new(),
                expired: vec![],
            })
        };
        let mut facts = fixture::clean();
        fixture::end(&mut facts, "late1", "A", 1, Ending::Impatient);
        let left_at = fixture::START + 20_000;
        facts.journal.push(sample(left_at - 100, 0));
        facts.journal.push(sample(left_at + 900, 3));
        assert_eq!(audit(&facts).undersold, 0, "nothing was free when they left");
        let mut facts = fixture::clean();
        fixture::end(&mut facts, "late1", "A", 1, Ending::Impatient);
        facts.journal.push(sample(left_at - 100, 3));
        facts.journal.push(sample(left_at + 900, 3));
        assert_eq!(
            audit(&facts).undersold,
            1,
            "units were free and they were told otherwise"
        );
    }

    #[test]
    fn who_was_refused_for_an_own_hold_that_had_just_expired_was_rightly_refused() {
        let left_at = fixture::START + 20_000;
        let told = |expired_ms_before: i64, shopper: &str, released: bool| {
            let mut facts = fixture::clean();
            let id = fixture::reservation("A", 0, "late1");
            let mut own = fixture::reserved(shopper, "A", 1, &id);
            own.expires_at_ms = left_at - expired_ms_before;
            facts.journal.push(Entry::Reserved(own));
            if released {
                let (at_ms, reservation_id) = (0, id);
                facts.journal.push(Entry::Released {
                    at_ms,
                    reservation_id,
                });
            }
            fixture::end(&mut facts, "late1", "A", 1, Ending::Impatient);
            let units = UnitCounts {
                free: 3,
                held: 0,
                ordered: 0,
                sold: 3,
            };
            facts.journal.push(Entry::Sampled(Sampled {
                at_ms: left_at - 100,
                skus: vec![units],
                broken: vec![],
                overdue: BTreeMap::new(),
                expired: vec![],
            }));
            audit(&facts).undersold
        };
        assert_eq!(told(-CLOCK_SKEW_MS, "late1", false), 0);
        assert_eq!(told(2 * CLOCK_SKEW_MS, "late1", false), 0);
        assert_eq!(told(2 * CLOCK_SKEW_MS + 1, "late1", false), 1, "long enough ago");
        assert_eq!(told(0, "late1", true), 1, "it was given back");
        assert_eq!(told(0, "late2", false), 1, "another one's");
    }

    #[test]
    fn an_own_hold_that_only_a_sample_shows_was_in_the_way_too() {
        let left_at = fixture::START + 20_000;
        let told = |sampled_at: i64, expires_at_ms: i64, shopper: &str| {
            let mut facts = fixture::clean();
            fixture::end(&mut facts, "late1", "A", 1, Ending::Impatient);
            let mut shard = facts.shards[0].clone();
            let claim = hold(expires_at_ms);
            shard.shard.claims.insert(shopper.parse().unwrap(), claim);
            let key: ShardKey = shard.key.parse().unwrap();
            for at_ms in [left_at - 10_000, sampled_at, left_at + 500] {
                let of_hold = if at_ms == sampled_at {
                    expired([(&key, &shard.shard)].into_iter(), at_ms)
                } else {
                    vec![]
                };
                facts.journal.push(Entry::Sampled(Sampled {
                    at_ms,
                    skus: vec![UnitCounts {
                        free: 3,
                        held: 0,
                        ordered: 0,
                        sold: 3,
                    }],
                    broken: vec![],
                    overdue: BTreeMap::new(),
                    expired: of_hold,
                }));
            }
            audit(&facts).undersold
        };
        assert_eq!(told(left_at - 300, left_at - 600, "late1"), 0);
        assert_eq!(told(left_at - 300, left_at - 600, "late2"), 1, "another one's");
        assert_eq!(
            told(left_at + 300, left_at - 600, "late1"),
            1,
            "seen after the refusal"
        );
        let known_for_ms = KNOWLEDGE_AGE_MS;
        assert_eq!(
            told(left_at - known_for_ms - 1, left_at - known_for_ms, "late1"),
            1,
            "seen before the refusal's data"
        );
        assert_eq!(
            told(left_at - 300, left_at + CLOCK_SKEW_MS, "late1"),
            1,
            "not at its end yet"
        );
        assert_eq!(
            told(left_at - 300, left_at - 2 * CLOCK_SKEW_MS - 1, "late1"),
            1,
            "long enough ago"
        );
    }

    #[test]
    fn units_that_came_and_went_between_two_samples_were_not_free_all_along() {
        let left_at = fixture::START + 20_000;
        let told = |free, taken| {
            let mut facts = fixture::clean();
            fixture::end(&mut facts, "late1", "A", 1, Ending::Impatient);
            for at_ms in [left_at - 300, left_at + 200] {
                facts.journal.push(Entry::Sampled(Sampled {
                    at_ms,
                    skus: vec![UnitCounts {
                        free,
                        held: 0,
                        ordered: 0,
                        sold: 6 - free,
                    }],
                    broken: vec![],
                    overdue: BTreeMap::new(),
                    expired: vec![],
                }));
            }
            for n in 0..taken {
                let shopper = format!("s{n}");
                let mut reserved =
                    fixture::reserved(&shopper, "A", 1, &fixture::reservation("A", 0, &shopper));
                reserved.at_ms = left_at - 100;
                facts.journal.push(Entry::Reserved(reserved));
                fixture::end(&mut facts, &shopper, "A", 1, Ending::Abandoned);
            }
            audit(&facts).undersold
        };
        assert_eq!(told(2, 2), 0, "both may have been held for a moment");
        assert_eq!(told(3, 2), 1, "one was free all along");
    }

    #[test]
    fn a_hold_that_a_sample_sees_long_after_its_deadline_is_overdue() {
        let told = |seen_at_ms: i64, by_ms: i64, killed: bool, ordered: bool| {
            let mut facts = fixture::clean();
            facts.overdue_after_ms = overdue_after_ms(killed);
            let mut shard = facts.shards[0].clone();
            let mut claim = hold(seen_at_ms - by_ms);
            if ordered {
                claim.state = ClaimState::Ordered;
            }
            shard.shard.free -= 1;
            shard.shard.claims.insert("late".parse().unwrap(), claim);
            let key: ShardKey = shard.key.parse().unwrap();
            // Two samples of one hold are one finding.
            for at_ms in [seen_at_ms - 500, seen_at_ms] {
                facts.journal.push(Entry::Sampled(Sampled {
                    at_ms,
                    skus: vec![],
                    broken: vec![],
                    overdue: overdue([(&key, &shard.shard)].into_iter(), at_ms),
                    expired: vec![],
                }));
            }
            audit(&facts).overdue_holds
        };
        let on_sale = fixture::START + 30_000;
        assert_eq!(told(on_sale, 14_000, false, false), 0);
        assert_eq!(told(on_sale, 14_001, false, false), 1);
        assert_eq!(told(on_sale, 15_000, false, false), 1);
        assert_eq!(told(on_sale, 75_000, true, false), 0, "a killed conductor");
        assert_eq!(told(on_sale, 75_001, true, false), 1);
        assert_eq!(
            told(on_sale, 90_000, false, true),
            0,
            "orders have their own time"
        );
        assert_eq!(
            told(fixture::START + 70_000, 90_000, false, false),
            0,
            "after the sale"
        );
    }

    #[test]
    fn an_overdue_claim_is_a_leaked_hold() {
        let tolerance = CONDUCTOR_PERIOD_MS + CLOCK_SKEW_MS;
        for (age, leaked) in [(tolerance, 0), (tolerance + 1, 1)] {
            for ordered in [false, true] {
                let mut facts = fixture::clean();
                let mut claim = hold(facts.at_ms - age);
                if ordered {
                    claim.state = ClaimState::Ordered;
                }
                facts.shards[0].shard.free -= 1;
                facts.shards[0]
                    .shard
                    .claims
                    .insert("late".parse().unwrap(), claim);
                assert_eq!(audit(&facts).leaked_holds, leaked, "{age} ms");
            }
        }
    }

    #[test]
    fn a_claim_without_end_is_a_leaked_hold() {
        let mut facts = fixture::clean();
        facts.shards[0].shard.free -= 1;
        let claim = hold(facts.at_ms + 3_600_000);
        facts.shards[0]
            .shard
            .claims
            .insert("late".parse().unwrap(), claim);
        assert_eq!(audit(&facts).leaked_holds, 1);
    }
}
