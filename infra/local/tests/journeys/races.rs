//! Tests races: the first request wins, and no intermediate state remains.

use futures_util::future::join_all;

use super::people::Plan;
use super::state::{Money, Units};
use super::world::{World, millis, now_ms, until, until_clock};

pub(crate) async fn the_last_unit_goes_to_one(world: &'static World) {
    let drop = "last-unit";
    world.publish(&Plan::new(drop, &[("ONE", 1)])).await;
    let attempts = (0..32).map(|n| async move {
        let shopper = world.shopper(&format!("last{n}"));
        let reply = shopper.reserve(drop, "ONE", 1, "k").await;
        (shopper, reply)
    });
    let replies = join_all(attempts).await;
    let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(|(_, reply)| reply.status == 201);
    assert_eq!(won.len(), 1);
    for (_, reply) in lost {
        reply.expect_problem(409, "sold_out");
        assert_eq!(reply.json["availability"], "all_held");
    }
    let (winner, held) = &won[0];
    let order = winner.checkout(&held.json, "pm_card_visa", "k").await.expect(202);
    assert_eq!(winner.until_final(&order).await["status"], "paid");
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 1,
            free: 0,
            sold: 1,
            claimed: 0
        }
    );
}

/// Shoppers check out at different moments around the hold's end.
pub(crate) async fn checkout_against_expiry(world: &'static World) {
    const SHOPPERS: u32 = 24;
    let drop = "expiry-race";
    let plan = Plan {
        hold_seconds: 15,
        ..Plan::new(drop, &[("ONE", SHOPPERS)])
    };
    world.publish(&plan).await;
    let attempts = (0..SHOPPERS).map(|n| async move {
        let shopper = world.shopper(&format!("expiry{n}"));
        let held = shopper.reserve(drop, "ONE", 1, "k").await.expect(201);
        let offset = i64::from(n) * 25 - 400;
        until_clock(millis(&held["expires_at"]) + offset).await;
        let reply = shopper.checkout(&held, "pm_card_visa", "k").await;
        if reply.status == 202 {
            assert_eq!(shopper.until_final(&reply.json).await["status"], "paid");
            return 1;
        }
        reply.expect_problem(409, "reservation_expired");
        assert!(now_ms() >= millis(&held["expires_at"]), "refused before its end");
        // A repeat of the checkout gets the same answer.
        shopper
            .checkout(&held, "pm_card_visa", "k")
            .await
            .expect_problem(409, "reservation_expired");
        0
    });
    let sold: u32 = join_all(attempts).await.into_iter().sum();
    let wanted = Units {
        allocated: SHOPPERS,
        free: SHOPPERS - sold,
        sold,
        claimed: 0,
    };
    until("the expired holds' units are back", || async move {
        (world.units(drop).await == wanted).then_some(())
    })
    .await;
    assert_eq!(world.orders(drop).await.len(), sold as usize);
    println!("checkout against expiry: {sold} of {SHOPPERS} were in time");
}

/// Shoppers cancel at different moments after checking out. The gateway answers some of them slowly.
pub(crate) async fn cancel_against_capture(world: &'static World) {
    const SHOPPERS: u32 = 24;
    let drop = "cancel-race";
    world.publish(&Plan::new(drop, &[("ONE", SHOPPERS)])).await;
    let attempts = (0..SHOPPERS).map(|n| async move {
        let shopper = world.shopper(&format!("cancel{n}"));
        let card = ["pm_card_visa", "pm_card_visa", "pm_sandbox_slow"][n as usize % 3];
        let order = shopper.order_one(drop, "ONE", card).await;
        until_clock(now_ms() + i64::from(n) * 30).await;
        let (one, two) = tokio::join!(shopper.cancel(&order), shopper.cancel(&order));
        for reply in [&one, &two] {
            match reply.status {
                200 => assert_eq!(reply.json["status"], "cancelled"),
                202 => assert_eq!(reply.json["cancel_requested"], true),
                _ => reply.expect_problem(409, "wrong_state"),
            }
        }
        let ended = shopper.until_final(&order).await;
        let money = world.money(order["order_id"].as_str().unwrap());
        if ended["status"] == "cancelled" {
            assert_eq!(ended["reason"], "by_shopper", "{money:?}");
            assert_eq!(money.net, 0, "{money:?}");
            shopper.cancel(&order).await.expect(200);
            return 0;
        }
        assert_eq!(ended["status"], "paid");
        assert_eq!(
            money,
            Money {
                charges: 1,
                net: 4_900
            }
        );
        assert!(
            one.status != 200 && two.status != 200,
            "called off, and paid nevertheless"
        );
        shopper.cancel(&order).await.expect_problem(409, "wrong_state");
        1
    });
    let sold: u32 = join_all(attempts).await.into_iter().sum();
    let wanted = Units {
        allocated: SHOPPERS,
        free: SHOPPERS - sold,
        sold,
        claimed: 0,
    };
    assert_eq!(world.units(drop).await, wanted);
    println!("cancel against capture: {sold} of {SHOPPERS} were paid");
}
