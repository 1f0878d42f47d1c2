//! Tests operator actions on an open drop.

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use super::people::Plan;
use super::state::Units;
use super::world::{World, millis, moment, now_ms, until};

pub(crate) async fn restock_while_open(world: &'static World) {
    let drop = "restock";
    world.publish(&Plan::new(drop, &[("ONE", 1)])).await;
    let (ada, bob) = (world.shopper("restockada"), world.shopper("restockbob"));
    let first = ada.order_one(drop, "ONE", "pm_card_visa").await;
    ada.until_final(&first).await;
    world.until_available(drop, "gone").await;
    let body = json!({"sku": "ONE", "units": 3});
    let view = world
        .operate(drop, "restock", Some("more"), Some(body))
        .await
        .expect(200);
    assert_eq!(view["skus"][0]["units"], 4);
    let status = world.until_available(drop, "available").await;
    assert!(status["next_poll_seconds"].is_number(), "{status}");
    let held = until("a restocked unit is had", || {
        let bob = bob.clone();
        async move {
            let reply = bob.reserve(drop, "ONE", 2, &format!("k{}", now_ms())).await;
            if reply.status == 201 {
                return Some(reply.json);
            }
            reply.expect_problem(409, "sold_out");
            None
        }
    })
    .await;
    let order = bob.checkout(&held, "pm_card_visa", "k").await.expect(202);
    assert_eq!(bob.until_final(&order).await["status"], "paid");
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 4,
            free: 1,
            sold: 3,
            claimed: 0
        }
    );
}

pub(crate) async fn pause_resume_extend(world: &'static World) {
    let drop = "pause";
    world.publish(&Plan::new(drop, &[("FEW", 6)])).await;
    let ada = world.shopper("pauseada");
    let held = ada.reserve(drop, "FEW", 1, "k").await.expect(201);
    world.operate(drop, "pause", None, None).await.expect(200);
    let paused_at = now_ms();
    let mut tries = 0u32..;
    until("reservations are paused", || {
        let shopper = world.shopper(&format!("pause{}", tries.next().unwrap()));
        async move {
            let reply = shopper.reserve(drop, "FEW", 1, "k").await;
            if reply.status == 201 {
                shopper.release(&reply.json).await.expect(204);
                return None;
            }
            // Each process reads the pause at its own time, and the process that answered has read it.
            reply.expect_problem(409, "paused");
            Some(())
        }
    })
    .await;
    let took = now_ms() - paused_at;
    assert!(took < 5_000, "pausing took {took} ms");
    until("the status says so", || async move {
        let status = world.get(&format!("/drops/{drop}/status")).await.expect(200);
        (status["phase"] == "paused").then_some(())
    })
    .await;
    // During the pause, a unit that is already held can be checked out and is paid.
    let order = ada.checkout(&held, "pm_card_visa", "k").await.expect(202);
    assert_eq!(ada.until_final(&order).await["status"], "paid");

    world.operate(drop, "resume", None, None).await.expect(200);
    let bob = world.shopper("pausebob");
    let held = until("reservations go on", || {
        let bob = bob.clone();
        async move {
            let reply = bob.reserve(drop, "FEW", 1, "k").await;
            if reply.status == 201 {
                return Some(reply.json);
            }
            reply.expect_problem(409, "paused");
            None
        }
    })
    .await;
    bob.release(&held).await.expect(204);

    let before = world.operate(drop, "get", None, None).await.expect(200);
    let ends_at = moment(1_200_000);
    let view = world
        .operate(drop, "extend", None, Some(json!({"ends_at": ends_at})))
        .await
        .expect(200);
    assert!(millis(&view["ends_at"]) > millis(&before["ends_at"]));
    until("everybody sees the new end", || {
        let wanted = view["ends_at"].clone();
        async move {
            let shown = world.get(&format!("/drops/{drop}")).await.expect(200);
            (shown["ends_at"] == wanted).then_some(())
        }
    })
    .await;
    let earlier = world
        .operate(drop, "extend", None, Some(json!({"ends_at": moment(60_000)})))
        .await;
    earlier.expect_problem(400, "invalid_request");
}

pub(crate) async fn a_cancelled_drop_is_undone(world: &'static World) {
    let drop = "called-off";
    world.publish(&Plan::new(drop, &[("A", 30), ("B", 30)])).await;
    let paid = world.shopper("offpaid");
    let order = paid.order_one(drop, "A", "pm_card_visa").await;
    assert_eq!(paid.until_final(&order).await["status"], "paid");

    // The drop has holds, orders that wait for their shoppers, and orders in payment when the operator cancels it.
    let holds = join_all((0..6).map(|n| async move {
        let shopper = world.shopper(&format!("offhold{n}"));
        let held = shopper
            .reserve(drop, if n % 2 == 0 { "A" } else { "B" }, 2, "k")
            .await
            .expect(201);
        (shopper, held)
    }));
    let waiting = join_all((0..6).map(|n| async move {
        let shopper = world.shopper(&format!("offwait{n}"));
        let order = shopper
            .order_one(drop, "B", "pm_card_authenticationRequired")
            .await;
        shopper.until_status(&order, &["action_required"]).await;
        (shopper, order)
    }));
    let (holds, waiting) = tokio::join!(holds, waiting);
    let racing = join_all((0..6).map(|n| async move {
        let shopper = world.shopper(&format!("offrace{n}"));
        let order = shopper.order_one(drop, "A", "pm_sandbox_slow").await;
        (shopper, order)
    }))
    .await;
    let view = world.operate(drop, "cancel", None, None).await.expect(200);
    assert_eq!(view["state"], "cancelling");

    for (shopper, order) in &waiting {
        let ended = shopper.until_final(order).await;
        assert_eq!(ended["status"], "cancelled");
        assert_eq!(ended["reason"], "drop_cancelled");
        assert_eq!(world.money(order["order_id"].as_str().unwrap()).net, 0);
    }
    let mut sold = 1;
    for (shopper, order) in &racing {
        let ended = shopper.until_final(order).await;
        let money = world.money(order["order_id"].as_str().unwrap());
        match ended["status"].as_str().unwrap() {
            "paid" => {
                sold += 1;
                assert_eq!(money.charges, 1);
                assert_eq!(money.net, 4_900);
            }
            "cancelled" => {
                assert_eq!(ended["reason"], "drop_cancelled");
                assert_eq!(money.net, 0);
            }
            other => panic!("{other}: {ended}"),
        }
    }
    until("the drop is cancelled", || async move {
        let view = world.operate(drop, "get", None, None).await.expect(200);
        (view["state"] == "cancelled").then_some(())
    })
    .await;
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 60,
            free: 60 - sold,
            sold,
            claimed: 0
        }
    );
    for (shopper, held) in &holds {
        let reply = shopper.checkout(held, "pm_card_visa", "k").await;
        assert!(
            reply.status == 409 && ["reservation_expired", "closed"].contains(&reply.code()),
            "{}",
            reply.json
        );
        shopper
            .reserve(drop, "A", 1, "again")
            .await
            .expect_problem(409, "closed");
    }
    assert_eq!(paid.order(&order).await["status"], "paid", "paid orders stand");
    let status = world.get(&format!("/drops/{drop}/status")).await.expect(200);
    assert_eq!(status["phase"], "cancelled");
    assert!(status["next_poll_seconds"].is_null());
}

pub(crate) async fn an_order_that_waits_for_the_gateway_is_kept_and_ended(world: &'static World) {
    let drop = "awaited";
    world.publish(&Plan::new(drop, &[("ONE", 2)])).await;
    let by = &world.file.operator_token;
    // While a shopper is at the bank's page, the unit counts as in payment.
    let bob = world.shopper("awaitedbob");
    let at_the_bank = bob.order_one(drop, "ONE", "pm_card_authenticationRequired").await;
    let in_payment = until("the status shows the unit in payment", || async move {
        let status = world.get(&format!("/drops/{drop}/status")).await.expect(200);
        (status["skus"][0]["in_payment"] == 1).then_some(())
    });
    in_payment.await;
    let cancelled = bob.cancel(&at_the_bank).await;
    assert!(cancelled.status < 300, "{}", cancelled.json);
    // With this card the first confirm is lost, so the order waits for the gateway until the call's time limit.
    let ada = world.shopper("awaitedada");
    let order = ada
        .order_one(drop, "ONE", "pm_sandbox_timeout_before_charge")
        .await;
    ada.until_status(&order, &["paying"]).await;
    let id = order["order_id"].as_str().unwrap();
    let mut path = "/operator/orders?turn=gateway&limit=100".to_owned();
    let listed = loop {
        let page = world.call(Method::GET, &path, by, None, None).await.expect(200);
        let orders = page["orders"].as_array().unwrap();
        if let Some(found) = orders.iter().find(|one| one["order_id"] == id) {
            break found.clone();
        }
        let cursor = page["next_cursor"].as_str().expect("the order is on a page");
        path = format!("/operator/orders?turn=gateway&limit=100&cursor={cursor}");
    };
    assert_eq!(listed["waits_for_gateway"], true);
    assert_eq!(listed["late"], false);
    let (keep, end) = (
        format!("/operator/orders/{id}/keep"),
        format!("/operator/orders/{id}/end"),
    );
    let ask =
        async |path: &str, key: Option<&str>, body| world.call(Method::POST, path, by, key, Some(body)).await;
    let longer = || json!({"seconds": 600});
    let kept = ask(&keep, Some("longer"), longer()).await.expect(200);
    assert_eq!(kept["kept"], 1);
    assert_eq!(ask(&keep, Some("longer"), longer()).await.expect(200)["kept"], 1);
    let other = ask(&keep, Some("longer"), json!({"seconds": 900})).await;
    other.expect_problem(422, "idempotency_mismatch");
    let asked = ask(&end, None, json!({"not_at_gateway": false})).await;
    assert!(asked.status == 200 || asked.status == 202, "{}", asked.json);
    let ended = ada.until_final(&order).await;
    let money = world.money(id);
    // The order ends by the state of its payment at the gateway.
    match ended["status"].as_str().unwrap() {
        "cancelled" => {
            assert_eq!(ended["reason"], "gateway_unavailable");
            assert_eq!(money.net, 0);
        }
        "paid" => assert_eq!(money.net, 4_900),
        other => panic!("{other}: {ended}"),
    }
    if ended["status"] == "cancelled" {
        ask(&end, None, json!({"not_at_gateway": false}))
            .await
            .expect(200);
    }
    let late = ask(&keep, Some("late"), longer()).await;
    late.expect_problem(409, "wrong_state");
}
