//! Tests the purchase limit with one shopper on many devices.

use futures_util::future::join_all;
use serde_json::Value;

use super::people::Plan;
use super::world::World;

pub(crate) async fn nobody_buys_more_than_the_limit(world: &'static World) {
    let drop = "limit";
    world
        .publish(&Plan {
            limit: 2,
            ..Plan::new(drop, &[("A", 60), ("B", 60)])
        })
        .await;
    let ada = world.shopper("limitada");
    let devices = (0..8u32).map(|device| {
        let ada = ada.clone();
        async move {
            let (mut orders, mut holds) = (Vec::new(), Vec::new());
            for round in 0..3u32 {
                let sku = if (device + round) % 2 == 0 { "A" } else { "B" };
                let quantity = 1 + (device / 2 + round) % 2;
                let held = ada
                    .reserve(drop, sku, quantity, &format!("d{device}r{round}"))
                    .await;
                if held.status != 201 {
                    let expected = ["limit_reached", "reservation_exists", "reservation_expired"];
                    assert!(
                        held.status == 409 && expected.contains(&held.code()),
                        "{}",
                        held.json
                    );
                    continue;
                }
                let order = ada
                    .checkout(&held.json, "pm_card_visa", &format!("d{device}r{round}"))
                    .await;
                let counted = world.purchases(drop).await.get(&ada.id).copied().unwrap_or(0);
                assert!(counted <= 2, "{counted} units counted");
                if order.status == 202 {
                    orders.push(order.json);
                } else {
                    let expected = ["limit_reached", "reservation_expired", "conflict"];
                    assert!(
                        order.status == 409 && expected.contains(&order.code()),
                        "{}",
                        order.json
                    );
                    holds.push(held.json);
                }
            }
            (orders, holds)
        }
    });
    let (orders, holds): (Vec<Vec<Value>>, Vec<Vec<Value>>) = join_all(devices).await.into_iter().unzip();
    for hold in holds.iter().flatten() {
        let reply = ada.release(hold).await;
        assert!(matches!(reply.status, 204 | 404), "{}", reply.json);
    }
    let mut bought = 0;
    for order in orders.iter().flatten() {
        let ended = ada.until_final(order).await;
        assert_eq!(ended["status"], "paid");
        bought += ended["quantity"].as_u64().unwrap();
    }
    assert!((1..=2).contains(&bought), "{bought} units bought");
    if bought == 1 {
        let held = ada.reserve_when_free(drop, "B").await;
        let order = ada.checkout(&held, "pm_card_visa", "last").await.expect(202);
        ada.until_final(&order).await;
    }
    for (sku, quantity) in [("A", 1), ("B", 1), ("A", 2)] {
        let key = format!("more{sku}{quantity}");
        let reply = ada.reserve(drop, sku, quantity, &key).await;
        // When many units are available, a hold may be granted without a check of the counter. The checkout checks the
        // counter.
        if reply.status == 201 {
            ada.checkout(&reply.json, "pm_card_visa", &key)
                .await
                .expect_problem(409, "limit_reached");
            ada.release(&reply.json).await.expect(204);
        } else {
            reply.expect_problem(409, "limit_reached");
        }
    }
    let units = world.units(drop).await;
    assert_eq!(units.sold, 2);
    assert_eq!(world.purchases(drop).await[&ada.id], 2);
}
