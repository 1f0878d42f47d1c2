//! Checks after all journeys that shards, counters, orders, gateway and ledger agree.

use std::collections::BTreeMap;

use super::state::Money;
use super::world::{World, until};

/// Waits until no work is left, then compares the stores with each other, drop by drop.
pub(crate) async fn everything_agrees(world: &'static World) {
    until("nothing is left to do", || async move {
        let idle = world.control("/idle").await;
        (idle["idle"] == true).then_some(())
    })
    .await;
    let queues = world.control("/queues").await;
    for (name, queue) in queues.as_object().unwrap() {
        assert_eq!(queue["visible"], 0, "{name}: {queue}");
    }
    let drops = world.drops.lock().unwrap().clone();
    for drop in &drops {
        agrees(world, drop).await;
    }
    println!("audited {} drops", drops.len());
}

async fn agrees(world: &'static World, drop: &str) {
    let view = world.operate(drop, "get", None, None).await.expect(200);
    let limit = u32::try_from(view["per_shopper_limit"].as_u64().unwrap()).unwrap();
    let orders = world.orders(drop).await;
    let shards = world.shards(drop).await;
    let ledger = world.ledger(drop).await;

    for sku in view["skus"].as_array().unwrap() {
        let name = sku["sku"].as_str().unwrap();
        let prefix = format!("{drop}#{name}#");
        let of_sku = || {
            shards
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(_, shard)| shard)
        };
        let allocated: u32 = of_sku().map(|s| s.allocated).sum();
        assert_eq!(
            u64::from(allocated),
            sku["units"].as_u64().unwrap(),
            "{drop} {name}: shards and plan"
        );
        let sold: u32 = of_sku().map(|s| s.sold).sum();
        let paid: u32 = orders
            .iter()
            .filter(|o| o.sku == name && o.status == "paid")
            .map(|o| o.units)
            .sum();
        assert_eq!(sold, paid, "{drop} {name}: shards and paid orders");
        let ordered = of_sku()
            .flat_map(|s| s.claims.values())
            .filter(|c| c.to_string().starts_with('o'))
            .count();
        assert_eq!(ordered, 0, "{drop} {name}: claims of orders, though none is open");
    }

    let mut bought: BTreeMap<&str, u32> = BTreeMap::new();
    for order in &orders {
        assert!(!order.is_open() && !order.indexed_open, "{drop}: {order:?}");
        let paid = order.status == "paid";
        if paid {
            *bought.entry(&order.shopper).or_default() += order.units;
        }
        let money = world.money(&order.id);
        let wanted = if paid {
            Money {
                charges: 1,
                net: order.amount,
            }
        } else {
            Money { net: 0, ..money }
        };
        assert_eq!(money, wanted, "{drop}: {order:?}");
        let row = ledger
            .get(&order.id)
            .unwrap_or_else(|| panic!("{drop}: not in the ledger: {order:?}"));
        assert_eq!(&row.status, &order.status, "{drop}");
        assert_eq!(row.version, order.version, "{drop}");
        assert_eq!(row.amount, order.amount, "{drop}");
        let captured = if paid {
            (1, order.amount, 0)
        } else {
            (row.captures, row.refunded, row.refunded)
        };
        assert_eq!(
            (row.captures, row.captured, row.refunded),
            captured,
            "{drop}: {row:?}"
        );
    }
    assert_eq!(ledger.len(), orders.len(), "{drop}: rows of orders that are none");
    let counted = world.purchases(drop).await;
    for (shopper, units) in &counted {
        assert_eq!(
            *units,
            bought.get(shopper.as_str()).copied().unwrap_or(0),
            "{drop}: the counter of {shopper}"
        );
        assert!(*units <= limit, "{drop}: {shopper} bought {units}");
    }
    for (shopper, units) in bought {
        assert_eq!(
            counted.get(shopper),
            Some(&units),
            "{drop}: the counter of {shopper}"
        );
    }
}
