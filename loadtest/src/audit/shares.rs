//! Computes figures that are no promises: the share of the sellable units that was sold, and the share of repeats
//! that did not find their reservation.

use std::collections::{BTreeMap, BTreeSet};

use super::journal_index::JournalIndex;
use crate::facts::{Entry, Facts, Reserved};

/// `part` divided by `whole`; `None` if `whole` is zero.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of a drop, far below 2^53")]
pub fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Units that could have been sold: the smaller of the units on sale and the units wanted by shoppers who
/// intend to buy and have a working card, each shopper up to the limit.
pub(super) fn sellable(facts: &Facts, journal: &JournalIndex<'_>) -> u64 {
    let limit = u64::from(facts.drop.per_shopper_limit);
    let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
    for ended in journal.ended.iter().filter(|ended| ended.buys) {
        *wanted.entry(&ended.shopper).or_default() += u64::from(ended.quantity);
    }
    let wanted: u64 = wanted.into_values().map(|units| units.min(limit)).sum();
    let on_sale: u64 = facts.drop.skus.iter().map(|sku| u64::from(sku.units)).sum();
    wanted.min(on_sale)
}

/// The number of repeated reservation requests, and of those whose answers differed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    /// Answers 201 to a request that was sent after the key's earlier 201, while that reservation was still held.
    pub(super) all: u64,
    /// Repeats whose answer named another reservation than the earlier answer.
    pub(super) elsewhere: u64,
    /// Reservations whose repeats were refused, and answered 201 by no later repeat while the reservation was held.
    pub(super) refused: u64,
    /// Answers 201 to a request that was sent before the key's earlier 201.
    pub(super) double_clicks: u64,
    /// Double clicks whose answers named two reservations.
    pub(super) double_clicks_elsewhere: u64,
}

impl Repeats {
    /// The share of the repeats that did not find their reservation.
    pub(super) fn not_found(&self) -> Option<f64> {
        share(self.elsewhere + self.refused, self.all + self.refused)
    }
}

/// Counts repeats from the answers that shoppers received. A repeat whose first answer was lost does not count, since
/// the journal does not contain that answer.
pub(super) fn repeats(facts: &Facts, journal: &JournalIndex<'_>) -> Repeats {
    let mut first: BTreeMap<_, &Reserved> = BTreeMap::new();
    let mut repeats = Repeats::default();
    let mut refused = BTreeSet::new();
    let is_held = |earlier: &Reserved, at_ms: i64| {
        at_ms < earlier.expires_at_ms && !journal.released.contains(earlier.reservation_id.as_str())
    };
    for entry in &facts.journal {
        let reserved = match entry {
            Entry::Reserved(reserved) if !reserved.key.is_empty() => reserved,
            Entry::RepeatRefused(repeat) => {
                let key = (&repeat.shopper, &repeat.sku, &repeat.key);
                if first
                    .get(&key)
                    .is_some_and(|earlier| is_held(earlier, repeat.at_ms))
                {
                    refused.insert(key);
                }
                continue;
            }
            _ => continue,
        };
        let key = (&reserved.shopper, &reserved.sku, &reserved.key);
        if let Some(earlier) = first.get(&key)
            && is_held(earlier, reserved.at_ms)
        {
            refused.remove(&key);
            let elsewhere = u64::from(reserved.reservation_id != earlier.reservation_id);
            if reserved.asked_ms >= earlier.at_ms {
                repeats.all += 1;
                repeats.elsewhere += elsewhere;
            } else {
                repeats.double_clicks += 1;
                repeats.double_clicks_elsewhere += elsewhere;
            }
        } else {
            first.insert(key, reserved);
        }
    }
    repeats.refused = u64::try_from(refused.len()).unwrap_or(u64::MAX);
    repeats
}

#[cfg(test)]
mod tests {
    use super::super::{audit, fixture};
    use crate::facts::{Ending, Entry, RepeatRefused, Reserved};

    #[test]
    fn what_could_be_sold_is_on_sale_and_wanted_by_who_can_pay() {
        let mut facts = fixture::clean();
        let found = audit(&facts);
        assert_eq!(found.paid, 3, "ada's and bob's");
        assert_eq!(found.sellable, 3, "ada's and bob's");
        assert_eq!(found.sold_share, Some(1.0));
        // Two more shoppers would pay for 3 units: Gus for 1, and Hal, who wants 5, for the limit of 2.
        for (shopper, quantity) in [("gus", 1), ("hal", 5)] {
            fixture::end(&mut facts, shopper, "A", quantity, Ending::Gone);
            let Some(Entry::Ended(ended)) = facts.journal.last_mut() else {
                panic!("the end was noted");
            };
            ended.buys = true;
        }
        let found = audit(&facts);
        assert_eq!(found.sellable, 6);
        assert_eq!(found.sold_share, Some(0.5));
        facts.drop.skus.truncate(1);
        facts.drop.skus[0].units = 4;
        assert_eq!(audit(&facts).sellable, 4, "no more than is on sale");
    }

    #[test]
    fn where_nobody_could_pay_there_is_no_share() {
        let mut facts = fixture::clean();
        facts.journal.retain(|entry| !matches!(entry, Entry::Ended(_)));
        assert_eq!(audit(&facts).sold_share, None);
    }

    #[test]
    fn a_repeat_finds_its_reservation_or_another() {
        let mut facts = fixture::clean();
        let found = audit(&facts);
        assert_eq!(found.repeats, 0);
        assert_eq!(found.repeats_not_found, None);
        let mut again = |key: &str, at_ms: i64| {
            let id = fixture::reservation("A", 0, key);
            let mut repeat = fixture::reserved("ada", "A", 2, &id);
            repeat.at_ms += at_ms;
            repeat.asked_ms = repeat.at_ms;
            repeat.expires_at_ms += at_ms;
            facts.journal.push(Entry::Reserved(repeat));
            let found = audit(&facts);
            (found.repeats, found.repeats_elsewhere, found.repeats_not_found)
        };
        assert_eq!(again("ada", 5), (1, 0, Some(0.0)), "the same");
        assert_eq!(
            again("ada-2", 10),
            (2, 1, Some(0.5)),
            "another while the first is held"
        );
        assert_eq!(again("ada-3", 15_000), (2, 1, Some(0.5)), "the first had expired");
        assert_eq!(again("ada-3", 15_001), (3, 1, Some(1.0 / 3.0)));
    }

    #[test]
    fn a_refused_repeat_counts_unless_a_later_one_finds_the_reservation() {
        let mut facts = fixture::clean();
        let ada = fixture::reserved("ada", "A", 2, &fixture::reservation("A", 0, "ada"));
        let mut refused = |shopper: &str, at_ms: i64| {
            facts.journal.push(Entry::RepeatRefused(RepeatRefused {
                at_ms,
                shopper: shopper.to_owned(),
                sku: ada.sku.clone(),
                key: ada.key.clone(),
            }));
            let found = audit(&facts);
            (found.repeats, found.repeats_refused, found.repeats_not_found)
        };
        assert_eq!(
            refused("zoe", ada.at_ms + 1),
            (0, 0, None),
            "without a reservation"
        );
        assert_eq!(refused("ada", ada.expires_at_ms), (0, 0, None), "too late");
        assert_eq!(refused("ada", ada.at_ms + 1), (0, 1, Some(1.0)));
        assert_eq!(
            refused("ada", ada.at_ms + 2),
            (0, 1, Some(1.0)),
            "the same reservation"
        );
        let asked_ms = ada.at_ms + 3;
        facts.journal.push(Entry::Reserved(Reserved { asked_ms, ..ada }));
        let found = audit(&facts);
        assert_eq!((found.repeats, found.repeats_refused), (1, 0), "found in the end");
    }

    #[test]
    fn what_was_sent_before_the_first_answer_is_a_double_click() {
        let mut facts = fixture::clean();
        for (n, key) in ["ada", "ada-2"].into_iter().enumerate() {
            let id = fixture::reservation("A", 0, key);
            let mut second = fixture::reserved("ada", "A", 2, &id);
            second.asked_ms = second.at_ms - 1;
            facts.journal.push(Entry::Reserved(second));
            let found = audit(&facts);
            assert_eq!((found.repeats, found.repeats_elsewhere), (0, 0));
            let clicks = (found.double_clicks, found.double_clicks_elsewhere);
            assert_eq!(clicks, (n as u64 + 1, n as u64));
        }
    }

    #[test]
    fn a_key_may_make_another_reservation_once_the_first_was_released() {
        let mut facts = fixture::clean();
        let released = |at_ms: i64, reservation_id: String| Entry::Released {
            at_ms,
            reservation_id,
        };
        facts
            .journal
            .push(released(0, fixture::reservation("A", 0, "eve")));
        let again = fixture::reserved("eve", "A", 1, &fixture::reservation("A", 0, "eve-2"));
        facts.journal.push(Entry::Reserved(again));
        assert_eq!(audit(&facts).repeats, 0);
    }
}
