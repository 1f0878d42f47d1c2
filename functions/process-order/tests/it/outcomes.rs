//! Every way an order can end, each step run twice.

use crate::support::{DECLINED, Scene, TO_SIGN, VISA};
use domain::order::{EndReason, OrderStatus};
use memory::{GatewayOp, PaymentOutcome};
use process_order::drive::{Driven, NotDriven};

#[tokio::test]
async fn a_good_card_is_charged_once_and_its_units_sold() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    for _ in 0..2 {
        assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Paid)));
        scene.audit();
    }
    assert_eq!(scene.gateway.charges(&id), 1);
    let calls = [GatewayOp::Create, GatewayOp::Confirm, GatewayOp::Find].map(|op| scene.gateway.calls(op));
    assert_eq!(calls, [1, 1, 0], "the quiet path asks nothing twice");
}

#[tokio::test]
async fn a_declined_card_gives_the_units_back() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", DECLINED).await;
    for _ in 0..2 {
        assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Declined)));
        scene.audit();
    }
    assert_eq!(scene.read(&id).await.reason, Some(EndReason::PaymentDeclined));
    assert_eq!(
        scene.store.shards().values().map(|shard| shard.free).sum::<u32>(),
        20
    );
}

#[tokio::test]
async fn a_shopper_who_signs_has_paid_and_one_who_refuses_is_declined() {
    for (approves, end) in [(true, OrderStatus::Paid), (false, OrderStatus::Declined)] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", TO_SIGN).await;
        for _ in 0..2 {
            assert_eq!(scene.drive(&id).await, Ok(Driven::Waiting));
            let order = scene.read(&id).await;
            let action = order.action.unwrap();
            assert_eq!(
                (order.status, action.deadline),
                (OrderStatus::ActionRequired, order.payment_deadline)
            );
            assert!(action.url.starts_with("https://bank.example/"));
            assert_eq!(order.version, 3, "looking again changes nothing");
            scene.audit();
        }
        scene.act(&id, approves);
        for _ in 0..2 {
            assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(end)));
            scene.audit();
        }
    }
}

#[tokio::test]
async fn a_payment_in_progress_is_left_alone_until_it_ends() {
    for (succeeds, end) in [(true, OrderStatus::Paid), (false, OrderStatus::Declined)] {
        let scene = Scene::new(1).await;
        scene.gateway.on("pm_patient", PaymentOutcome::Process);
        let id = scene.order("ada", "pm_patient").await;
        assert_eq!(scene.drive(&id).await, Ok(Driven::Waiting));
        scene.past_the_deadline();
        assert_eq!(
            scene.drive(&id).await,
            Ok(Driven::Waiting),
            "it cannot be stopped any more"
        );
        scene.audit();
        scene.act(&id, succeeds);
        assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(end)));
        scene.audit();
    }
}

#[tokio::test]
async fn past_the_deadline_the_gateway_is_asked_before_anything_is_given_back() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", TO_SIGN).await;
    assert_eq!(scene.drive(&id).await, Ok(Driven::Waiting));
    scene.past_the_deadline();
    for _ in 0..2 {
        assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Cancelled)));
        scene.audit();
    }
    assert_eq!(scene.read(&id).await.reason, Some(EndReason::PaymentDeadline));
    scene.act(&id, true);
    assert_eq!(scene.gateway.charges(&id), 0, "a late signature pays nothing");
}

#[tokio::test]
async fn an_order_never_begun_is_undone_without_the_gateway() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    scene.past_the_deadline();
    assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Cancelled)));
    assert!(GatewayOp::ALL.iter().all(|op| scene.gateway.calls(*op) == 0));
    scene.audit();
}

#[tokio::test]
async fn money_that_came_first_beats_deadline_and_wish() {
    for by_shopper in [true, false] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", TO_SIGN).await;
        assert_eq!(scene.drive(&id).await, Ok(Driven::Waiting));
        scene.act(&id, true);
        if by_shopper {
            assert!(scene.ask_to_cancel(&id).await);
        } else {
            scene.past_the_deadline();
        }
        assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Paid)));
        scene.audit();
    }
}

#[tokio::test]
async fn a_shopper_s_wish_is_granted_once_the_gateway_agrees() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", TO_SIGN).await;
    assert_eq!(scene.drive(&id).await, Ok(Driven::Waiting));
    assert!(scene.ask_to_cancel(&id).await);
    assert_eq!(scene.read(&id).await.status, OrderStatus::ActionRequired);
    for _ in 0..2 {
        assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Cancelled)));
        scene.audit();
    }
    assert_eq!(scene.read(&id).await.reason, Some(EndReason::ByShopper));
}

#[tokio::test]
async fn a_means_of_payment_the_gateway_will_not_take_is_a_decline() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", "no such token").await;
    assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Declined)));
    scene.audit();
    let id = scene.order("bob", VISA).await;
    scene
        .gateway
        .fail_next(GatewayOp::Confirm, memory::GatewayFault::Refused);
    assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Declined)));
    scene.audit();
}

#[tokio::test]
async fn a_payment_cancelled_at_the_gateway_by_someone_ends_the_order() {
    use ports::payment::PaymentGateway as _;
    let scene = Scene::new(1).await;
    let id = scene.order("ada", TO_SIGN).await;
    assert_eq!(scene.drive(&id).await, Ok(Driven::Waiting));
    scene
        .gateway
        .cancel(&scene.gateway.payments_of(&id)[0].id)
        .await
        .unwrap();
    assert_eq!(scene.drive(&id).await, Ok(Driven::Ended(OrderStatus::Declined)));
    scene.audit();
}

#[tokio::test]
async fn what_cannot_be_found_comes_again() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    let other = memory::contract::scene::placing("eve", "k", 1, 2).order.id;
    assert_eq!(scene.drive(&other).await, Err(NotDriven::NoOrder));
    // Another account's payment.
    let order = scene.read(&id).await;
    let step = order
        .with_payment("pi_elsewhere".parse().unwrap(), memory::TestEdge::START)
        .unwrap();
    ports::orders::AdvanceOrder::advance(&scene.store, &step)
        .await
        .unwrap();
    assert_eq!(scene.drive(&id).await, Err(NotDriven::NoPayment));
    assert_eq!(scene.gateway.charges(&id), 0);
}
