//! Tests that every POST, repeated and sent concurrently, has one effect and the same answer each time.

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::people::Plan;
use super::state::{Money, Units};
use super::world::{Reply, World, moment, until};

const TIMES: usize = 32;

pub(crate) async fn one_key_is_one_reservation(world: &'static World) {
    let drop = "same-key-reserve";
    // The SKU has three shards, so that a repeat could reach a wrong shard. Meanwhile other shoppers change the shards'
    // counts.
    world.publish(&Plan::new(drop, &[("MANY", 60)])).await;
    let ada = world.shopper("keyada");
    let crowd = (0..12).map(|n| async move {
        world
            .shopper(&format!("keycrowd{n}"))
            .reserve(drop, "MANY", 1, "k")
            .await
            .expect(201);
    });
    let repeats = join_all((0..TIMES).map(|_| ada.reserve(drop, "MANY", 2, "same")));
    let (replies, _) = tokio::join!(repeats, join_all(crowd));
    let first = replies[0].clone().expect(201);
    for reply in replies {
        assert_eq!(reply.expect(201), first);
    }
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 60,
            free: 46,
            sold: 0,
            claimed: 14
        }
    );
    ada.reserve(drop, "MANY", 1, "same")
        .await
        .expect_problem(422, "idempotency_mismatch");
    let other = ada.reserve(drop, "MANY", 1, "other").await;
    other.expect_problem(409, "reservation_exists");
    assert_eq!(other.json["reservation_id"], first["reservation_id"]);
}

pub(crate) async fn one_key_is_one_order(world: &'static World) {
    let drop = "same-key-checkout";
    world.publish(&Plan::new(drop, &[("FEW", 4)])).await;
    let ada = world.shopper("orderada");
    let held = ada.reserve(drop, "FEW", 2, "k").await.expect(201);
    let replies = join_all((0..TIMES).map(|_| ada.checkout(&held, "pm_card_visa", "same"))).await;
    let accepted: Vec<Value> = replies.into_iter().map(|r| r.expect(202)).collect();
    for reply in &accepted {
        for member in ["order_id", "reservation_id", "quantity", "amount", "placed_at"] {
            assert_eq!(reply[member], accepted[0][member], "{member}");
        }
    }
    let order = ada.until_final(&accepted[0]).await;
    assert_eq!(order["status"], "paid");
    let repeated = ada.checkout(&held, "pm_card_visa", "same").await.expect(202);
    assert_eq!(repeated, order, "a late repeat answers with the order as it is");
    ada.checkout(&held, "pm_card_amex", "same")
        .await
        .expect_problem(422, "idempotency_mismatch");
    ada.checkout(&held, "pm_card_amex", "other")
        .await
        .expect_problem(409, "wrong_state");

    // Three devices check out with their own keys and cards: only one of them gets an order.
    let bob = world.shopper("orderbob");
    let held = bob.reserve(drop, "FEW", 1, "k").await.expect(201);
    let cards = ["pm_card_visa", "pm_card_amex", "pm_card_mastercard"];
    let replies = join_all(cards.map(|card| bob.checkout(&held, card, card))).await;
    let won: Vec<&Reply> = replies.iter().filter(|r| r.status == 202).collect();
    assert_eq!(won.len(), 1, "{replies:?}");
    for lost in replies.iter().filter(|r| r.status != 202) {
        lost.expect_problem(409, "wrong_state");
    }
    bob.until_final(&won[0].json).await;
    let orders = world.orders(drop).await;
    assert_eq!(orders.len(), 2);
    for order in orders {
        assert_eq!(
            world.money(&order.id),
            Money {
                charges: 1,
                net: order.amount
            }
        );
    }
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 4,
            free: 1,
            sold: 3,
            claimed: 0
        }
    );

    // Repeated cancels of an order that waits for the shopper all get the same answer.
    let carl = world.shopper("ordercarl");
    let order = carl
        .order_one(drop, "FEW", "pm_card_authenticationRequired")
        .await;
    carl.until_status(&order, &["action_required"]).await;
    for reply in join_all((0..TIMES).map(|_| carl.cancel(&order))).await {
        assert!(matches!(reply.status, 200 | 202), "{}", reply.json);
        assert!(
            reply.json["cancel_requested"] == true || reply.json["status"] == "cancelled",
            "{}",
            reply.json
        );
    }
    assert_eq!(carl.until_final(&order).await["status"], "cancelled");
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 4,
            free: 1,
            sold: 3,
            claimed: 0
        }
    );
    let path = format!("/orders/{}", order["order_id"].as_str().unwrap());
    let seen = carl.call(Method::GET, &path, None, None).await.expect(200);
    assert_eq!(seen["reason"], "by_shopper");
}

/// Repeats an operator's action while the answer is 409 `conflict`, as the API documentation asks.
async fn insist(
    world: &'static World,
    drop: &str,
    act: &str,
    key: Option<&str>,
    body: Option<Value>,
) -> Value {
    until(&format!("{act} of {drop} is done"), || {
        let body = body.clone();
        async move {
            let reply = world.operate(drop, act, key, body).await;
            if reply.status == 409 && reply.code() == "conflict" {
                return None;
            }
            Some(reply.expect(200))
        }
    })
    .await
}

pub(crate) async fn one_key_is_one_restock(world: &'static World) {
    let drop = "same-key-restock";
    world.publish(&Plan::new(drop, &[("A", 5), ("B", 5)])).await;
    let body = json!({"sku": "A", "units": 30});
    let acts = (0..TIMES).map(|_| insist(world, drop, "restock", Some("same"), Some(body.clone())));
    for view in join_all(acts).await {
        assert_eq!(view["skus"][0]["units"], 35);
        assert_eq!(view["skus"][1]["units"], 5);
    }
    assert_eq!(world.units(drop).await.allocated, 40);
    for other in [json!({"sku": "A", "units": 31}), json!({"sku": "B", "units": 30})] {
        let reply = world.operate(drop, "restock", Some("same"), Some(other)).await;
        reply.expect_problem(422, "idempotency_mismatch");
    }
    // Restocks with different keys add up.
    let one = json!({"sku": "B", "units": 1});
    let keys = ["k1", "k2", "k3", "k4"];
    join_all(keys.map(|key| insist(world, drop, "restock", Some(key), Some(one.clone())))).await;
    let units = world.units(drop).await;
    assert_eq!(units.allocated, 44);
    assert_eq!(units.free, 44);
}

pub(crate) async fn acts_of_the_operator_may_be_repeated(world: &'static World) {
    let drop = "repeated-acts";
    let plan = Plan::new(drop, &[("A", 100), ("B", 1)]);
    let body = plan.body();
    for view in join_all((0..8).map(|_| put(world, drop, &body))).await {
        assert_eq!(view["version"], 1, "the same draft again changes nothing");
    }
    for view in join_all((0..TIMES).map(|_| insist(world, drop, "publish", None, None))).await {
        assert_eq!(view["state"], "scheduled");
    }
    world.drops.lock().unwrap().push(drop.to_owned());
    let published = Units {
        allocated: 101,
        free: 101,
        sold: 0,
        claimed: 0,
    };
    assert_eq!(world.units(drop).await, published);
    let version = world.operate(drop, "get", None, None).await.expect(200)["version"].clone();
    let again = world.operate(drop, "publish", None, None).await.expect(200);
    assert_eq!(again["version"], version);

    let shopper = world.shopper("actsada");
    let held = shopper.reserve(drop, "A", 1, "k").await.expect(201);
    insist(world, drop, "publish", None, None).await;
    assert_eq!(
        world.units(drop).await.claimed,
        1,
        "publishing again leaves the shards alone"
    );
    shopper.release(&held).await.expect(204);

    for act in ["pause", "resume"] {
        let views = join_all((0..TIMES).map(|_| insist(world, drop, act, None, None))).await;
        let versions: Vec<&Value> = views.iter().map(|view| &view["version"]).collect();
        assert!(versions.iter().all(|v| *v == versions[0]), "{act}: {versions:?}");
    }
    let both = (0..TIMES).map(|n| {
        insist(
            world,
            drop,
            if n % 2 == 0 { "pause" } else { "resume" },
            None,
            None,
        )
    });
    join_all(both).await;
    assert_eq!(insist(world, drop, "resume", None, None).await["paused"], false);

    let later = json!({"ends_at": moment(900_000)});
    let views = join_all((0..TIMES).map(|_| insist(world, drop, "extend", None, Some(later.clone())))).await;
    assert!(views.iter().all(|view| view == &views[0]), "{views:?}");

    let views = join_all((0..TIMES).map(|_| insist(world, drop, "cancel", None, None))).await;
    let called_off = |view: &Value| view["state"] == "cancelling" || view["state"] == "cancelled";
    assert!(views.iter().all(called_off), "{views:?}");
    assert_eq!(world.units(drop).await, published);
    for act in ["publish", "pause", "resume"] {
        world
            .operate(drop, act, None, None)
            .await
            .expect_problem(409, "wrong_state");
    }
}

async fn put(world: &'static World, drop: &str, body: &Value) -> Value {
    until(&format!("{drop} is put"), || async move {
        let reply = world.operate(drop, "put", None, Some(body.clone())).await;
        if reply.status == 409 && reply.code() == "conflict" {
            return None;
        }
        assert!(matches!(reply.status, 200 | 201), "{}", reply.json);
        Some(reply.json)
    })
    .await
}
