//! Tests the gateway's rate, pauses that the gateway requests, and failures that it stores under a key.

use crate::support::{DECLINED, FAST, Scene, VISA};
use domain::ids::OrderId;
use domain::limits::{GATEWAY_TURN_MS, MAX_KEYS, payment_workers};
use domain::order::OrderStatus;
use domain::rate::CallRate;
use memory::{Fault, GatewayFault, GatewayOp, Op};
use ports::runtime::Clock as _;
use process_order::Pace;
use process_order::advance_payment::{Advanced, NotAdvanced, Patience};

const PAID: Result<Advanced, NotAdvanced> = Ok(Advanced::Ended(OrderStatus::Paid));

fn pace(per_second: u32) -> Pace {
    Pace {
        rate: CallRate::new(per_second).unwrap(),
        workers: payment_workers(per_second),
    }
}

fn calls(scene: &Scene) -> u64 {
    GatewayOp::ALL.iter().map(|op| scene.gateway.calls(*op)).sum()
}

/// Places one order for each of `count` shoppers.
async fn orders(scene: &Scene, count: usize) -> Vec<OrderId> {
    let mut orders = Vec::new();
    for n in 0..count {
        orders.push(scene.order(&format!("shopper{n}"), VISA).await);
    }
    orders
}

#[tokio::test]
async fn orders_one_after_another_are_paid_at_the_rate_by_two_calls_each() {
    let scene = Scene::paced(1, pace(25)).await;
    let orders = orders(&scene, 10).await;
    let began = scene.runtime.now();
    for order in &orders {
        assert_eq!(scene.advance(order).await, PAID);
    }
    assert_eq!(calls(&scene), 20);
    // The first order's two calls have no wait. Each of the other 18 calls takes 40 ms of the rate.
    assert_eq!(scene.runtime.now().millis_since(began), 18 * 40);
    scene.audit();
}

#[tokio::test]
async fn an_order_whose_turn_is_too_late_waits_without_a_call_and_is_never_cancelled() {
    let scene = Scene::paced(1, pace(1)).await;
    let orders = orders(&scene, 5).await;
    // Other workers take all call slots that a message may wait for.
    let wanted = domain::rate::CallsWanted {
        line: 0,
        rate: CallRate::new(1).unwrap(),
        calls: 6,
        now: scene.runtime.now(),
        latest: scene.runtime.now(),
    };
    ports::calls::TakeCalls::take_calls(&scene.store, wanted)
        .await
        .unwrap();
    for order in &orders {
        assert_eq!(scene.advance(order).await, Ok(Advanced::Waiting));
        assert_eq!(scene.read(order).await.version, 1);
    }
    assert_eq!(calls(&scene), 0);
    assert_eq!(scene.runtime.slept_ms(), 0);
    // An order that has waited longer than the drop's limit for the gateway is still tried.
    scene.past_the_wait();
    for order in &orders {
        assert_eq!(scene.advance(order).await, PAID);
        scene.runtime.advance(2_000);
    }
    scene.audit();
}

#[tokio::test]
async fn a_reminder_waits_for_a_moment_only() {
    let scene = Scene::paced(1, pace(1)).await;
    let orders = orders(&scene, 2).await;
    assert_eq!(scene.advance(&orders[0]).await, PAID);
    let slept = scene.runtime.slept_ms();
    let short = scene
        .saga
        .advance_payment(&orders[1], None, Patience::Short)
        .await;
    assert_eq!(short, Ok(Advanced::Waiting), "two seconds are taken");
    assert_eq!(scene.runtime.slept_ms(), slept);
    assert_eq!(scene.advance(&orders[1]).await, PAID);
}

#[tokio::test]
async fn an_order_that_ended_while_it_waited_is_left_alone() {
    let scene = Scene::paced(1, pace(1)).await;
    let orders = orders(&scene, 2).await;
    assert_eq!(scene.advance(&orders[0]).await, PAID);
    let confirms = scene.gateway.calls(GatewayOp::Confirm);
    let wish = async {
        // The cancellation is requested while the order waits for its call slots.
        while scene.runtime.slept_ms() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(scene.ask_to_cancel(&orders[1]).await);
    };
    let (advanced, ()) = futures_util::future::join(scene.advance(&orders[1]), wish).await;
    assert_eq!(advanced, Ok(Advanced::Ended(OrderStatus::Cancelled)));
    assert_eq!(scene.gateway.calls(GatewayOp::Confirm), confirms);
    scene.audit();
}

#[tokio::test]
async fn without_the_shared_rate_a_process_keeps_to_its_own_share() {
    for fault in [Fault::Busy, Fault::UnknownBefore, Fault::Broken] {
        let scene = Scene::paced(1, pace(20)).await;
        scene
            .store
            .set_plan(move |op, _| (op == Op::TakeCalls).then_some(fault));
        let orders = orders(&scene, 4).await;
        let began = scene.runtime.now();
        for order in &orders {
            assert_eq!(scene.advance(order).await, PAID);
        }
        // Five workers share 20 calls a second, so two calls take each worker half a second.
        let took = scene.runtime.now().millis_since(began);
        assert!((1_500..1_800).contains(&took), "{fault:?}: {took} ms");
    }
}

#[tokio::test]
async fn a_gateway_that_asks_to_slow_down_is_waited_for_by_the_whole_process() {
    let scene = Scene::new(1).await;
    let orders = orders(&scene, 2).await;
    scene
        .gateway
        .fail_next(GatewayOp::Create, GatewayFault::Throttled);
    let began = scene.runtime.now();
    assert_eq!(scene.advance(&orders[0]).await, PAID);
    assert!(scene.runtime.now().millis_since(began) >= 200);

    scene.gateway.set_plan(|_, _| Some(GatewayFault::Throttled));
    let before = calls(&scene);
    assert_eq!(scene.advance(&orders[1]).await, Ok(Advanced::Waiting));
    assert!(calls(&scene) - before <= 7);
    assert_eq!(
        scene.read(&orders[1]).await.version,
        1,
        "nothing is counted against it"
    );
    scene.past_the_wait();
    assert_eq!(scene.advance(&orders[1]).await, Ok(Advanced::Waiting));
    assert!(scene.read(&orders[1]).await.status.is_open());
    scene.gateway.clear_faults();
    scene.runtime.advance(GATEWAY_TURN_MS.into());
    assert_eq!(scene.advance(&orders[1]).await, PAID);
    scene.audit();
}

#[tokio::test]
async fn a_failure_stored_under_a_key_is_met_by_the_next_key() {
    for (op, fault, used) in [
        (GatewayOp::Create, GatewayFault::StoredBefore, (1, 0)),
        (GatewayOp::Create, GatewayFault::StoredAfter, (1, 0)),
        (GatewayOp::Confirm, GatewayFault::StoredBefore, (0, 1)),
        // The look-up shows that the money was taken, so no further key is used.
        (GatewayOp::Confirm, GatewayFault::StoredAfter, (0, 0)),
    ] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", VISA).await;
        scene.gateway.fail_next(op, fault);
        assert_eq!(Ok(scene.deliver(&id).await), PAID, "{op:?} {fault:?}");
        let order = scene.read(&id).await;
        assert_eq!(
            (order.create_keys_used, order.tries[0].keys_used),
            used,
            "{op:?} {fault:?}"
        );
        scene.audit();
    }
}

#[tokio::test]
async fn the_keys_are_bounded_and_then_the_gateway_is_waited_for() {
    for op in [GatewayOp::Create, GatewayOp::Confirm] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", VISA).await;
        scene
            .gateway
            .set_plan(move |called, _| (called == op).then_some(GatewayFault::StoredBefore));
        for _ in 0..8 {
            let advanced = scene.advance(&id).await;
            assert!(
                matches!(
                    advanced,
                    Ok(Advanced::WithoutGateway) | Err(NotAdvanced::Unfinished)
                ),
                "{advanced:?}"
            );
            scene.runtime.advance(500);
        }
        let order = scene.read(&id).await;
        assert_eq!(order.create_keys_used + order.tries[0].keys_used, MAX_KEYS - 1);
        assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
        scene.past_the_wait();
        // The order stays open even after the wait, since only an operator may end it.
        assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
        assert!(scene.read(&id).await.status.is_open());
        scene.audit();
    }
}

#[tokio::test]
async fn a_message_that_comes_after_the_gateway_forgot_its_keys_charges_nobody_twice() {
    for method in [VISA, DECLINED] {
        let scene = Scene::paced(1, FAST).await;
        let id = scene.order("ada", method).await;
        // The write after the confirm fails, as if the worker died there, so the gateway's answer is not stored.
        scene.store.fail_nth(Op::Advance, 2, Fault::Broken);
        assert!(scene.advance(&id).await.is_err());
        scene.runtime.advance_seconds(2 * 86_400);
        scene.gateway.forget_keys();
        let advanced = scene.deliver(&id).await;
        if method == VISA {
            assert_eq!(Ok(advanced), PAID);
        } else {
            assert_eq!(scene.read(&id).await.status, OrderStatus::PaymentFailed);
        }
        scene.audit();
    }
}
