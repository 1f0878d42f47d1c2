//! Tests batches of queue records: each record is decoded, handled and reported by itself.

use crate::support::{DECLINED, Scene, VISA};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use domain::ids::OrderId;
use domain::order::OrderStatus;
use events::{OrderEvent, PaymentHint};
use memory::{Fault, GatewayOp, Op, TestRuntime};
use ports::orders::PutOff as _;
use startup::batch::WholeBatchFailed;

fn record(id: &str, body: Option<String>) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(id.to_owned());
    record.body = body;
    record
}

async fn placed(scene: &Scene, order: &OrderId) -> Option<String> {
    Some(
        OrderEvent::of_change(None, &scene.read(order).await)
            .encode()
            .unwrap(),
    )
}

async fn failures(scene: &Scene, records: Vec<SqsMessage>) -> Vec<String> {
    let mut event = SqsEvent::default();
    event.records = records;
    let report = scene.saga.advance_batch(&event).await.unwrap();
    report
        .batch_item_failures
        .into_iter()
        .map(|failure| failure.item_identifier)
        .collect()
}

#[tokio::test]
async fn each_record_is_decoded_and_driven_by_itself() {
    let scene = Scene::new(1).await;
    let (ada, bob) = (scene.order("ada", VISA).await, scene.order("bob", DECLINED).await);
    let records = vec![
        record("m1", Some("{".to_owned())),
        record("m2", placed(&scene, &ada).await),
        record("m3", None),
        record("m4", placed(&scene, &bob).await),
        record("m5", placed(&scene, &ada).await),
        record(
            "m6",
            Some(placed(&scene, &ada).await.unwrap().replace("1.0", "0.1")),
        ),
    ];
    assert_eq!(failures(&scene, records).await, ["m1", "m3", "m6"]);
    assert_eq!(scene.read(&ada).await.status, OrderStatus::Paid);
    assert_eq!(scene.read(&bob).await.status, OrderStatus::PaymentFailed);
    scene.audit();
}

fn hint(order: &OrderId) -> Option<String> {
    let hint = PaymentHint {
        event: "evt_1".to_owned(),
        order: order.clone(),
        at: TestRuntime::START,
    };
    Some(hint.encode().unwrap())
}

#[tokio::test]
async fn a_hint_makes_a_look_up_only_while_the_order_is_open() {
    let scene = Scene::new(1).await;
    let ada = scene.order("ada", VISA).await;
    // The hint arrives before the order's own event, and advances the payment as that event would.
    assert!(failures(&scene, vec![record("m1", hint(&ada))]).await.is_empty());
    assert_eq!(scene.read(&ada).await.status, OrderStatus::Paid);
    let calls = scene.gateway.calls(GatewayOp::Find);
    for n in 0..3 {
        assert!(
            failures(&scene, vec![record(&format!("m{n}"), hint(&ada))])
                .await
                .is_empty()
        );
    }
    assert_eq!(
        scene.gateway.calls(GatewayOp::Find),
        calls,
        "the order says that it is paid"
    );
    assert_eq!(scene.gateway.charges(&ada), 1);
    scene.audit();
}

#[tokio::test]
async fn a_failed_record_without_an_id_fails_the_batch_whose_other_records_bear_a_repeat() {
    let scene = Scene::new(1).await;
    let ada = scene.order("ada", VISA).await;
    let mut event = SqsEvent::default();
    event.records = vec![record("m1", placed(&scene, &ada).await), record("", None)];
    for _ in 0..2 {
        assert_eq!(scene.saga.advance_batch(&event).await, Err(WholeBatchFailed));
        assert_eq!(scene.read(&ada).await.status, OrderStatus::Paid);
    }
    assert_eq!(scene.gateway.charges(&ada), 1);
}

#[tokio::test]
async fn a_record_that_fails_comes_again_alone() {
    let scene = Scene::new(1).await;
    let (ada, bob) = (scene.order("ada", VISA).await, scene.order("bob", VISA).await);
    let records = vec![
        record("m1", placed(&scene, &ada).await),
        record("m2", placed(&scene, &bob).await),
    ];
    scene.store.fail_next(Op::Order, Fault::Broken);
    let failed = failures(&scene, records.clone()).await;
    assert_eq!(failed.len(), 1);
    let again = records
        .into_iter()
        .filter(|record| record.message_id.as_deref() == Some(&failed[0]))
        .collect();
    assert!(failures(&scene, again).await.is_empty());
    assert_eq!(scene.read(&ada).await.status, OrderStatus::Paid);
    assert_eq!(scene.read(&bob).await.status, OrderStatus::Paid);
    scene.audit();
}

#[tokio::test]
async fn events_that_only_report_are_acknowledged_without_a_look() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    scene.deliver(&id).await;
    let looks = scene.store.calls(Op::Order);
    for change in scene.store.changes().iter().skip(1) {
        let body = OrderEvent::of_change(change.before.as_ref(), &change.after)
            .encode()
            .unwrap();
        assert!(failures(&scene, vec![record("m", Some(body))]).await.is_empty());
    }
    assert_eq!(scene.store.calls(Op::Order), looks);
    assert_eq!(scene.gateway.calls(GatewayOp::Confirm), 1);
}

#[tokio::test]
async fn the_sweeper_s_reminder_drives_like_the_first_message() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", VISA).await;
    let order = scene.read(&id).await;
    let body = OrderEvent::due(&order).encode().unwrap();
    let reminder = || vec![record("m", Some(body.clone()))];
    // The order's due time moves beyond the time that the reminder names, so the reminder becomes stale.
    let later = order.due_at.plus_seconds(15);
    assert!(scene.store.put_off(&order, later).await.unwrap().is_done());
    assert!(failures(&scene, reminder()).await.is_empty());
    assert_eq!(scene.gateway.calls(GatewayOp::Create), 0, "a stale reminder");
    let put_off = scene.read(&id).await;
    assert!(
        scene
            .store
            .put_off(&put_off, order.due_at)
            .await
            .unwrap()
            .is_done()
    );
    assert!(failures(&scene, reminder()).await.is_empty());
    assert_eq!(scene.read(&id).await.status, OrderStatus::Paid);
    scene.audit();
}
