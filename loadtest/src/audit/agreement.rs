//! Checks whether the stores agree: orders, shards, purchase counters, ledger, gateway, queues, and the
//! answers to shoppers.

use std::collections::{BTreeMap, BTreeSet};

use domain::claim::ClaimState;
use domain::ids::{Nonce, ShopperId};
use domain::order::OrderStatus;

use super::journal_index::JournalIndex;
use super::orders::{orders_by_id, units_by_shopper};
use super::stock::count_units;
use crate::facts::{Ending, Facts, OrderFact};

/// Describes each disagreement between the stores in one line.
pub(super) fn inconsistencies(facts: &Facts, journal: &JournalIndex<'_>) -> Vec<String> {
    let mut lines = facts.unreadable.clone();
    allocation(facts, &mut lines);
    sold(facts, &mut lines);
    counters(facts, &mut lines);
    open_index(facts, &mut lines);
    ledger(facts, &mut lines);
    money(facts, &mut lines);
    told(facts, journal, &mut lines);
    for queue in facts.queues.iter().filter(|q| !q.dead_letters && q.messages > 0) {
        lines.push(format!("{} messages are left in {}", queue.messages, queue.queue));
    }
    lines
}

fn allocation(facts: &Facts, lines: &mut Vec<String>) {
    for sku in &facts.drop.skus {
        let shards = facts.shards.iter().filter(|s| s.sku == sku.sku);
        let allocated: u64 = shards.map(|s| u64::from(s.shard.allocated)).sum();
        if allocated != u64::from(sku.units) {
            lines.push(format!(
                "{}: the shards were allocated {allocated} units, not {}",
                sku.sku, sku.units
            ));
        }
    }
    for fact in &facts.shards {
        if !facts.drop.skus.iter().any(|sku| sku.sku == fact.sku) {
            lines.push(format!("{} belongs to no SKU of the drop", fact.key));
        }
    }
}

fn sold(facts: &Facts, lines: &mut Vec<String>) {
    for sku in &facts.drop.skus {
        let units = count_units(&facts.shards, &sku.sku);
        let of_sku = |o: &&OrderFact| o.order.reservation.shard.sku.as_str() == sku.sku;
        let of = |wanted: fn(&OrderFact) -> bool| -> u64 {
            let orders = facts.orders.iter().filter(of_sku).filter(|o| wanted(o));
            orders.map(|o| u64::from(o.order.units)).sum()
        };
        let paid = of(OrderFact::is_sold);
        if paid != units.sold {
            lines.push(format!(
                "{}: {paid} units in paid orders, {} sold in the shards",
                sku.sku, units.sold
            ));
        }
        let open = of(|o| o.order.status.is_open());
        if open != units.ordered {
            lines.push(format!(
                "{}: {open} units in open orders, {} ordered in the shards",
                sku.sku, units.ordered
            ));
        }
    }
    let open: BTreeSet<(&ShopperId, &Nonce)> = (facts.orders.iter())
        .filter(|o| o.order.status.is_open())
        .map(|o| (&o.order.shopper, &o.order.reservation.nonce))
        .collect();
    for fact in &facts.shards {
        for (shopper, claim) in &fact.shard.claims {
            if claim.state == ClaimState::Ordered && !open.contains(&(shopper, &claim.nonce)) {
                lines.push(format!(
                    "{}: {shopper}'s ordered claim belongs to no open order",
                    fact.key
                ));
            }
        }
    }
}

fn counters(facts: &Facts, lines: &mut Vec<String>) {
    let mut expected = units_by_shopper(facts);
    for (shopper, counted) in &facts.purchases {
        let units = i64::from(expected.remove(shopper.as_str()).unwrap_or_default());
        if units != *counted {
            lines.push(format!(
                "{shopper} has {units} units in orders and a purchase counter of {counted}"
            ));
        }
    }
    for (shopper, units) in expected {
        lines.push(format!(
            "{shopper} has {units} units in orders and no purchase counter"
        ));
    }
}

fn open_index(facts: &Facts, lines: &mut Vec<String>) {
    for fact in &facts.orders {
        if fact.indexed_open != fact.order.status.is_open() {
            let (id, status) = (&fact.order.id, fact.order.status.as_str());
            let place = if fact.indexed_open { "in" } else { "not in" };
            lines.push(format!("{id} is {status} and {place} the index of open orders"));
        }
    }
}

fn ledger(facts: &Facts, lines: &mut Vec<String>) {
    let mut rows: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for row in &facts.ledger {
        rows.entry(&row.order_id).or_default().push(row);
    }
    for fact in &facts.orders {
        let order = &fact.order;
        let id = order.id.as_str();
        match rows.remove(id).as_deref() {
            None => lines.push(format!("{id} has no row in the ledger")),
            Some([row]) => {
                let (status, amount) = (order.status.as_str(), order.amount.amount_minor);
                let told = (order.version, status, order.units, amount);
                if (row.version, row.status.as_str(), row.quantity, row.amount_minor) != told {
                    lines.push(format!(
                        "{id} is {status} at version {} with {} units for {amount}, in the ledger {} at {} with {} for {}",
                        order.version, order.units, row.status, row.version, row.quantity, row.amount_minor
                    ));
                }
            }
            Some(several) => lines.push(format!("{id} has {} rows in the ledger", several.len())),
        }
    }
    let strange = rows.keys();
    lines.extend(strange.map(|id| format!("the ledger has a row of {id}, which is no order")));
}

fn money(facts: &Facts, lines: &mut Vec<String>) {
    let mut net: BTreeMap<&str, i64> = BTreeMap::new();
    for money in &facts.money {
        *net.entry(&money.order_id).or_default() += money.charged_minor - money.refunded_minor;
    }
    for fact in &facts.orders {
        let order = &fact.order;
        let kept = net.remove(order.id.as_str()).unwrap_or_default();
        let (id, status) = (&order.id, order.status.as_str());
        let due = match order.status {
            OrderStatus::Paid => order.amount.amount_minor,
            _ => 0,
        };
        if kept != due {
            lines.push(format!("{id} is {status}: the gateway kept {kept}, due is {due}"));
        }
    }
    let strange = net.into_iter().filter(|(_, kept)| *kept != 0);
    lines.extend(strange.map(|(id, kept)| format!("the gateway kept {kept} for {id:?}, which is no order")));
}

fn told(facts: &Facts, journal: &JournalIndex<'_>, lines: &mut Vec<String>) {
    let orders = orders_by_id(facts);
    for ordered in &journal.ordered {
        let Some(order) = orders.get(ordered.order_id.as_str()) else {
            continue;
        };
        let (shopper, reservation) = (&ordered.shopper, &ordered.reservation_id);
        if order.shopper.as_str() != shopper || order.reservation.to_string() != *reservation {
            lines.push(format!("{} is not the order {shopper} was told of", order.id));
        }
    }
    for order in facts.orders.iter().map(|fact| &fact.order) {
        let (id, reservation) = (&order.id, order.reservation.to_string());
        let stored = (order.shopper.as_str(), order.units, order.amount.amount_minor);
        if let Some(reserved) = journal.reserved.get(reservation.as_str())
            && (
                reserved.shopper.as_str(),
                reserved.quantity,
                reserved.amount_minor,
            ) != stored
        {
            lines.push(format!("{id} differs from its reservation {reservation}"));
        }
    }
    let bought = journal.ended.iter().filter(|e| e.ending == Ending::Bought);
    let bought: BTreeSet<&str> = bought.map(|e| e.shopper.as_str()).collect();
    let owners = units_by_shopper(facts);
    for shopper in bought.iter().filter(|s| !owners.contains_key(*s)) {
        lines.push(format!(
            "{shopper} got the answer that the order is paid, and owns nothing"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{audit, fixture};
    use super::*;
    use crate::facts::{Entry, LedgerFact, MoneyFact, Ordered};

    /// Makes the clean run inconsistent with `plant`, and expects a line of the audit that contains all `words`.
    fn finds(plant: impl FnOnce(&mut Facts), words: &[&str]) {
        let mut facts = fixture::clean();
        plant(&mut facts);
        let found = audit(&facts).inconsistencies;
        let hit = found
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(hit, "no line with {words:?} in {found:#?}");
    }

    #[test]
    fn shards_against_the_allocation() {
        finds(|f| f.drop.skus[0].units = 99, &["allocated 6 units, not 99"]);
        finds(|f| f.shards[0].sku = "X".into(), &["belongs to no SKU"]);
    }

    #[test]
    fn shards_against_orders() {
        finds(
            |f| {
                f.shards[0].shard.free += 1;
                f.shards[0].shard.sold -= 1;
            },
            &["units in paid orders", "sold in the shards"],
        );
        finds(
            |f| f.orders[0].order.status = OrderStatus::Placed,
            &["in open orders", "ordered in the shards"],
        );
        finds(
            |f| {
                let claim = f.orders[0].order.claim.clone();
                f.shards[0].shard.claims.insert("ghost".parse().unwrap(), claim);
            },
            &["ghost's ordered claim belongs to no open order"],
        );
    }

    #[test]
    fn counters_against_orders() {
        finds(|f| f.purchases[0].1 = 1, &["purchase counter of 1"]);
        finds(|f| f.purchases.push(("ghost".into(), 1)), &["ghost has 0 units"]);
        finds(|f| f.purchases.clear(), &["no purchase counter"]);
    }

    #[test]
    fn the_index_against_orders() {
        finds(|f| f.orders[0].indexed_open = true, &["is paid and in the index"]);
    }

    #[test]
    fn the_ledger_against_orders() {
        finds(|f| f.ledger[0].version -= 1, &["in the ledger paid at"]);
        finds(|f| f.ledger[0].amount_minor += 1, &["in the ledger"]);
        finds(|f| f.ledger[0].quantity += 1, &["in the ledger"]);
        finds(|f| f.ledger.push(f.ledger[0].clone()), &["2 rows"]);
        finds(|f| f.ledger.clear(), &["has no row"]);
        let ghost = LedgerFact {
            order_id: "oghost".into(),
            version: 1,
            status: "paid".into(),
            quantity: 1,
            amount_minor: 1,
        };
        finds(|f| f.ledger.push(ghost), &["oghost", "no order"]);
    }

    #[test]
    fn the_gateway_against_orders() {
        finds(|f| f.money[0].charged_minor -= 1, &["the gateway kept"]);
        finds(|f| f.money.clear(), &["the gateway kept 0"]);
        finds(
            |f| f.orders[0].order.status = OrderStatus::Cancelled,
            &["is cancelled: the gateway kept 9800, due is 0"],
        );
        let ghost = MoneyFact {
            order_id: "oghost".into(),
            charges: 1,
            charged_minor: 5,
            ..MoneyFact::default()
        };
        finds(|f| f.money.push(ghost), &["kept 5 for \"oghost\""]);
    }

    #[test]
    fn what_shoppers_were_told() {
        finds(
            |f| fixture::end(f, "liar", "A", 1, Ending::Bought),
            &["liar got the answer"],
        );
        finds(
            |f| {
                let told = Ordered {
                    at_ms: 0,
                    shopper: "mallory".into(),
                    key: "m".into(),
                    reservation_id: f.orders[0].order.reservation.to_string(),
                    order_id: f.orders[0].order.id.to_string(),
                };
                f.journal.push(Entry::Ordered(told));
            },
            &["mallory was told of"],
        );
        finds(
            |f| f.orders[0].order.amount.amount_minor = 1,
            &["differs from its reservation"],
        );
    }

    #[test]
    fn leftovers() {
        finds(|f| f.queues[0].messages = 2, &["2 messages are left"]);
        finds(
            |f| f.unreadable.push("an item is not a shard".into()),
            &["not a shard"],
        );
    }
}
