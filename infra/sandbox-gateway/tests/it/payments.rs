//! Tests the result of each payment method, over real HTTP.

use crate::support::{KEY, Sandbox};
use sandbox_gateway::log::Event;
use serde_json::json;

#[tokio::test]
async fn a_good_card_is_charged_once_and_logged() {
    let sandbox = Sandbox::start().await;
    let id = sandbox.create("o1", "pm_card_visa").await;
    assert_eq!(sandbox.status(&id).await, "requires_confirmation");
    let paid = sandbox.confirm(&id, "o1/confirm").await;
    assert_eq!(paid.status.as_u16(), 200);
    assert_eq!(paid.body["status"].as_str(), Some("succeeded"));
    assert_eq!(paid.body["amount_received"], 4900);
    assert_eq!(paid.body["metadata"]["order_id"], "o1");

    let again = sandbox.confirm(&id, "another-key").await;
    assert_eq!(again.status, 400);
    assert_eq!(again.body["error"]["code"], "payment_intent_unexpected_state");
    assert_eq!(again.body["error"]["payment_intent"]["status"], "succeeded");

    let log = sandbox.log().await;
    let events: Vec<Event> = log.iter().map(|line| line.event).collect();
    assert_eq!(events, [Event::Created, Event::Confirmed, Event::Charged]);
    assert!(
        log.iter()
            .all(|line| line.order_id == "o1" && line.intent == id && line.amount == 4900)
    );
    assert!(
        log.windows(2)
            .all(|pair| pair[0].seq + 1 == pair[1].seq && pair[0].at_ms < pair[1].at_ms)
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn declines_are_402_with_a_reason_and_may_be_tried_again() {
    let sandbox = Sandbox::start().await;
    for (n, (method, code)) in [
        ("pm_card_visa_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = sandbox.create(&format!("o{n}"), method).await;
        let refused = sandbox.confirm(&id, &format!("o{n}/confirm")).await;
        assert_eq!(refused.status, 402);
        let error = &refused.body["error"];
        assert_eq!(error["type"].as_str(), Some("card_error"));
        assert_eq!(error["code"].as_str(), Some("card_declined"));
        assert_eq!(error["decline_code"], code);
        assert_eq!(error["payment_intent"]["status"], "requires_payment_method");
        let shown = sandbox.get(&format!("/v1/payment_intents/{id}")).await;
        assert_eq!(shown.body["last_payment_error"]["decline_code"], code);
        let form = [("payment_method", "pm_card_visa")];
        let path = format!("/v1/payment_intents/{id}/confirm");
        let paid = sandbox.post(&path, Some(&format!("o{n}/confirm/2")), &form).await;
        assert_eq!(paid.body["status"], "succeeded");
    }
    assert_eq!(sandbox.count(Event::Declined).await, 2);
    assert_eq!(sandbox.count(Event::Charged).await, 2);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_customer_signs_or_refuses_at_the_bank() {
    let sandbox = Sandbox::start().await;
    for (order, outcome, status) in [
        ("o1", "complete", "succeeded"),
        ("o2", "fail", "requires_payment_method"),
    ] {
        let id = sandbox.create(order, "pm_card_authenticationRequired").await;
        let asked = sandbox.confirm(&id, &format!("{order}/confirm")).await;
        assert_eq!(asked.body["status"], "requires_action");
        let url = asked.body["next_action"]["redirect_to_url"]["url"]
            .as_str()
            .unwrap()
            .to_owned();
        let page = sandbox.client.get(&url).send().await.unwrap();
        assert!(page.text().await.unwrap().contains("requires_action"));
        let wrong = sandbox
            .client
            .post(&url)
            .form(&[("outcome", "maybe")])
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 400);
        let back = sandbox
            .client
            .post(&url)
            .header("accept", "text/html")
            .form(&[("outcome", outcome)])
            .send()
            .await
            .unwrap();
        assert_eq!(back.status(), 303);
        let location = back.headers()["location"].to_str().unwrap();
        assert!(
            location.starts_with(&format!("https://shop.example/return?payment_intent={id}")),
            "{location}"
        );
        assert_eq!(sandbox.status(&id).await, status);
        let late = sandbox
            .client
            .get(format!("{url}?outcome=complete"))
            .send()
            .await
            .unwrap();
        assert_eq!(late.status(), 400, "the visit is over");
    }
    assert_eq!(sandbox.count(Event::Charged).await, 1);
    assert_eq!(sandbox.count(Event::Declined).await, 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_cancelled_intent_is_never_charged_and_a_charged_one_never_cancelled() {
    let sandbox = Sandbox::start().await;
    let id = sandbox.create("o1", "pm_card_visa").await;
    let cancelled = sandbox
        .post(&format!("/v1/payment_intents/{id}/cancel"), None, &[])
        .await;
    assert_eq!(cancelled.body["status"], "canceled");
    let confirm = sandbox.confirm(&id, "k").await;
    assert_eq!(confirm.body["error"]["code"], "payment_intent_unexpected_state");
    assert_eq!(sandbox.count(Event::Charged).await, 0);

    let id = sandbox.create("o2", "pm_card_visa").await;
    sandbox.confirm(&id, "o2/confirm").await;
    let refused = sandbox
        .post(&format!("/v1/payment_intents/{id}/cancel"), None, &[])
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body["error"]["payment_intent"]["status"], "succeeded");
    assert_eq!(sandbox.count(Event::Cancelled).await, 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn refunds_never_exceed_the_charge() {
    let sandbox = Sandbox::start().await;
    let id = sandbox.create("o1", "pm_card_visa").await;
    let early = sandbox
        .post("/v1/refunds", Some("r0"), &[("payment_intent", &id)])
        .await;
    assert_eq!(early.status, 400, "nothing to refund yet");
    sandbox.confirm(&id, "o1/confirm").await;
    let part = sandbox
        .post(
            "/v1/refunds",
            Some("r1"),
            &[("payment_intent", &id), ("amount", "900")],
        )
        .await;
    assert_eq!(part.body["amount"], 900);
    let shown = sandbox
        .get(&format!("/v1/refunds/{}", part.body["id"].as_str().unwrap()))
        .await;
    assert_eq!(shown.body, part.body);
    let again = sandbox
        .post(
            "/v1/refunds",
            Some("r1"),
            &[("payment_intent", &id), ("amount", "900")],
        )
        .await;
    assert!(again.replayed);
    let much = sandbox
        .post(
            "/v1/refunds",
            Some("r2"),
            &[("payment_intent", &id), ("amount", "4001")],
        )
        .await;
    assert_eq!(much.status, 400);
    let rest = sandbox
        .post("/v1/refunds", Some("r3"), &[("payment_intent", &id)])
        .await;
    assert_eq!(rest.body["amount"], 4000);
    let none = sandbox
        .post("/v1/refunds", Some("r4"), &[("payment_intent", &id)])
        .await;
    assert_eq!(none.body["error"]["code"], "charge_already_refunded");
    let refunded: u64 = sandbox
        .log()
        .await
        .iter()
        .filter(|l| l.event == Event::Refunded)
        .map(|l| l.amount)
        .sum();
    assert_eq!(refunded, 4900);
    sandbox.stop().await;
}

#[tokio::test]
async fn wrong_keys_routes_ids_and_parameters_change_nothing() {
    let sandbox = Sandbox::start().await;
    let url = format!("{}/v1/payment_intents", sandbox.base);
    for auth in [
        "Bearer sk_test_other",
        "Basic c2tfdGVzdF9zYW5kYm94Og==",
        "sk_test_sandbox",
    ] {
        let refused = sandbox
            .client
            .post(&url)
            .header("authorization", auth)
            .form(&[("amount", "1")]);
        assert_eq!(refused.send().await.unwrap().status(), 401);
    }
    assert_eq!(
        sandbox
            .client
            .get(&url)
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap()
            .status(),
        405
    );
    assert_eq!(
        sandbox.get("/v1/payment_intents/pi_none").await.body["error"]["code"],
        "resource_missing"
    );
    assert_eq!(sandbox.get("/v1/refunds/re_none").await.status, 404);
    assert_eq!(sandbox.get("/v1/customers").await.status, 404);
    assert_eq!(sandbox.confirm("pi_none", "k").await.status, 404);
    let missing = sandbox
        .post("/v1/payment_intents", Some("k2"), &[("currency", "eur")])
        .await;
    assert_eq!(missing.body["error"]["param"], "amount");
    let json = sandbox
        .client
        .post(&url)
        .bearer_auth(KEY)
        .json(&json!({"amount": 1}));
    assert_eq!(json.send().await.unwrap().status(), 400);
    assert!(sandbox.log().await.is_empty());
    sandbox.stop().await;
}

#[tokio::test]
async fn a_replaced_key_is_taken_and_the_former_is_not() {
    let sandbox = Sandbox::start().await;
    let id = sandbox.create("o1", "pm_card_visa").await;
    let url = format!("{}/v1/payment_intents/{id}", sandbox.base);
    let status = async |key: &str| {
        let sent = sandbox.client.get(&url).bearer_auth(key).send().await;
        sent.unwrap().status().as_u16()
    };
    assert_eq!(status(KEY).await, 200);
    assert_eq!(status("sk_test_next").await, 401);
    let replace = sandbox
        .client
        .post(format!("{}/sandbox/key", sandbox.base))
        .json(&json!({"api_key": "sk_test_next"}));
    assert_eq!(replace.send().await.unwrap().status(), 204);
    assert_eq!(status(KEY).await, 401);
    assert_eq!(status("sk_test_next").await, 200);
    sandbox.stop().await;
}
