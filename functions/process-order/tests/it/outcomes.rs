//! Tests every way in which an order can end, with each step run twice.

use crate::support::{DECLINED, LOST, POOR, Scene, TO_SIGN, VISA};
use domain::limits::MAX_CARD_DECLINES;
use domain::order::{EndReason, OrderStatus};
use memory::{GatewayOp, PaymentOutcome};
use ports::orders::AdvanceOrder as _;
use process_order::advance_payment::{Advanced, NotAdvanced};

#[tokio::test]
async fn a_good_card_is_charged_once_and_its_units_sold() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    for _ in 0..2 {
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
        scene.audit();
    }
    assert_eq!(scene.gateway.charges(&id), 1);
    let calls = [GatewayOp::Create, GatewayOp::Confirm, GatewayOp::Find].map(|op| scene.gateway.calls(op));
    assert_eq!(calls, [1, 1, 0], "the quiet path asks nothing twice");
}

/// The number of free units in all shards.
fn free(scene: &Scene) -> u32 {
    scene.store.shards().values().map(|shard| shard.free).sum()
}

#[tokio::test]
async fn after_a_decline_another_card_pays() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", DECLINED).await;
    for _ in 0..2 {
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
        let order = scene.read(&id).await;
        assert_eq!(order.status, OrderStatus::PaymentFailed);
        assert_eq!(order.cards_left, 2);
        assert_eq!(order.payment_deadline, order.updated_at.plus_seconds(60));
        scene.audit();
    }
    assert_eq!(
        scene.gateway.calls(GatewayOp::Confirm),
        1,
        "the same card is not asked twice"
    );
    assert!(scene.bring(&id, VISA).await);
    for _ in 0..2 {
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
        scene.audit();
    }
    assert_eq!(scene.gateway.charges(&id), 1);
    assert_eq!(scene.gateway.payments_of(&id).len(), 1);
}

#[tokio::test]
async fn a_card_that_was_declined_in_many_orders_ends_each_further_one() {
    let scene = Scene::new(1).await;
    let most = usize::try_from(MAX_CARD_DECLINES).unwrap();
    for (nth, who) in ["ada", "ben", "cem", "dan", "eva", "fay", "gil"]
        .into_iter()
        .enumerate()
    {
        let id = scene.order(who, LOST).await;
        let advanced = scene.advance(&id).await;
        if nth + 1 < most {
            assert_eq!(advanced, Ok(Advanced::Waiting), "{who}");
            // A second message finds the same decline, which counts only once.
            assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting), "{who}");
        } else {
            assert_eq!(advanced, Ok(Advanced::Ended(OrderStatus::Declined)), "{who}");
            assert_eq!(scene.gateway.events()[&id].cancels, 1);
        }
        scene.audit();
    }
    // Other cards are accepted as before.
    let id = scene.order("hal", DECLINED).await;
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
}

#[tokio::test]
async fn a_second_order_of_the_drop_and_a_third_card_end_declined() {
    let scene = Scene::new(1).await;
    let first = scene.order("ada", DECLINED).await;
    for card in [POOR, "pm_card_visa_chargeDeclined"] {
        assert_eq!(scene.advance(&first).await, Ok(Advanced::Waiting));
        assert!(scene.bring(&first, card).await, "{card}");
    }
    for _ in 0..2 {
        assert_eq!(
            scene.advance(&first).await,
            Ok(Advanced::Ended(OrderStatus::Declined))
        );
        scene.audit();
    }
    assert_eq!(scene.read(&first).await.reason, Some(EndReason::PaymentDeclined));
    assert_eq!(free(&scene), 20);
    assert_eq!(scene.gateway.events()[&first].declines, 3);
    scene.runtime.advance(1);
    let second = scene.order_by("ada", "k2", DECLINED).await;
    assert_eq!(
        scene.advance(&second).await,
        Ok(Advanced::Ended(OrderStatus::Declined))
    );
    assert_eq!(free(&scene), 20);
    assert_eq!(scene.gateway.events()[&second].declines, 1);
    scene.audit();
}

#[tokio::test]
async fn who_was_declined_too_often_is_declined_without_asking_the_gateway() {
    let scene = Scene::new(1).await;
    scene.order("ada", DECLINED).await;
    let mut placing = contracts::fixtures::placing_in(0, "bob", "k", 1, 2, memory::TestRuntime::START);
    placing.order.terms.cards = domain::saga::Terms::cards_of(false, 6);
    let id = scene.store_placing(placing).await;
    let calls = scene.gateway.calls(GatewayOp::Create);
    for _ in 0..2 {
        assert_eq!(
            scene.advance(&id).await,
            Ok(Advanced::Ended(OrderStatus::Declined))
        );
        scene.audit();
    }
    assert_eq!(scene.read(&id).await.reason, Some(EndReason::PaymentDeclined));
    assert_eq!(scene.gateway.calls(GatewayOp::Create), calls);
}

#[tokio::test]
async fn time_for_other_cards_is_never_started_again_and_its_end_is_confirmed_by_the_gateway() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", DECLINED).await;
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
    scene.runtime.advance_seconds(40);
    assert!(scene.bring(&id, POOR).await);
    // The shopper's time does not run while the gateway works.
    scene.runtime.advance_seconds(170);
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
    let order = scene.read(&id).await;
    assert_eq!(order.payment_deadline, order.updated_at.plus_seconds(20));
    scene.runtime.advance_seconds(20);
    assert!(!scene.bring(&id, VISA).await);
    scene
        .gateway
        .fail_next(GatewayOp::Cancel, memory::GatewayFault::UnknownBefore);
    for _ in 0..2 {
        assert_eq!(scene.deliver(&id).await, Advanced::Ended(OrderStatus::Cancelled));
        scene.audit();
    }
    assert_eq!(scene.read(&id).await.reason, Some(EndReason::PaymentDeadline));
}

#[tokio::test]
async fn a_decline_that_may_pass_is_tried_again_once_by_ourselves() {
    for (outcome, status) in [
        (PaymentOutcome::DeclineOnce("try_again_later"), OrderStatus::Paid),
        (
            PaymentOutcome::Decline("try_again_later"),
            OrderStatus::PaymentFailed,
        ),
    ] {
        let scene = Scene::new(1).await;
        scene.gateway.on("pm_soft", outcome);
        let id = scene.order("ada", "pm_soft").await;
        assert!(scene.advance(&id).await.is_ok());
        let order = scene.read(&id).await;
        assert_eq!(order.status, status);
        assert_eq!(order.tries.len(), 2);
        assert_eq!(scene.gateway.calls(GatewayOp::Confirm), 2);
        scene.audit();
    }
}

#[tokio::test]
async fn an_older_decline_is_none_of_the_current_try() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", DECLINED).await;
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
    assert!(scene.bring(&id, VISA).await);
    // The second confirm does not reach the gateway, so the look-up still reports the first card's decline.
    scene
        .gateway
        .set_plan(|op, _| (op == GatewayOp::Confirm).then_some(memory::GatewayFault::UnknownBefore));
    assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
    assert_eq!(scene.read(&id).await.status, OrderStatus::Paying);
    scene.gateway.clear_faults();
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
    scene.audit();
}

#[tokio::test]
async fn an_end_counts_as_a_lapse_when_the_shopper_is_its_reason() {
    use ports::stock::PeekStock as _;
    for (by_shopper, count) in [(true, None), (false, Some(1))] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", DECLINED).await;
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
        if by_shopper {
            assert!(scene.ask_to_cancel(&id).await);
        } else {
            scene.past_the_deadline();
        }
        assert_eq!(
            scene.advance(&id).await,
            Ok(Advanced::Ended(OrderStatus::Cancelled))
        );
        let shopper = scene.read(&id).await.shopper;
        let peek = scene
            .store
            .peek(&contracts::fixtures::drop_id(), &shopper, &[])
            .await
            .unwrap();
        assert_eq!(peek.lapses.map(|lapses| lapses.count), count);
    }
}

#[tokio::test]
async fn a_shopper_who_signs_has_paid_and_one_who_refuses_is_declined() {
    for (approves, end) in [
        (true, Advanced::Ended(OrderStatus::Paid)),
        (false, Advanced::Waiting),
    ] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", TO_SIGN).await;
        for _ in 0..2 {
            assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
            let order = scene.read(&id).await;
            let action = order.action.unwrap();
            assert_eq!(order.status, OrderStatus::ActionRequired);
            assert_eq!(action.deadline, order.payment_deadline);
            assert!(action.url.starts_with("https://bank.example/"));
            assert_eq!(order.version, 3, "looking again changes nothing");
            scene.audit();
        }
        scene.act(&id, approves);
        for _ in 0..2 {
            assert_eq!(scene.advance(&id).await, Ok(end));
            scene.audit();
        }
        let status = scene.read(&id).await.status;
        assert_eq!(status == OrderStatus::PaymentFailed, !approves);
    }
}

#[tokio::test]
async fn a_payment_in_progress_is_left_alone_until_it_ends() {
    for (succeeds, end) in [
        (true, Advanced::Ended(OrderStatus::Paid)),
        (false, Advanced::Waiting),
    ] {
        let scene = Scene::new(1).await;
        scene.gateway.on("pm_patient", PaymentOutcome::Process);
        let id = scene.order("ada", "pm_patient").await;
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
        scene.past_the_deadline();
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
        assert_eq!(
            scene.read(&id).await.cancel_requested,
            None,
            "it is the gateway's turn"
        );
        scene.past_the_wait();
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
        assert_eq!(
            scene.read(&id).await.cancel_requested,
            None,
            "the operator decides"
        );
        scene.act(&id, succeeds);
        assert_eq!(scene.advance(&id).await, Ok(end));
        if !succeeds {
            let order = scene.read(&id).await;
            let left = order.payment_deadline.millis_since(order.updated_at);
            assert_eq!(left, 600_000, "who was waited for has left the page");
        }
        scene.audit();
    }
}

#[tokio::test]
async fn past_the_deadline_the_gateway_is_asked_before_anything_is_given_back() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", TO_SIGN).await;
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
    scene.past_the_deadline();
    for _ in 0..2 {
        assert_eq!(
            scene.advance(&id).await,
            Ok(Advanced::Ended(OrderStatus::Cancelled))
        );
        scene.audit();
    }
    assert_eq!(scene.read(&id).await.reason, Some(EndReason::PaymentDeadline));
    scene.act(&id, true);
    assert_eq!(scene.gateway.charges(&id), 0, "a late signature pays nothing");
}

#[tokio::test]
async fn an_order_that_nobody_tried_to_charge_is_tried_however_late() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    scene.past_the_wait();
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
    scene.audit();
}

#[tokio::test]
async fn an_absent_gateway_is_waited_for_until_the_operator_decides() {
    for lost in [GatewayOp::Create, GatewayOp::Confirm] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", VISA).await;
        scene
            .gateway
            .set_plan(move |op, _| (op == lost).then_some(memory::GatewayFault::UnavailableBefore));
        for _ in 0..2 {
            assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway), "{lost:?}");
            let order = scene.read(&id).await;
            assert!(order.status.is_open() && order.cancel_requested.is_none());
            scene.past_the_wait();
        }
        scene.gateway.clear_faults();
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
        scene.audit();
    }
}

/// Stores the step `act` of the order, as a request of an operator does.
async fn operator(
    scene: &Scene,
    id: &domain::ids::OrderId,
    act: impl Fn(&domain::order::Order) -> domain::order::OrderStep,
) {
    let step = act(&scene.read(id).await);
    assert!(scene.store.advance(&step).await.unwrap().is_done());
}

#[tokio::test]
async fn an_operator_ends_what_waits_and_the_gateway_confirms_it_or_says_that_it_is_paid() {
    for charged in [false, true] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", VISA).await;
        let lost = if charged {
            memory::GatewayFault::UnknownAfter
        } else {
            memory::GatewayFault::UnknownBefore
        };
        scene
            .gateway
            .set_plan(move |op, _| (op != GatewayOp::Create).then_some(lost));
        assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
        let now = ports::runtime::Clock::now(&scene.runtime);
        operator(&scene, &id, |order| {
            order.request_cancel(EndReason::GatewayUnavailable, now).unwrap()
        })
        .await;
        scene.gateway.set_plan(|_, _| Some(memory::GatewayFault::NotSent));
        assert_eq!(
            scene.advance(&id).await,
            Ok(Advanced::WithoutGateway),
            "the gateway has to confirm"
        );
        scene.audit();
        scene.gateway.clear_faults();
        let end = if charged {
            OrderStatus::Paid
        } else {
            OrderStatus::Cancelled
        };
        for _ in 0..2 {
            assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(end)));
            scene.audit();
        }
    }
}

#[tokio::test]
async fn money_that_came_first_beats_deadline_and_wish() {
    for by_shopper in [true, false] {
        let scene = Scene::new(1).await;
        let id = scene.order("ada", TO_SIGN).await;
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
        scene.act(&id, true);
        if by_shopper {
            assert!(scene.ask_to_cancel(&id).await);
        } else {
            scene.past_the_deadline();
        }
        assert_eq!(scene.advance(&id).await, Ok(Advanced::Ended(OrderStatus::Paid)));
        scene.audit();
    }
}

#[tokio::test]
async fn a_shopper_s_wish_is_granted_once_the_gateway_agrees() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", TO_SIGN).await;
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
    assert!(scene.ask_to_cancel(&id).await);
    assert_eq!(scene.read(&id).await.status, OrderStatus::ActionRequired);
    for _ in 0..2 {
        assert_eq!(
            scene.advance(&id).await,
            Ok(Advanced::Ended(OrderStatus::Cancelled))
        );
        scene.audit();
    }
    assert_eq!(scene.read(&id).await.reason, Some(EndReason::ByShopper));
}

#[tokio::test]
async fn a_means_of_payment_the_gateway_will_not_take_is_a_decline() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", "no such token").await;
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
    assert_eq!(scene.read(&id).await.status, OrderStatus::PaymentFailed);
    scene.audit();
    let id = scene.order("bob", VISA).await;
    scene
        .gateway
        .fail_next(GatewayOp::Confirm, memory::GatewayFault::Refused);
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
    assert_eq!(scene.read(&id).await.status, OrderStatus::PaymentFailed);
    scene.audit();
}

#[tokio::test]
async fn a_payment_cancelled_at_the_gateway_by_someone_ends_the_order() {
    use ports::payment::PaymentGateway as _;
    let scene = Scene::new(1).await;
    let id = scene.order("ada", TO_SIGN).await;
    assert_eq!(scene.advance(&id).await, Ok(Advanced::Waiting));
    scene
        .gateway
        .cancel(&scene.gateway.payments_of(&id)[0].id)
        .await
        .unwrap();
    assert_eq!(
        scene.advance(&id).await,
        Ok(Advanced::Ended(OrderStatus::Declined))
    );
    scene.audit();
}

#[tokio::test]
async fn what_cannot_be_found_comes_again() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    let other = contracts::fixtures::placing("eve", "k", 1, 2).order.id;
    assert_eq!(scene.advance(&other).await, Err(NotAdvanced::NoOrder));
    // The order names a payment that the gateway does not have, as if the payment belonged to another account.
    let order = scene.read(&id).await;
    let step = order
        .with_payment("pi_elsewhere".parse().unwrap(), memory::TestRuntime::START)
        .unwrap();
    assert!(scene.store.advance(&step).await.unwrap().is_done());
    assert_eq!(scene.advance(&id).await, Ok(Advanced::WithoutGateway));
    let now = memory::TestRuntime::START;
    operator(&scene, &id, |order| {
        order.request_cancel(EndReason::GatewayUnavailable, now).unwrap()
    })
    .await;
    assert_eq!(
        scene.advance(&id).await,
        Ok(Advanced::WithoutGateway),
        "nobody has stated that it is not there"
    );
    operator(&scene, &id, |order| order.not_at_gateway(now).unwrap()).await;
    scene.gateway.set_plan(|_, _| Some(memory::GatewayFault::NotSent));
    assert_eq!(
        scene.advance(&id).await,
        Ok(Advanced::WithoutGateway),
        "silence is no statement"
    );
    scene.gateway.clear_faults();
    for _ in 0..2 {
        assert_eq!(
            scene.advance(&id).await,
            Ok(Advanced::Ended(OrderStatus::Cancelled))
        );
    }
    assert_eq!(scene.read(&id).await.reason, Some(EndReason::GatewayUnavailable));
    assert_eq!(scene.gateway.charges(&id), 0);
}
