//! Tests that a cancelled drop is conducted until no claim remains and no new claim can appear.

use crate::support::{Scene, killed_after};
use conduct_drop::bounds::LEASE_MS;
use domain::drops::DropState;
use domain::ids::OrderId;
use domain::limits::{CONDUCTOR_PERIOD_MS, LATE_MS};
use domain::order::{EndReason, OrderStatus};
use memory::{Fault, Op};
use ports::runtime::Clock as _;

/// Prepares a cancelled drop with holds and three orders: the first has no payment, the second has a payment, the third
/// is paid.
async fn cancelled_scene() -> (Scene, [OrderId; 3]) {
    let scene = Scene::new();
    let mut orders = Vec::new();
    for who in ["ann", "ben", "cat"] {
        assert!(scene.hold("A", 0, who, 1).await);
        orders.push(scene.order("A", 0, who).await.unwrap().id);
    }
    scene.start_payment(&orders[1]).await;
    scene.settle(&orders[2]).await;
    scene.hold("A", 1, "dan", 2).await;
    scene.hold("B", 0, "eve", 1).await;
    scene.change(|drop| drop.cancel().unwrap()).await;
    let orders = orders.try_into().unwrap();
    (scene, orders)
}

async fn is_swept(scene: &Scene, orders: &[OrderId; 3]) {
    assert_eq!(scene.held(), 0);
    assert_eq!(scene.open_orders(), 0);
    for (n, status) in [OrderStatus::Cancelled, OrderStatus::Cancelled, OrderStatus::Paid]
        .into_iter()
        .enumerate()
    {
        let order = scene.order_as_it_is(&orders[n]);
        assert_eq!(order.status, status);
        assert_eq!(order.reason, (n < 2).then_some(EndReason::DropCancelled));
    }
    assert_eq!(scene.drop().await.state, DropState::Cancelled);
    let status = scene.status().await.unwrap();
    assert_eq!(status.skus[0].free, 29);
    assert_eq!(status.skus[0].sold, 1);
    assert_eq!(status.skus[1].free, 5);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn holds_go_back_and_orders_end_before_the_drop_is_cancelled() {
    let (scene, orders) = cancelled_scene().await;
    let process = scene.process();
    let mut run = process.begin("one");
    run.look().await;
    run.round().await;
    assert_eq!(scene.held(), 0);
    assert_eq!(scene.order_as_it_is(&orders[0]).status, OrderStatus::Cancelled);
    let asked = scene.order_as_it_is(&orders[1]);
    assert_eq!(asked.status, OrderStatus::Paying);
    assert_eq!(asked.cancel_requested, Some(EndReason::DropCancelled));
    assert_eq!(scene.order_as_it_is(&orders[2]).status, OrderStatus::Paid);
    scene.store.audit().unwrap();

    for _ in 0..40 {
        scene.runtime.advance(CONDUCTOR_PERIOD_MS);
        run.look().await;
        run.round().await;
    }
    assert_eq!(
        scene.drop().await.state,
        DropState::Cancelling,
        "an order may still turn out to be paid"
    );
    assert_eq!(
        scene.order_as_it_is(&orders[1]).version,
        asked.version,
        "asked once"
    );

    scene.end_if_asked(&orders[1]).await;
    let clean = scene.runtime.now();
    while run.on().count() > 0 {
        run.round().await;
        scene.runtime.advance(CONDUCTOR_PERIOD_MS);
        assert!(scene.runtime.now().millis_since(clean) < 10 * LATE_MS);
    }
    assert!(scene.runtime.now().millis_since(clean) >= LATE_MS);
    is_swept(&scene, &orders).await;
    let surveys = scene.store.calls(Op::Survey);
    scene.conduct("later").await;
    assert_eq!(
        scene.store.calls(Op::Survey),
        surveys,
        "nothing is left to look at"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_request_that_was_on_its_way_is_swept_too() {
    let scene = Scene::new();
    scene.change(|drop| drop.cancel().unwrap()).await;
    let process = scene.process();
    let mut run = process.begin("one");
    run.look().await;
    run.round().await;
    // Reservations from before the cancellation are written as late as possible, and one of them becomes an order.
    scene.runtime.advance(LATE_MS - 1);
    scene.hold("A", 0, "ada", 2).await;
    scene.hold("A", 1, "bob", 1).await;
    let order = scene.order("A", 0, "ada").await.unwrap();
    run.round().await;
    assert_eq!(scene.held(), 0);
    assert_eq!(scene.open_orders(), 0);
    assert_eq!(scene.order_as_it_is(&order.id).status, OrderStatus::Cancelled);
    scene.runtime.advance(1);
    run.round().await;
    assert_eq!(
        scene.drop().await.state,
        DropState::Cancelling,
        "the wait begins anew"
    );
    scene.runtime.advance(LATE_MS);
    run.round().await;
    assert_eq!(scene.drop().await.state, DropState::Cancelled);
    scene.store.audit().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn an_order_that_is_paid_in_between_stays_paid() {
    let (scene, orders) = cancelled_scene().await;
    let process = scene.process();
    let mut run = process.begin("one");
    run.look().await;
    run.round().await;
    scene.settle(&orders[1]).await;
    for _ in 0..20 {
        scene.runtime.advance(CONDUCTOR_PERIOD_MS);
        run.look().await;
        run.round().await;
    }
    assert_eq!(scene.order_as_it_is(&orders[1]).status, OrderStatus::Paid);
    assert_eq!(scene.drop().await.state, DropState::Cancelled);
    scene.store.audit().unwrap();
}

/// Makes separate conductor runs until the drop is cancelled. Between them, the order with a payment ends if this was
/// requested.
async fn finish(scene: &Scene, orders: &[OrderId; 3]) {
    for n in 0..60 {
        if scene.drop().await.state == DropState::Cancelled {
            return;
        }
        scene.end_if_asked(&orders[1]).await;
        scene.runtime.advance(LEASE_MS);
        let process = scene.process();
        let mut run = process.begin(format!("finisher{n}"));
        for _ in 0..=LATE_MS / CONDUCTOR_PERIOD_MS + 2 {
            run.look().await;
            run.round().await;
            scene.runtime.advance(CONDUCTOR_PERIOD_MS);
        }
    }
    panic!("never cancelled");
}

#[tokio::test(flavor = "current_thread")]
async fn a_sweep_that_died_anywhere_is_finished_by_the_next_run() {
    for polls in 1.. {
        let (scene, orders) = cancelled_scene().await;
        let process = scene.process();
        let mut run = process.begin("one");
        let work = async {
            for _ in 0..3 {
                run.look().await;
                run.round().await;
                scene.runtime.advance(LATE_MS);
                scene.end_if_asked(&orders[1]).await;
            }
        };
        let finished = killed_after(polls, work).await.is_some();
        scene.store.audit().unwrap();
        finish(&scene, &orders).await;
        is_swept(&scene, &orders).await;
        if finished {
            assert!(polls > 20, "{polls}");
            break;
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_sweep_survives_every_fault() {
    let ops = [
        Op::Published,
        Op::Status,
        Op::Acquire,
        Op::Drop,
        Op::Survey,
        Op::GiveBack,
        Op::Order,
        Op::Advance,
        Op::WriteCounts,
        Op::WriteStatus,
        Op::Store,
    ];
    for op in ops {
        for nth in 1..=3 {
            for fault in [
                Fault::Busy,
                Fault::UnknownBefore,
                Fault::UnknownAfter,
                Fault::Broken,
            ] {
                let (scene, orders) = cancelled_scene().await;
                // Six failures in a row exhaust the retries of one call.
                let first = scene.store.calls(op) + nth;
                scene.store.set_plan(move |which, n| {
                    (which == op && (first..first + 6).contains(&n)).then_some(fault)
                });
                let process = scene.process();
                let mut run = process.begin("one");
                for _ in 0..3 {
                    run.look().await;
                    run.round().await;
                    scene.runtime.advance(CONDUCTOR_PERIOD_MS);
                }
                scene.store.audit().unwrap();
                scene.store.clear_plan();
                finish(&scene, &orders).await;
                is_swept(&scene, &orders).await;
            }
        }
    }
}
