//! Tests an hour without a gateway, with a queue that counts receives and a sweeper that moves due times.

use std::collections::BTreeMap;

use domain::ids::OrderId;
use domain::limits::{MAX_REDRIVE_MS, OPEN_BUCKETS, Trigger};
use domain::order::OrderStatus;
use domain::time::Timestamp;
use memory::{GatewayFault, GatewayOp};
use ports::orders::{FindDueOrders as _, PutOff as _};
use ports::runtime::Clock as _;
use process_order::LIMITS;
use process_order::advance_payment::Patience;

use crate::support::{Scene, TO_SIGN, VISA};

/// The time between two passes of the sweeper.
const PASS_SECONDS: u32 = 2;

struct Message {
    order: OrderId,
    next_due: Option<Timestamp>,
    at: Timestamp,
    receives: u32,
}

/// The number of reminders of each order, and of messages that became dead letters.
#[derive(Default)]
struct Played {
    reminders: BTreeMap<OrderId, u32>,
    dead_letters: u32,
}

/// Simulates `seconds` seconds: each message is received at its time, and the sweeper sends reminders of due
/// orders.
async fn play(scene: &Scene, queue: &mut Vec<Message>, seconds: u32, played: &mut Played) {
    let Trigger::Queue { max_receives, .. } = LIMITS.trigger else {
        panic!("a queue")
    };
    for _ in 0..seconds / PASS_SECONDS {
        scene.runtime.advance_seconds(PASS_SECONDS);
        let now = scene.runtime.now();
        for bucket in 0..OPEN_BUCKETS {
            for id in scene.store.due_orders(bucket, now, 100).await.unwrap() {
                let order = scene.read(&id).await;
                let next = order.next_look(now);
                assert!(scene.store.put_off(&order, next).await.unwrap().is_done());
                *played.reminders.entry(id.clone()).or_default() += 1;
                queue.push(Message {
                    order: id,
                    next_due: Some(next),
                    at: now,
                    receives: 0,
                });
            }
        }
        let due: Vec<Message> = queue.extract_if(.., |message| message.at <= now).collect();
        for mut message in due {
            if scene
                .saga
                .advance_payment(&message.order, message.next_due, Patience::Long)
                .await
                .is_err()
            {
                message.receives += 1;
                message.at = now.plus_seconds(LIMITS.visibility_seconds());
                if message.receives < max_receives {
                    queue.push(message);
                } else {
                    played.dead_letters += 1;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_hour_without_a_gateway_leaves_no_dead_letters_and_every_order_is_paid_afterwards() {
    let scene = Scene::new(1).await;
    let mut ids = Vec::new();
    for who in ["ada", "bob", "cyd", "dan", "eve"] {
        ids.push(scene.order(who, VISA).await);
    }
    let signs = scene.order("fay", TO_SIGN).await;
    let messages = ids.iter().chain([&signs]);
    let mut queue: Vec<Message> = messages
        .map(|id| Message {
            order: id.clone(),
            next_due: None,
            at: scene.runtime.now(),
            receives: 0,
        })
        .collect();
    // The first try of one order is in progress when the gateway becomes unavailable.
    scene
        .gateway
        .fail_next(GatewayOp::Confirm, GatewayFault::UnknownAfter);
    assert!(scene.advance(&ids[0]).await.is_ok());
    scene.gateway.set_plan(|op, nth| {
        let faults = [
            GatewayFault::NotSent,
            GatewayFault::UnavailableBefore,
            GatewayFault::UnknownBefore,
            GatewayFault::NoKey,
        ];
        (op != GatewayOp::Refund).then(|| faults[usize::try_from(nth % 4).unwrap()])
    });
    let (mut played, began) = (Played::default(), scene.runtime.now());
    play(&scene, &mut queue, 3_600, &mut played).await;
    assert!(scene.runtime.now().millis_since(began) >= 3_600_000);
    assert_eq!(played.dead_letters, 0);
    for id in &ids[1..] {
        let order = scene.read(id).await;
        assert_eq!(order.status, OrderStatus::Placed, "no look is a version");
        assert_eq!(order.version, 1, "no look is a version");
        let reminders = played.reminders[id];
        // The pauses between reminders are about 15, 15, 30 and 60 seconds, and then 120 seconds each.
        let most = scene.runtime.now().millis_since(began) / MAX_REDRIVE_MS + 5;
        assert!(
            (10..=most).contains(&i64::from(reminders)),
            "{reminders} of {most}"
        );
    }
    let changes = scene.store.changes();
    let versions = changes
        .iter()
        .filter(|c| c.before.as_ref().is_none_or(|b| b.version != c.after.version));
    assert!(
        versions.count() <= 6 + 2,
        "only placing and the first order's payment are versions"
    );
    scene.gateway.clear_faults();
    play(&scene, &mut queue, 180, &mut played).await;
    for id in &ids {
        assert_eq!(scene.read(id).await.status, OrderStatus::Paid);
    }
    let waiting = scene.read(&signs).await;
    assert_eq!(waiting.status, OrderStatus::ActionRequired);
    assert_eq!(
        waiting.payment_deadline,
        waiting.updated_at.plus_seconds(600),
        "who left the page has time to return"
    );
    scene.act(&signs, true);
    play(&scene, &mut queue, 180, &mut played).await;
    assert_eq!(scene.read(&signs).await.status, OrderStatus::Paid);
    assert!(queue.is_empty() && played.dead_letters == 0);
    scene.audit();
}

#[tokio::test]
async fn a_shopper_who_leaves_the_bank_s_page_open_is_asked_after_in_growing_pauses_without_a_version() {
    let scene = Scene::new(1).await;
    let id = scene.order("ada", TO_SIGN).await;
    assert!(scene.advance(&id).await.is_ok());
    let (before, calls) = (scene.read(&id).await, scene.gateway.calls(GatewayOp::Find));
    let (mut played, mut queue) = (Played::default(), Vec::new());
    play(&scene, &mut queue, 110, &mut played).await;
    let after = scene.read(&id).await;
    assert_eq!(after.version, before.version);
    assert_eq!(after.updated_at, before.updated_at);
    // The reminders are sent 4, 8, 16, 32 and 64 seconds after the shopper was sent to the bank.
    assert_eq!(played.reminders[&id], 5);
    assert_eq!(scene.gateway.calls(GatewayOp::Find) - calls, 5);
    play(&scene, &mut queue, 20, &mut played).await;
    assert_eq!(
        scene.read(&id).await.status,
        OrderStatus::Cancelled,
        "the end of their time is not missed"
    );
    scene.audit();
}
