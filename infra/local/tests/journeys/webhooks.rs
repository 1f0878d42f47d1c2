//! Tests the effects of the gateway's webhooks, and the webhooks that are refused.

use bytes::Bytes;
use http::Request;
use sandbox_gateway::webhooks::signature;
use serde_json::json;

use super::logs::lines;
use super::people::Plan;
use super::world::{Reply, World, now_ms, until};

/// The signing secret of the stack's gateway.
const SECRET: &str = "whsec_local";
/// The sweeper may process an order before the webhook does, so the test tries several orders.
const MOST_ORDERS: u32 = 10;

/// Sends the event `sent` as the gateway would. The signature is that of `signed`, made with `secret` and a timestamp
/// `seconds_ago` seconds in the past.
async fn send(world: &World, secret: &str, seconds_ago: u64, signed: &str, sent: &str) -> Reply {
    let at = now_ms().unsigned_abs() / 1_000 - seconds_ago;
    let request = Request::post(world.url("/payments/stripe/webhook"))
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature(secret, at, signed.as_bytes()));
    world
        .send(request.body(Bytes::from(sent.to_owned())).unwrap())
        .await
}

fn paid(id: &str, order: &str) -> String {
    json!({"id": id, "object": "event", "type": "payment_intent.succeeded",
           "data": {"object": {"id": "pi_1", "object": "payment_intent", "metadata": {"order_id": order}}}})
    .to_string()
}

/// Whether a webhook's hint, and not the sweeper's reminder, led to the end of an order. A hint contains the order and
/// no version.
async fn ended_by_hint(world: &'static World, order: &str) -> bool {
    until("the log has the order's end", || async move {
        lines(world)
            .into_iter()
            .find(|(name, line)| {
                name == "process-order" && line["order"] == order && line["message"] == "the order ended"
            })
            .map(|(_, line)| line.get("version").is_none())
    })
    .await
}

pub(crate) async fn a_visit_to_the_bank_is_settled_by_its_webhook(world: &'static World) {
    let drop = "hinted";
    world
        .publish(&Plan {
            limit: 12,
            ..Plan::new(drop, &[("ONE", MOST_ORDERS)])
        })
        .await;
    for n in 0..MOST_ORDERS {
        let shopper = world.shopper(&format!("hinted{n}"));
        let order = shopper
            .order_one(drop, "ONE", "pm_card_authenticationRequired")
            .await;
        let waiting = shopper.until_status(&order, &["action_required"]).await;
        let url = waiting["action"]["url"].as_str().unwrap();
        let visit = Request::post(format!("{url}?outcome=complete")).body(Bytes::new());
        assert!(world.send(visit.unwrap()).await.status < 400, "{url}");
        assert_eq!(shopper.until_final(&order).await["status"], "paid");
        if ended_by_hint(world, order["order_id"].as_str().unwrap()).await {
            return;
        }
    }
    panic!("the sweeper was always sooner than the webhook");
}

pub(crate) async fn forged_and_old_webhooks_are_refused_and_repeats_do_nothing(world: &'static World) {
    let drop = "forged";
    world.publish(&Plan::new(drop, &[("ONE", 1)])).await;
    let ada = world.shopper("forgedada");
    let order = ada.order_one(drop, "ONE", "pm_card_authenticationRequired").await;
    ada.until_status(&order, &["action_required"]).await;
    let id = order["order_id"].as_str().unwrap();
    let event = paid("evt_journey", id);
    let changed = event.replace("evt_journey", "evt_changed");
    for (what, secret, seconds_ago, sent) in [
        ("another secret", "whsec_other", 0, &event),
        ("an old time", SECRET, 301, &event),
        ("a changed body", SECRET, 0, &changed),
    ] {
        let reply = send(world, secret, seconds_ago, &event, sent).await;
        assert_eq!(reply.status, 401, "{what}");
        assert_eq!(reply.code(), "unauthenticated", "{what}");
    }
    // The gateway reports that no money moved, whatever the event claims and however often it is sent.
    for _ in 0..3 {
        assert_eq!(send(world, SECRET, 0, &event, &event).await.status, 200);
    }
    until("the hint was looked at", || async move {
        let looked = lines(world)
            .into_iter()
            .any(|(name, line)| name == "process-order" && line["order"] == id && line["event"] == "hint");
        looked.then_some(())
    })
    .await;
    assert_eq!(ada.order(&order).await["status"], "action_required");
    let cancelled = ada.cancel(&order).await;
    assert!(cancelled.status < 300, "{}", cancelled.json);
    assert_eq!(ada.until_final(&order).await["status"], "cancelled");
    let after = paid("evt_after_the_end", id);
    assert_eq!(send(world, SECRET, 0, &after, &after).await.status, 200);
    let unknown = paid("evt_unknown", id).replace("payment_intent.succeeded", "customer.created");
    assert_eq!(send(world, SECRET, 0, &unknown, &unknown).await.status, 200);
    assert_eq!(ada.order(&order).await["status"], "cancelled");
    for log in std::fs::read_dir(world.logs()).unwrap() {
        let path = log.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!text.contains("whsec_"), "{}", path.display());
    }
}
