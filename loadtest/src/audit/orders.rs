//! Checks promises 3 to 5: no shopper exceeds the limit, each reservation has one order and one charge, and no
//! accepted request is lost.

use std::collections::{BTreeMap, BTreeSet};

use api::problem::Code;
use domain::limits::CLOCK_SKEW_MS;
use domain::order::{Fingerprint, Order};

use super::Count;
use super::journal_index::JournalIndex;
use crate::facts::{Facts, Reserved};

/// Shoppers with more units in open and paid orders than the limit.
pub(super) fn over_limit(facts: &Facts) -> Count {
    let mut found = Count::default();
    let limit = facts.drop.per_shopper_limit;
    for (shopper, units) in units_by_shopper(facts) {
        found.add(u64::from(units > limit), || {
            format!("{shopper} has {units} units, the limit is {limit}")
        });
    }
    found
}

/// Units in open and paid orders, by shopper.
pub(super) fn units_by_shopper(facts: &Facts) -> BTreeMap<&str, u32> {
    let mut units: BTreeMap<&str, u32> = BTreeMap::new();
    for fact in facts.orders.iter().filter(|o| o.counts()) {
        *units.entry(fact.order.shopper.as_str()).or_default() += fact.order.units;
    }
    units
}

/// The orders in the table, by id.
pub(super) fn orders_by_id(facts: &Facts) -> BTreeMap<&str, &Order> {
    let orders = facts.orders.iter().map(|fact| &fact.order);
    orders.map(|order| (order.id.as_str(), order)).collect()
}

/// Reservations with two orders, in the table or in the answers to shoppers, and accepted keys with two open or
/// paid orders.
pub(super) fn duplicate_orders(facts: &Facts, journal: &JournalIndex<'_>) -> Count {
    let mut orders: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let stored = facts.orders.iter().map(|fact| &fact.order);
    let stored = stored.map(|order| (order.reservation.to_string(), order.id.as_str()));
    let told = journal.ordered.iter();
    let told = told.map(|ordered| (ordered.reservation_id.clone(), ordered.order_id.as_str()));
    for (reservation, id) in stored.chain(told) {
        orders.entry(reservation).or_default().insert(id);
    }
    let mut found = Count::default();
    for (reservation, ids) in orders {
        found.add(u64::from(ids.len() > 1), || {
            format!("{reservation} has the orders {ids:?}")
        });
    }
    for ((shopper, key), reservations) in ordered_by_key(facts, journal) {
        found.add(u64::from(reservations.len() > 1), || {
            format!("{shopper}'s key {key} has open or paid orders of {reservations:?}")
        });
    }
    found
}

/// For each accepted key, the reservations that have an open or paid order of this key. An order belongs to a key
/// if an answer to the key named the order, or if the order is stored with the key.
fn ordered_by_key<'a>(
    facts: &'a Facts,
    journal: &JournalIndex<'a>,
) -> BTreeMap<(&'a str, &'a str), BTreeSet<String>> {
    let mut of_shopper: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
    for fact in facts.orders.iter().filter(|o| o.counts()) {
        let order = &fact.order;
        of_shopper.entry(order.shopper.as_str()).or_default().push(order);
    }
    let mut by_key: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for ordered in journal.ordered.iter().filter(|o| !o.key.is_empty()) {
        let asked = Fingerprint::of_request(ordered.key.as_bytes(), b"");
        let orders = of_shopper.get(ordered.shopper.as_str()).into_iter().flatten();
        let with_key =
            orders.filter(|o| o.id.as_str() == ordered.order_id || o.fingerprint.has_key_of(&asked));
        by_key
            .entry((ordered.shopper.as_str(), ordered.key.as_str()))
            .or_default()
            .extend(with_key.map(|o| o.reservation.to_string()));
    }
    by_key
}

/// Orders for which the gateway took money more than once without a refund.
pub(super) fn duplicate_charges(facts: &Facts) -> Count {
    let mut charges: BTreeMap<&str, i64> = BTreeMap::new();
    for money in &facts.money {
        *charges.entry(&money.order_id).or_default() +=
            i64::from(money.charges) - i64::from(money.refunded_charges);
    }
    let mut found = Count::default();
    for (order, net) in charges {
        found.add(u64::from(net > 1), || format!("{order} was charged {net} times"));
    }
    found
}

/// Accepted orders (202) that have not ended or are not in the ledger with their final status, and reservations
/// (201) whose checkout was refused before they expired.
pub(super) fn lost_requests(facts: &Facts, journal: &JournalIndex<'_>) -> Count {
    let mut found = Count::default();
    let orders = orders_by_id(facts);
    let rows = facts.ledger.iter().map(|row| (row.order_id.as_str(), row));
    let rows: BTreeMap<&str, _> = rows.collect();
    for id in &journal.accepted {
        let Some(order) = orders.get(id) else {
            found.add(1, || format!("{id} was accepted and is no order"));
            continue;
        };
        let (open, status) = (order.status.is_open(), order.status.as_str());
        found.add(u64::from(open), || format!("{id} is still {status}"));
        let in_ledger = rows.get(id).is_some_and(|row| row.status == status);
        found.add(u64::from(!open && !in_ledger), || {
            format!("{id} is {status} and is not in the ledger")
        });
    }
    let units = units_by_shopper(facts);
    let mut counted = BTreeSet::new();
    for refused in &journal.refused {
        let Some(reserved) = journal.reserved.get(refused.reservation_id.as_str()) else {
            continue;
        };
        let in_time = refused.at_ms < reserved.expires_at_ms - CLOCK_SKEW_MS;
        let owned = units.get(refused.shopper.as_str());
        let over_limit = refused.code == Some(Code::LimitReached)
            && owned.is_some_and(|u| u + reserved.quantity > facts.drop.per_shopper_limit);
        let id = refused.reservation_id.as_str();
        let given_up = journal.released.contains(id) || replaced(journal, reserved);
        if in_time && !given_up && !over_limit && counted.insert(id) {
            let code = refused.code.map_or("none", Code::as_str);
            found.add(1, || {
                format!("{id} was refused at checkout ({code}) before it expired")
            });
        }
    }
    found
}

/// Whether the same shopper later got another reservation of the same SKU.
fn replaced(journal: &JournalIndex<'_>, reserved: &Reserved) -> bool {
    journal.reserved_by(&reserved.shopper).iter().any(|other| {
        other.sku == reserved.sku
            && other.reservation_id != reserved.reservation_id
            && other.at_ms >= reserved.at_ms
    })
}

/// Messages in dead-letter queues, which no function processes.
pub(super) fn dead_letters(facts: &Facts) -> Count {
    let mut found = Count::default();
    for queue in facts.queues.iter().filter(|q| q.dead_letters) {
        found.add(queue.messages, || {
            format!("{} messages in {}", queue.messages, queue.queue)
        });
    }
    found
}

/// Orders whose state does not follow from their history.
pub(super) fn fold_mismatches(facts: &Facts) -> Count {
    let mut found = Count::default();
    for order in facts.orders.iter().map(|fact| &fact.order) {
        found.add(u64::from(!order.follows_from_history()), || {
            let (id, status) = (&order.id, order.status.as_str());
            format!("{id} is {status}, {}, after {}", order.turn, order.history)
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{audit, fixture};
    use super::*;

    #[test]
    fn an_order_s_state_follows_from_its_history() {
        let planted: [fn(&mut domain::order::Order); 4] = [
            |order| order.status = OrderStatus::Paying,
            |order| order.cards_left += 1,
            |order| order.shopper_left_ms -= 1,
            |order| order.tries.clear(),
        ];
        for plant in planted {
            let mut facts = fixture::clean();
            assert_eq!(audit(&facts).fold_mismatches, 0);
            plant(&mut facts.orders[0].order);
            assert_eq!(audit(&facts).fold_mismatches, 1);
        }
    }

    use crate::facts::{CheckoutRefused, Entry, MoneyFact, Ordered};
    use domain::order::OrderStatus;

    #[test]
    fn units_of_several_orders_add_up_against_the_limit() {
        let mut facts = fixture::clean();
        let mut second = facts.orders[0].clone();
        second.order.reservation = fixture::reservation("A", 0, "other").parse().unwrap();
        second.order.id = domain::ids::OrderId::of_reservation(&second.order.reservation);
        facts.orders.push(second);
        let found = audit(&facts);
        assert_eq!(found.over_limit_shoppers, 1, "2 + 2 units, limit 2");
        // A declined order does not count against the limit.
        facts.orders.last_mut().unwrap().order.status = OrderStatus::Declined;
        assert_eq!(audit(&facts).over_limit_shoppers, 0);
    }

    #[test]
    fn two_orders_in_the_table_are_duplicates() {
        let mut facts = fixture::clean();
        let mut twin = facts.orders[0].clone();
        twin.order.id =
            domain::ids::OrderId::of_reservation(&fixture::reservation("A", 0, "twin").parse().unwrap());
        facts.orders.push(twin);
        assert_eq!(audit(&facts).duplicate_orders, 1);
    }

    #[test]
    fn two_order_ids_told_for_one_reservation_are_duplicates() {
        let mut facts = fixture::clean();
        let told = Ordered {
            at_ms: fixture::START,
            shopper: "ada".into(),
            key: "other".into(),
            reservation_id: facts.orders[0].order.reservation.to_string(),
            order_id: "oother".into(),
        };
        facts.journal.push(Entry::Ordered(told));
        assert_eq!(audit(&facts).duplicate_orders, 1);
    }

    /// The number of duplicates when Ada has a second order, for another reservation. With `stored`, the second
    /// order is stored with the key of the first order; with `told`, an answer to that key names the second order.
    fn twice_under_one_key(stored: bool, told: bool, status: OrderStatus) -> u64 {
        let mut facts = fixture::clean();
        let mut twin = facts.orders[0].clone();
        twin.order.reservation = fixture::reservation("A", 0, "twin").parse().unwrap();
        twin.order.id = domain::ids::OrderId::of_reservation(&twin.order.reservation);
        twin.order.status = status;
        if !stored {
            twin.order.fingerprint = Fingerprint::of_request(b"ada-o2", b"f");
        }
        if told {
            facts.journal.push(Entry::Ordered(Ordered {
                at_ms: fixture::START,
                shopper: "ada".into(),
                key: "ada-o1".into(),
                reservation_id: twin.order.reservation.to_string(),
                order_id: twin.order.id.to_string(),
            }));
        }
        facts.orders.push(twin);
        audit(&facts).duplicate_orders
    }

    #[test]
    fn two_orders_under_one_accepted_key_are_duplicates_if_both_count() {
        for status in [OrderStatus::Paid, OrderStatus::Placed] {
            assert_eq!(twice_under_one_key(true, false, status), 1);
            assert_eq!(twice_under_one_key(false, true, status), 1);
            assert_eq!(twice_under_one_key(true, true, status), 1);
            assert_eq!(twice_under_one_key(false, false, status), 0, "another key");
        }
        for ended in [OrderStatus::Declined, OrderStatus::Cancelled] {
            assert_eq!(twice_under_one_key(true, true, ended), 0);
        }
    }

    #[test]
    fn charged_twice_is_seen_unless_given_back() {
        let mut facts = fixture::clean();
        let amount = facts.money[0].charged_minor;
        facts.money[0].charges = 2;
        facts.money[0].charged_minor = 2 * amount;
        assert_eq!(audit(&facts).duplicate_charges, 1);
        facts.money[0].refunded_charges = 1;
        facts.money[0].refunded_minor = amount;
        let found = audit(&facts);
        assert_eq!(found.duplicate_charges, 0);
        assert!(found.kept(), "{found:?}");
    }

    #[test]
    fn two_payments_of_one_order_are_charges_of_that_order() {
        let mut facts = fixture::clean();
        let again = facts.money[0].clone();
        facts.money.push(again);
        assert_eq!(audit(&facts).duplicate_charges, 1);
    }

    #[test]
    fn an_accepted_order_that_is_nowhere_is_lost() {
        let mut facts = fixture::clean();
        facts.orders.remove(0);
        assert_eq!(audit(&facts).lost_requests, 1);
    }

    #[test]
    fn an_accepted_order_that_stays_open_is_lost() {
        let mut facts = fixture::clean();
        facts.orders[0].order.status = OrderStatus::Placed;
        assert_eq!(audit(&facts).lost_requests, 1);
    }

    #[test]
    fn an_accepted_order_without_its_final_row_is_lost() {
        let mut facts = fixture::clean();
        facts.ledger.remove(0);
        assert_eq!(audit(&facts).lost_requests, 1);
        let mut facts = fixture::clean();
        facts.ledger[0].status = "placed".into();
        assert_eq!(audit(&facts).lost_requests, 1);
    }

    #[test]
    fn a_hold_refused_at_checkout_in_time_is_lost() {
        let refuse = |code, at_ms: i64| {
            let mut facts = fixture::clean();
            let Some(Entry::Reserved(held)) = facts
                .journal
                .iter()
                .find(|e| matches!(e, Entry::Reserved(r) if r.shopper == "eve"))
                .cloned()
            else {
                panic!("the fixture has a hold of eve's");
            };
            facts.journal.push(Entry::CheckoutRefused(CheckoutRefused {
                at_ms: held.expires_at_ms + at_ms,
                shopper: "eve".into(),
                reservation_id: held.reservation_id,
                code: Some(code),
            }));
            facts
        };
        let facts = refuse(Code::ReservationExpired, -CLOCK_SKEW_MS - 1);
        assert_eq!(audit(&facts).lost_requests, 1);
        assert_eq!(
            audit(&refuse(Code::ReservationExpired, -CLOCK_SKEW_MS)).lost_requests,
            0,
            "clocks differ"
        );
        assert_eq!(
            audit(&refuse(Code::ReservationExpired, 5)).lost_requests,
            0,
            "it had expired"
        );
        assert_eq!(
            audit(&refuse(Code::LimitReached, -9_000)).lost_requests,
            1,
            "eve owns nothing"
        );

        let mut released = facts.clone();
        let Some(Entry::CheckoutRefused(refused)) = released.journal.last().cloned() else {
            panic!()
        };
        released.journal.push(Entry::Released {
            at_ms: 0,
            reservation_id: refused.reservation_id.clone(),
        });
        assert_eq!(audit(&released).lost_requests, 0, "given back by its shopper");

        let mut replaced = facts;
        let newer = fixture::reserved("eve", "A", 1, &fixture::reservation("A", 0, "newer"));
        replaced.journal.push(Entry::Reserved(newer));
        assert_eq!(audit(&replaced).lost_requests, 0, "the later of two survives");
    }

    #[test]
    fn only_dead_letters_count_as_such() {
        let mut facts = fixture::clean();
        facts.queues[1].messages = 3;
        assert_eq!(audit(&facts).dlq_messages, 3);
    }

    #[test]
    fn refunds_of_another_order_do_not_excuse() {
        let mut facts = fixture::clean();
        facts.money[0].charges = 2;
        facts.money.push(MoneyFact {
            order_id: "oother".into(),
            refunded_charges: 1,
            ..MoneyFact::default()
        });
        assert_eq!(audit(&facts).duplicate_charges, 1);
    }
}
