//! Tests one shopper's purchase, with each of its outcomes.

use bytes::Bytes;
use http::Request;

use super::people::Plan;
use super::state::{LedgerRow, Money, Units};
use super::world::{World, until};

pub(crate) async fn from_draft_to_ledger(world: &'static World) {
    let drop = "happy";
    let plan = Plan::new(drop, &[("ONE", 1)]);
    let body = plan.body();
    let draft = world
        .operate(drop, "put", None, Some(body.clone()))
        .await
        .expect(201);
    assert_eq!(draft["state"], "draft");
    world
        .get(&format!("/drops/{drop}"))
        .await
        .expect_problem(404, "not_found");
    world.operate(drop, "put", None, Some(body)).await.expect(200);
    world.operate(drop, "publish", None, None).await.expect(200);
    world.drops.lock().unwrap().push(drop.to_owned());

    let shown = until("the drop is shown", || async move {
        let reply = world.get(&format!("/drops/{drop}")).await;
        (reply.status == 200).then_some(reply.json)
    })
    .await;
    assert_eq!(shown["phase"], "open");
    assert_eq!(shown["skus"][0]["allocated"], 1);

    let ada = world.shopper("happyada");
    let held = ada.reserve(drop, "ONE", 1, "k1").await.expect(201);
    assert_eq!(held["status"], "held");
    assert_eq!(held["amount"]["amount_minor"], 4_900);
    let late = world.shopper("happybob").reserve(drop, "ONE", 1, "k1").await;
    late.expect_problem(409, "sold_out");
    assert_eq!(late.json["availability"], "all_held");

    let order = ada.checkout(&held, "pm_card_visa", "k1").await.expect(202);
    let paid = ada.until_final(&order).await;
    assert_eq!(paid["status"], "paid");
    assert!(paid["action"].is_null());
    assert!(paid["reason"].is_null());
    let id = order["order_id"].as_str().unwrap();
    let sold = Units {
        allocated: 1,
        free: 0,
        sold: 1,
        claimed: 0,
    };
    assert_eq!(world.units(drop).await, sold);
    assert_eq!(
        world.money(id),
        Money {
            charges: 1,
            net: 4_900
        }
    );
    let row = until("the ledger has it paid", || async move {
        let rows = world.ledger(drop).await;
        rows.into_values().find(|row| row.status == "paid")
    })
    .await;
    let wanted = LedgerRow {
        captures: 1,
        captured: 4_900,
        refunded: 0,
        amount: 4_900,
        ..row.clone()
    };
    assert_eq!(row, wanted);

    let status = world.until_available(drop, "gone").await;
    assert!(status["next_poll_seconds"].is_null());
    assert_eq!(status["skus"][0]["free"], 0);
    let bob = world.shopper("happybob");
    until("reservations are turned away for good", || {
        let bob = bob.clone();
        async move {
            let reply = bob.reserve(drop, "ONE", 1, "k2").await;
            reply.expect_problem(409, "sold_out");
            (reply.json["availability"] == "gone").then_some(())
        }
    })
    .await;
    let list = ada
        .call(http::Method::GET, "/orders?limit=10", None, None)
        .await
        .expect(200);
    assert_eq!(list["orders"].as_array().unwrap().len(), 1);
    assert_eq!(&list["orders"][0], &paid);
}

pub(crate) async fn after_a_decline_another_card_pays(world: &'static World) {
    let drop = "othercard";
    world
        .publish(&Plan {
            limit: 1,
            ..Plan::new(drop, &[("ONE", 1)])
        })
        .await;
    let ada = world.shopper("othercardada");
    let poor = "pm_card_chargeDeclinedInsufficientFunds";
    let order = ada.order_one(drop, "ONE", poor).await;
    let failed = ada.until_status(&order, &["payment_failed", "paid"]).await;
    let failure = &failed["payment_failure"];
    assert_eq!(failure["reason"], "insufficient_funds");
    assert_eq!(failure["cards_left"], 2);
    assert_eq!(&failure["deadline"], &failed["payment_deadline"]);
    assert_eq!(world.money(order["order_id"].as_str().unwrap()), Money::default());
    // Two tabs submit a card each at the same time: only one card is accepted.
    let (one, other) = tokio::join!(
        ada.pay(&order, "pm_card_visa_chargeDeclinedLostCard", "p1"),
        ada.pay(&order, "pm_card_visa_chargeDeclinedLostCard", "p2")
    );
    let refused: Vec<_> = [one, other]
        .into_iter()
        .filter(|reply| reply.status != 202)
        .collect();
    assert_eq!(refused.len(), 1, "one of two");
    refused[0].expect_problem(409, "wrong_state");
    let failed = ada.until_status(&order, &["payment_failed", "paid"]).await;
    assert_eq!(
        failed["payment_failure"]["reason"], "card_declined",
        "a lost card reads as a plain decline"
    );
    assert_eq!(
        failed["payment_failure"]["cards_left"], 1,
        "a lost card reads as a plain decline"
    );
    ada.pay(&order, "pm_card_visa", "last").await.expect(202);
    let paid = ada.until_final(&order).await;
    assert_eq!(paid["status"], "paid");
    assert!(paid["payment_failure"].is_null());
    let repeated = ada.pay(&order, "pm_card_visa", "last").await.expect(202);
    assert_eq!(repeated, paid, "a late repeat answers with the order as it is");
    ada.pay(&order, "pm_card_amex", "last")
        .await
        .expect_problem(422, "idempotency_mismatch");
    ada.pay(&order, "pm_card_amex", "new")
        .await
        .expect_problem(409, "wrong_state");
    let eve = world.shopper("othercardeve");
    eve.pay(&order, "pm_card_visa", "k")
        .await
        .expect_problem(404, "not_found");
    let money = world.money(order["order_id"].as_str().unwrap());
    assert_eq!(money.charges, 1);
    assert_eq!(money.net, 4_900);
}

pub(crate) async fn without_another_card_the_unit_goes_back(world: &'static World) {
    let drop = "declined";
    world
        .publish(&Plan {
            limit: 1,
            retry_seconds: 15,
            ..Plan::new(drop, &[("ONE", 1)])
        })
        .await;
    let ada = world.shopper("declinedada");
    let order = ada
        .order_one(drop, "ONE", "pm_card_chargeDeclinedInsufficientFunds")
        .await;
    let ended = ada.until_final(&order).await;
    assert_eq!(ended["status"], "cancelled");
    assert_eq!(ended["reason"], "payment_deadline");
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 1,
            free: 1,
            sold: 0,
            claimed: 0
        }
    );
    assert_eq!(world.purchases(drop).await.get(&ada.id).copied().unwrap_or(0), 0);
    assert_eq!(world.money(order["order_id"].as_str().unwrap()), Money::default());

    // Only a shopper's first order of a drop may be paid with another card. So the second order ends at its first
    // decline.
    let held = ada.reserve_when_free(drop, "ONE").await;
    let again = ada
        .checkout(&held, "pm_card_chargeDeclined", "again")
        .await
        .expect(202);
    let ended = ada.until_final(&again).await;
    assert_eq!(ended["status"], "declined");
    assert_eq!(ended["reason"], "payment_declined");
}

pub(crate) async fn an_action_is_completed_or_failed(world: &'static World) {
    let drop = "action";
    world.publish(&Plan::new(drop, &[("ONE", 2)])).await;
    let journey = |name: &'static str, outcome: &'static str, wanted: &'static str| async move {
        let shopper = world.shopper(name);
        let order = shopper
            .order_one(drop, "ONE", "pm_card_authenticationRequired")
            .await;
        let waiting = shopper.until_status(&order, &["action_required"]).await;
        let url = waiting["action"]["url"].as_str().unwrap();
        assert_eq!(waiting["action"]["deadline"], waiting["payment_deadline"]);
        assert_eq!(world.money(order["order_id"].as_str().unwrap()), Money::default());
        let visit = Request::post(format!("{url}?outcome={outcome}"))
            .body(Bytes::new())
            .unwrap();
        assert!(world.send(visit).await.status < 400, "{url}");
        let ended = shopper.until_status(&order, &["paid", "payment_failed"]).await;
        assert_eq!(ended["status"], wanted);
        assert!(ended["action"].is_null());
        if wanted == "payment_failed" {
            assert_eq!(ended["payment_failure"]["reason"], "authentication_failed");
            shopper.cancel(&order).await.expect(202);
            assert_eq!(shopper.until_final(&order).await["reason"], "by_shopper");
        }
    };
    tokio::join!(
        journey("actionada", "complete", "paid"),
        journey("actionbob", "fail", "payment_failed")
    );
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 2,
            free: 1,
            sold: 1,
            claimed: 0
        }
    );
}

pub(crate) async fn an_abandoned_hold_comes_back(world: &'static World) {
    let drop = "abandoned";
    world
        .publish(&Plan {
            hold_seconds: 15,
            ..Plan::new(drop, &[("ONE", 1)])
        })
        .await;
    let (ada, bob) = (world.shopper("abandonada"), world.shopper("abandonbob"));
    let held = ada.reserve(drop, "ONE", 1, "k").await.expect(201);
    world.until_available(drop, "all_held").await;
    let next = bob.reserve_when_free(drop, "ONE").await;
    assert_ne!(held["reservation_id"], next["reservation_id"]);
    ada.checkout(&held, "pm_card_visa", "k")
        .await
        .expect_problem(409, "reservation_expired");
    let order = bob.checkout(&next, "pm_card_visa", "k").await.expect(202);
    assert_eq!(bob.until_final(&order).await["status"], "paid");
    assert_eq!(world.orders(drop).await.len(), 1);
}

pub(crate) async fn a_released_hold_comes_back(world: &'static World) {
    let drop = "released";
    world.publish(&Plan::new(drop, &[("ONE", 1)])).await;
    let (ada, bob) = (world.shopper("releasedada"), world.shopper("releasedbob"));
    let held = ada.reserve(drop, "ONE", 1, "k").await.expect(201);
    bob.release(&held).await.expect_problem(404, "not_found");
    ada.release(&held).await.expect(204);
    ada.release(&held).await.expect_problem(404, "not_found");
    ada.checkout(&held, "pm_card_visa", "k")
        .await
        .expect_problem(409, "reservation_expired");
    let next = bob.reserve_when_free(drop, "ONE").await;
    bob.release(&next).await.expect(204);
    assert_eq!(
        world.units(drop).await,
        Units {
            allocated: 1,
            free: 1,
            sold: 0,
            claimed: 0
        }
    );
}

async fn pays(world: &'static World, drop: &str, who: &str) {
    let shopper = world.shopper(who);
    let order = shopper.order_one(drop, "ONE", "pm_card_visa").await;
    let ended = shopper.until_final(&order).await;
    let charges = world.money(order["order_id"].as_str().unwrap()).charges;
    assert_eq!(ended["status"], "paid", "{ended}");
    assert_eq!(charges, 1, "{ended}");
}

pub(crate) async fn whoever_a_token_names_buys(world: &'static World) {
    let drop = "anybody";
    let subjects = [
        "3f2b8c1e-9a4d-4e6f-8b7a-5c1d2e3f4a5b",
        "auth0|507f1f77bcf86cd799439011",
        "Ada.Byron+drops@example.org",
    ];
    world.publish(&Plan::new(drop, &[("ONE", 3)])).await;
    for subject in subjects {
        pays(world, drop, subject).await;
    }
    let mut bought: Vec<String> = world.orders(drop).await.into_iter().map(|o| o.shopper).collect();
    let mut named = subjects.map(|subject| world.shopper(subject).id).to_vec();
    bought.sort_unstable();
    named.sort_unstable();
    assert_eq!(bought, named);
    // A token's subject is neither stored nor logged.
    let mut texts = vec![serde_json::to_string(&world.image(drop).await).unwrap()];
    for log in std::fs::read_dir(world.logs()).unwrap() {
        texts.push(String::from_utf8_lossy(&std::fs::read(log.unwrap().path()).unwrap()).into_owned());
    }
    for subject in subjects {
        assert!(!texts.iter().any(|text| text.contains(subject)), "{subject}");
    }
}

pub(crate) async fn a_rotated_key_of_the_gateway_is_used_without_a_restart(world: &'static World) {
    let drop = "rotated";
    world
        .publish(&Plan {
            limit: 1,
            ..Plan::new(drop, &[("ONE", 2)])
        })
        .await;
    // After this payment a process has cached the former key.
    pays(world, drop, "rotatedada").await;
    let json = |key: &str| Bytes::from(serde_json::json!({ "api_key": key }).to_string());
    let secret = format!("{}/secrets/stampede/gateway", world.file.control_url);
    let put = Request::put(secret).body(json("sk_test_rotated")).unwrap();
    world.send(put).await.expect(204);
    let key = format!("{}/sandbox/key", world.file.gateway_url);
    let replace = Request::post(key).header("content-type", "application/json");
    let replace = replace.body(json("sk_test_rotated")).unwrap();
    world.send(replace).await.expect(204);
    let former = Request::get(format!("{}/v1/payment_intents/pi_none", world.file.gateway_url))
        .header("authorization", "Bearer sk_test_local")
        .body(Bytes::new());
    world.send(former.unwrap()).await.expect(401);
    pays(world, drop, "rotatedbob").await;
    let sold = Units {
        allocated: 2,
        free: 0,
        sold: 2,
        claimed: 0,
    };
    assert_eq!(world.units(drop).await, sold);
    let used = &world.control("/permissions").await["process-order"]["used"];
    assert!(
        used.to_string().contains("secretsmanager:GetSecretValue"),
        "{used}"
    );
    // The key is neither in an environment variable nor in a log.
    let shows = |text: &str| text.contains("sk_test_");
    assert!(!world.file.environment.values().any(|value| shows(value)));
    for log in std::fs::read_dir(world.logs()).unwrap() {
        let path = log.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!shows(&text), "{}", path.display());
    }
}
