//! Tests idempotency under races, lost answers and outages, over real HTTP.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::{Answer, Sandbox, answer};
use sandbox_gateway::log::Event;
use serde_json::json;
use tokio::task::JoinSet;

const CREATE: [(&str, &str); 3] = [
    ("amount", "4900"),
    ("currency", "eur"),
    ("metadata[order_id]", "o1"),
];

async fn race(sandbox: &Sandbox, path: &str, key: &str, form: &[(&str, &str)]) -> Vec<Answer> {
    let mut set = JoinSet::new();
    for _ in 0..32 {
        let request = sandbox.request(path, Some(key), form);
        set.spawn(async move { answer(request.send().await.unwrap()).await });
    }
    set.join_all().await
}

/// Waits until the log contains the expected lines. A task writes the log, and no answer reports its end.
async fn until_logged(sandbox: &Sandbox, event: Event, count: usize) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while sandbox.count(event).await < count {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the event is logged in the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_creates_with_one_key_make_one_intent() {
    let sandbox = Sandbox::start().await;
    let answers = race(&sandbox, "/v1/payment_intents", "k", &CREATE).await;
    let made: HashSet<&str> = answers
        .iter()
        .filter(|a| a.status == 200)
        .map(|a| a.body["id"].as_str().unwrap())
        .collect();
    assert_eq!(made.len(), 1);
    assert_eq!(
        answers.iter().filter(|a| a.status == 200 && !a.replayed).count(),
        1
    );
    assert!(answers.iter().all(|a| a.status == 200 || a.status == 409));
    assert_eq!(sandbox.count(Event::Created).await, 1);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_confirms_with_one_key_charge_once_and_conflict_while_it_runs() {
    let sandbox = Sandbox::start().await;
    let id = sandbox.create("o1", "pm_sandbox_slow").await;
    let answers = race(&sandbox, &format!("/v1/payment_intents/{id}/confirm"), "k", &[]).await;
    let conflicts: Vec<&Answer> = answers.iter().filter(|a| a.status == 409).collect();
    assert!(
        !conflicts.is_empty(),
        "a slow confirm is overtaken by its repeats"
    );
    assert!(
        conflicts
            .iter()
            .all(|a| a.body["error"]["code"] == "idempotency_key_in_use")
    );
    assert_eq!(
        answers.iter().filter(|a| a.status == 200 && !a.replayed).count(),
        1
    );
    assert_eq!(sandbox.count(Event::Charged).await, 1);
    assert!(sandbox.confirm(&id, "other").await.status == 400);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirms_with_different_keys_still_charge_once() {
    let sandbox = Sandbox::start().await;
    let id = sandbox.create("o1", "pm_card_visa").await;
    let mut set = JoinSet::new();
    for n in 0..32 {
        let request = sandbox.request(
            &format!("/v1/payment_intents/{id}/confirm"),
            Some(&format!("k{n}")),
            &[],
        );
        set.spawn(async move { answer(request.send().await.unwrap()).await.status.as_u16() });
    }
    let statuses = set.join_all().await;
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 1);
    assert_eq!(sandbox.count(Event::Charged).await, 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_key_replays_its_answer_errors_included_and_refuses_other_parameters() {
    let sandbox = Sandbox::start().await;
    let first = sandbox.post("/v1/payment_intents", Some("k"), &CREATE).await;
    let again = sandbox.post("/v1/payment_intents", Some("k"), &CREATE).await;
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.body, again.body);
    let other = [
        ("amount", "5000"),
        ("currency", "eur"),
        ("metadata[order_id]", "o1"),
    ];
    let refused = sandbox.post("/v1/payment_intents", Some("k"), &other).await;
    assert_eq!(refused.status.as_u16(), 400);
    assert_eq!(refused.body["error"]["type"].as_str(), Some("idempotency_error"));

    let id = sandbox.create("o2", "pm_card_chargeDeclined").await;
    let declined = sandbox.confirm(&id, "d").await;
    let replayed = sandbox.confirm(&id, "d").await;
    assert_eq!(declined.status.as_u16(), 402);
    assert_eq!(replayed.status.as_u16(), 402);
    assert!(replayed.replayed);
    assert_eq!(sandbox.count(Event::Declined).await, 1);

    // A refusal before the endpoint code is not stored, so the corrected request may use the key.
    let invalid = sandbox
        .post("/v1/payment_intents", Some("v"), &[("currency", "eur")])
        .await;
    assert_eq!(invalid.status, 400);
    assert_eq!(
        sandbox
            .post("/v1/payment_intents", Some("v"), &CREATE)
            .await
            .status,
        200
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn a_confirm_lost_before_the_charge_charges_only_when_repeated() {
    let sandbox = Sandbox::start_with(|options| options.hang = Duration::from_millis(1)).await;
    let id = sandbox.create("o1", "pm_sandbox_timeout_before_charge").await;
    let path = format!("/v1/payment_intents/{id}/confirm");
    assert_eq!(sandbox.post(&path, Some("k"), &[]).await.status, 504);
    assert_eq!(sandbox.status(&id).await, "requires_confirmation");
    assert_eq!(sandbox.count(Event::Charged).await, 0);
    let paid = sandbox.post(&path, Some("k"), &[]).await;
    assert_eq!(paid.body["status"], "succeeded");
    assert!(!paid.replayed);
    assert_eq!(sandbox.count(Event::Charged).await, 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_confirm_lost_after_the_charge_has_charged_and_replays() {
    let sandbox = Sandbox::start_with(|options| options.hang = Duration::from_millis(1)).await;
    let id = sandbox.create("o1", "pm_sandbox_timeout_after_charge").await;
    let path = format!("/v1/payment_intents/{id}/confirm");
    assert_eq!(sandbox.post(&path, Some("k"), &[]).await.status, 504);
    assert_eq!(sandbox.status(&id).await, "succeeded");
    let paid = sandbox.post(&path, Some("k"), &[]).await;
    assert!(paid.replayed);
    assert_eq!(sandbox.count(Event::Charged).await, 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_is_charged_all_the_same() {
    let sandbox = Sandbox::start_with(|options| options.slow = Duration::from_secs(2)).await;
    let id = sandbox.create("o1", "pm_sandbox_slow").await;
    let path = format!("/v1/payment_intents/{id}/confirm");
    let send = || {
        let request = sandbox.request(&path, Some("k"), &[]);
        tokio::spawn(async move { request.send().await.unwrap().status() })
    };
    let (mut one, mut two) = (send(), send());
    // The refusal of one request shows that the other request is being carried out. The client of the other
    // request then closes its connection.
    let refused = tokio::select! {
        status = &mut one => { two.abort(); status }
        status = &mut two => { one.abort(); status }
    };
    assert_eq!(refused.unwrap(), 409);
    until_logged(&sandbox, Event::Charged, 1).await;
    assert_eq!(sandbox.status(&id).await, "succeeded");
    sandbox.stop().await;
}

#[tokio::test]
async fn faults_hit_the_share_they_are_told_and_the_same_orders_again() {
    async fn lost_orders() -> Vec<usize> {
        let sandbox = Sandbox::start_with(|options| options.hang = Duration::from_millis(1)).await;
        let faults = json!({"timeout_before_charge": 0.25, "timeout_after_charge": 0.25, "seed": 5});
        assert_eq!(sandbox.faults(faults).await, 200);
        let mut lost = Vec::new();
        for n in 0..60 {
            let id = sandbox.create(&format!("o{n}"), "pm_card_visa").await;
            if sandbox.confirm(&id, &format!("o{n}/confirm")).await.status == 504 {
                lost.push(n);
                // A repeat with the same key is carried out or replayed, and never charges twice.
                while sandbox.confirm(&id, &format!("o{n}/confirm")).await.status == 504 {}
            }
        }
        assert_eq!(sandbox.count(Event::Charged).await, 60);
        sandbox.stop().await;
        lost
    }
    let first = lost_orders().await;
    assert!((15..45).contains(&first.len()), "{first:?}");
    assert_eq!(first, lost_orders().await);
}

#[tokio::test]
async fn an_outage_answers_503_and_begins_nothing() {
    let sandbox = Sandbox::start().await;
    assert_eq!(sandbox.faults(json!({"outage": true})).await, 200);
    assert_eq!(
        sandbox
            .post("/v1/payment_intents", Some("k"), &CREATE)
            .await
            .status,
        503
    );
    assert_eq!(sandbox.get("/v1/payment_intents/pi_x").await.status, 503);
    assert!(sandbox.log().await.is_empty());
    sandbox.no_faults().await;
    let made = sandbox.post("/v1/payment_intents", Some("k"), &CREATE).await;
    assert!(made.status == 200 && !made.replayed);
    assert_eq!(sandbox.faults(json!({"timeout_after_charge": 1.5})).await, 400);
    assert_eq!(sandbox.faults(json!({"timeout_sometimes": 1})).await, 422);
    sandbox.stop().await;
}

#[tokio::test]
async fn lost_answers_of_a_create_are_found_again_by_its_key() {
    let sandbox = Sandbox::start_with(|options| options.hang = Duration::from_millis(1)).await;
    assert_eq!(sandbox.faults(json!({"lost_answer": 1.0})).await, 200);
    assert_eq!(
        sandbox
            .post("/v1/payment_intents", Some("k"), &CREATE)
            .await
            .status,
        504
    );
    let found = sandbox.post("/v1/payment_intents", Some("k"), &CREATE).await;
    assert!(found.replayed);
    assert_eq!(sandbox.count(Event::Created).await, 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn stopping_lets_kept_back_answers_go_and_the_log_stays() {
    let sandbox = Sandbox::start().await;
    let id = sandbox.create("o1", "pm_sandbox_timeout_after_charge").await;
    let request = sandbox.request(&format!("/v1/payment_intents/{id}/confirm"), Some("k"), &[]);
    let waiting = tokio::spawn(async move { request.send().await.unwrap().status() });
    until_logged(&sandbox, Event::Charged, 1).await;
    let path = sandbox.dir.path().join("gateway.jsonl");
    let keep = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(&path, keep.path()).unwrap();
    sandbox.stop().await;
    assert_eq!(waiting.await.unwrap(), 504);
    assert_eq!(std::fs::read_to_string(keep.path()).unwrap().lines().count(), 3);
}
