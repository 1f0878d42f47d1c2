//! Runs shoppers against an API with scripted answers, and checks their requests and the journal's entries.

use std::sync::Arc;

use crate::support::{Log, Seen, bearer, drop_file, serve, shopper, world};
use api::problem::Code;
use loadtest::behaviour::{AfterReserving, Plan};
use loadtest::facts::{Ending, Entry};
use loadtest::shopper::Shopper;
use loadtest::world::World;
use serde_json::{Value, json};
use tokio::time::Instant;

const SKU: &str = "NR-BLACK";
const RESERVATION: &str = "d.NR-BLACK.0.abcdefghij";
const AT: &str = "2027-01-15T08:00:00.000Z";

fn status(availability: &str) -> Value {
    json!({
        "drop_id": "d", "phase": "open", "as_of": AT, "server_time": AT, "starts_at": AT, "ends_at": "2027-01-15T08:01:15.000Z",
        "skus": [{"sku": SKU, "availability": availability, "free": 1, "in_payment": 0}], "message": null, "next_poll_seconds": 1
    })
}

fn reservation() -> Value {
    let price = json!({"amount_minor": 14_900, "currency": "EUR"});
    json!({
        "reservation_id": RESERVATION, "drop_id": "d", "sku": SKU, "quantity": 1, "status": "held",
        "expires_at": "2027-01-15T08:00:15.000Z", "price": price, "amount": price
    })
}

fn order(status: &str, action: Value) -> Value {
    json!({
        "order_id": format!("o{}", "a".repeat(26)), "reservation_id": RESERVATION, "drop_id": "d", "sku": SKU, "quantity": 1,
        "amount": {"amount_minor": 14_900, "currency": "EUR"}, "status": status, "reason": null, "cancel_requested": false,
        "action": action, "payment_deadline": "2027-01-15T08:00:30.000Z", "placed_at": AT, "updated_at": AT
    })
}

fn problem(status: u16, code: &str, more: Value) -> (u16, String) {
    let mut problem = json!({"type": "t", "title": "t", "status": status, "code": code, "detail": "d"});
    problem
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    (status, problem.to_string())
}

/// Runs one shopper against an API with the answers of `script`. Returns the requests, the journal's entries, and
/// an unexpected answer, if there was one.
async fn visit(
    script: impl Fn(&Seen, usize) -> (u16, String) + Clone + Send + Sync + 'static,
    change: impl FnOnce(&mut Plan),
) -> (Vec<Seen>, Vec<Entry>, Option<String>) {
    let log_of_script: Log = Log::default();
    let (url, log) = serve(move |seen, _| {
        // The script receives the number of requests so far with the same method and path, this request included.
        let mut past = log_of_script.lock().unwrap();
        past.push(seen.clone());
        let times = past
            .iter()
            .filter(|s| (&s.method, &s.path) == (&seen.method, &seen.path))
            .count();
        let answer = script(&seen, times);
        async move { answer }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let world: Arc<World> = world(&url, folder.path(), drop_file());
    let mut plan = shopper(&world, 1);
    change(&mut plan);
    let surprise = Shopper::new(Arc::clone(&world), plan, bearer())
        .visit(Instant::now())
        .await;
    let entries = world.journal.finish().unwrap();
    let seen = log.lock().unwrap().clone();
    (seen, entries, surprise)
}

fn ending(entries: &[Entry]) -> Ending {
    match entries.last() {
        Some(Entry::Ended(ended)) => ended.ending,
        other => panic!("the last entry is {other:?}"),
    }
}

fn sent<'a>(seen: &'a [Seen], method: &str, path: &str) -> Vec<&'a Seen> {
    seen.iter()
        .filter(|s| s.method == method && s.path.ends_with(path))
        .collect()
}

#[tokio::test]
async fn a_buyer_retries_with_the_same_key_and_follows_the_order() {
    let script = |seen: &Seen, times: usize| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/drops/d/status") => (200, status("available").to_string()),
        ("POST", "/drops/d/reservations") if times < 3 => problem(503, "throttled", json!({})),
        ("POST", "/drops/d/reservations") => (201, reservation().to_string()),
        ("POST", "/orders") if times < 2 => (500, "{\"message\":\"Internal Server Error\"}".to_owned()),
        ("POST", "/orders") => (202, order("placed", Value::Null).to_string()),
        ("GET", _) if times < 2 => (200, order("placed", Value::Null).to_string()),
        _ => (200, order("paid", Value::Null).to_string()),
    };
    let (seen, entries, surprise) = visit(script, |_| {}).await;
    assert_eq!(ending(&entries), Ending::Bought);
    assert_eq!(surprise, None);
    let tries = sent(&seen, "POST", "/reservations");
    assert_eq!(tries.len(), 3);
    assert!(
        tries
            .iter()
            .all(|t| t.key == tries[0].key && t.key.is_some() && t.body == tries[0].body)
    );
    let checkouts = sent(&seen, "POST", "/orders");
    assert_eq!(checkouts.len(), 2);
    assert!(
        checkouts
            .iter()
            .all(|c| c.key == checkouts[0].key && c.key != tries[0].key)
    );
    assert!(
        seen.iter()
            .filter(|s| s.method == "POST")
            .all(|s| s.bearer.as_deref() == Some("Bearer t"))
    );
    let kinds: Vec<bool> = entries
        .iter()
        .map(|e| matches!(e, Entry::Reserved(_) | Entry::Ordered(_)))
        .collect();
    assert_eq!(kinds.iter().filter(|k| **k).count(), 2, "{entries:?}");
}

#[tokio::test]
async fn a_double_click_sends_the_same_key_twice_and_one_visit_goes_on() {
    let script = |seen: &Seen, _| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/drops/d/status") => (200, status("available").to_string()),
        ("POST", "/drops/d/reservations") => (201, reservation().to_string()),
        _ => (202, order("paid", Value::Null).to_string()),
    };
    let (seen, entries, _) = visit(script, |plan| {
        plan.double_click_reserving = true;
        plan.double_click_ordering = true;
    })
    .await;
    assert_eq!(ending(&entries), Ending::Bought);
    for path in ["/reservations", "/orders"] {
        let twice = sent(&seen, "POST", path);
        assert_eq!(twice.len(), 2, "{path}");
        assert_eq!(twice[0].key, twice[1].key);
    }
    let noted = entries.iter().filter(|e| matches!(e, Entry::Ordered(_))).count();
    assert_eq!(noted, 2, "both answers are promises");
}

#[tokio::test]
async fn gone_ends_the_visit_and_all_held_does_so_only_without_patience() {
    let gone = |_: &Seen, _| (200, status("gone").to_string());
    let (seen, entries, _) = visit(gone, |_| {}).await;
    assert_eq!(ending(&entries), Ending::Gone);
    assert_eq!(seen.len(), 1);
    let held = |_: &Seen, _| (200, status("all_held").to_string());
    let (seen, entries, _) = visit(held, |plan| plan.looks = 0).await;
    assert_eq!(ending(&entries), Ending::Impatient);
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn who_finds_the_first_wish_gone_asks_for_the_second_even_without_patience() {
    let script = |seen: &Seen, times| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/drops/d/status") => (200, status("available").to_string()),
        ("POST", "/drops/d/reservations") if times == 1 => {
            problem(409, "sold_out", json!({"availability": "gone"}))
        }
        ("POST", "/drops/d/reservations") => (201, reservation().to_string()),
        _ => (204, String::new()),
    };
    let (seen, entries, _) = visit(script, |plan| {
        plan.second_sku = Some(0);
        plan.looks = 0;
        plan.after_reserving = AfterReserving::Release;
    })
    .await;
    assert_eq!(ending(&entries), Ending::Released);
    assert_eq!(sent(&seen, "POST", "/reservations").len(), 2);
}

#[tokio::test]
async fn fewer_left_is_taken_by_those_who_take_fewer() {
    let script = |seen: &Seen, _| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/drops/d/status") => (200, status("available").to_string()),
        ("POST", "/drops/d/reservations") if seen.body.contains("\"quantity\":2") => {
            problem(409, "fewer_left", json!({"available": 1}))
        }
        ("POST", "/drops/d/reservations") => (201, reservation().to_string()),
        _ => (204, String::new()),
    };
    let (seen, entries, _) = visit(script, |plan| {
        plan.quantity = 2;
        plan.takes_fewer = true;
        plan.after_reserving = AfterReserving::Release;
    })
    .await;
    assert_eq!(ending(&entries), Ending::Released);
    let tries = sent(&seen, "POST", "/reservations");
    assert_ne!(tries[0].key, tries[1].key, "another wish is another request");
    assert_eq!(sent(&seen, "DELETE", RESERVATION).len(), 1);
    assert!(entries.iter().any(|e| matches!(e, Entry::Released { .. })));
    let (_, entries, _) = visit(script, |plan| {
        plan.quantity = 2;
        plan.takes_fewer = false;
    })
    .await;
    assert_eq!(ending(&entries), Ending::DidNotWantFewer);
}

#[tokio::test]
async fn the_bank_is_answered_where_the_order_says() {
    let script = |seen: &Seen, _| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/drops/d/status") => (200, status("available").to_string()),
        ("POST", "/drops/d/reservations") => (201, reservation().to_string()),
        ("POST", "/orders") => {
            let host = "http://127.0.0.1:1/bank";
            (
                202,
                order("action_required", json!({"url": host, "deadline": AT})).to_string(),
            )
        }
        _ => (200, order("paid", Value::Null).to_string()),
    };
    let (_, entries, _) = visit(script, |plan| {
        plan.card = loadtest::behaviour::Card::ActionIgnored
    })
    .await;
    assert_eq!(ending(&entries), Ending::Bought, "an ignored bank is not called");
}

#[tokio::test]
async fn a_refused_checkout_is_noted_for_the_audit() {
    let script = |seen: &Seen, _| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/drops/d/status") => (200, status("available").to_string()),
        ("POST", "/drops/d/reservations") => (201, reservation().to_string()),
        _ => problem(409, "reservation_expired", json!({})),
    };
    let (_, entries, surprise) = visit(script, |_| {}).await;
    assert_eq!(ending(&entries), Ending::HoldExpired);
    assert_eq!(surprise, None);
    let refused = entries.iter().find_map(|e| match e {
        Entry::CheckoutRefused(refused) => Some(refused.clone()),
        _ => None,
    });
    assert_eq!(refused.unwrap().code, Some(Code::ReservationExpired));
}

#[tokio::test]
async fn an_answer_the_api_does_not_promise_is_reported() {
    let script = |seen: &Seen, _| match seen.method.as_str() {
        "GET" => (200, status("available").to_string()),
        _ => problem(400, "invalid_request", json!({})),
    };
    let (_, entries, surprise) = visit(script, |_| {}).await;
    assert_eq!(ending(&entries), Ending::Unexpected);
    assert!(surprise.unwrap().contains("invalid_request"));
}
