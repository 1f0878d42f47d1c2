//! Tests the outcome of each kind of failure. A scripted server sends the answers, since an emulator does not fail so.

use crate::scripted::{Answer, ScriptedServer};
use contracts::fixtures::{NOW, drop_id, held, key, placing, shopper};
use domain::order::Order;
use dynamodb::{OrderStore, StockStore, Tables};
use ports::orders::{AdvanceOrder, NotPlaced, PlaceOrder, ReadOrder};
use ports::stock::{ClaimStock, Consistency, GiveBackStock, PeekStock, SurveyStock};
use ports::{Conditional, StoreError};
use serde_json::{Value, json};

fn tables() -> Tables {
    Tables {
        stock: "stock".to_owned(),
        purchases: "purchases".to_owned(),
        orders: "orders".to_owned(),
        addresses: "addresses".to_owned(),
        ..Tables::default()
    }
}

fn refusal(status: u16, code: &str) -> Answer {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    Answer::json(status, json!({"__type": kind, "message": "about zoe"}))
}

fn ok(body: Value) -> Answer {
    Answer::json(200, body)
}

/// Makes a claim with these scripted answers. Returns the claim's result and the number of requests.
async fn claim(answers: Vec<Answer>) -> (Result<(), StoreError>, usize) {
    let server = ScriptedServer::start(answers).await;
    let stock = StockStore::new(&server.client(), &tables());
    let outcome = stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 1)).await;
    (outcome.map(drop), server.requests().len())
}

#[tokio::test]
async fn what_was_refused_for_the_moment_is_busy_and_sent_once() {
    for code in [
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "TransactionConflictException",
    ] {
        let outcome = claim(vec![refusal(400, code), ok(json!({}))]).await;
        assert_eq!(outcome, (Err(StoreError::Busy), 1), "{code}");
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_unknown_and_sent_once() {
    for answer in [
        refusal(500, "InternalServerError"),
        refusal(503, "ServiceUnavailable"),
        Answer::json(502, json!("a proxy's page")),
        Answer::text(200, "no JSON"),
        Answer::Close,
        Answer::Silence,
    ] {
        let text = format!("{answer:?}");
        let outcome = claim(vec![answer, ok(json!({}))]).await;
        assert_eq!(outcome, (Err(StoreError::Unknown), 1), "{text}");
    }
}

#[tokio::test]
async fn what_never_works_is_broken_and_quotes_nothing() {
    for code in [
        "ValidationException",
        "AccessDeniedException",
        "ResourceNotFoundException",
    ] {
        let (outcome, requests) = claim(vec![refusal(400, code)]).await;
        let Err(StoreError::Broken(text)) = outcome else {
            panic!("{code}: {outcome:?}");
        };
        assert!(text.contains(code) && !text.contains("zoe"), "{text}");
        assert_eq!(requests, 1);
    }
}

#[tokio::test]
async fn what_was_never_sent_is_busy() {
    let server = ScriptedServer::start(vec![]).await;
    let client = server.client();
    server.stop().await;
    let stock = StockStore::new(&client, &tables());
    let outcome = stock.claim(&key(0), &shopper("ada"), &held("ada", "k", 1)).await;
    assert_eq!(outcome.map(drop), Err(StoreError::Busy));
    let read = stock.peek(&drop_id(), &shopper("ada"), &[key(0)]).await;
    assert_eq!(read.map(drop), Err(StoreError::Busy));
}

/// Makes the answer for a cancelled transaction, with a code for each of its writes.
fn cancelled(reasons: Value) -> Answer {
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    Answer::json(
        400,
        json!({"__type": kind, "Message": "cancelled", "CancellationReasons": reasons}),
    )
}

fn image(order: &Order) -> Value {
    json!({
        "pk": {"S": order.id.as_str()},
        "version": {"N": order.version.to_string()},
        "doc": {"S": serde_json::to_string(order).unwrap()},
    })
}

fn none() -> Value {
    json!({"Code": "None"})
}

fn failed() -> Value {
    json!({"Code": "ConditionalCheckFailed"})
}

#[tokio::test]
async fn a_refused_placing_blames_the_order_then_the_conflict_then_the_hold_then_the_limit() {
    let placing = placing("ada", "k", 2, 3);
    let order = &placing.order;
    let exists = || Ok(Conditional::Refused(NotPlaced::Exists(Box::new(order.clone()))));
    let with_item = json!({"Code": "ConditionalCheckFailed", "Item": image(order)});
    let conflict = || json!({"Code": "TransactionConflict"});
    let throttled = || json!({"Code": "ThrottlingError"});
    let absent = || ok(json!({}));
    let present = || ok(json!({"Item": image(order)}));
    let broken = StoreError::Broken("TransactWriteItems: ValidationError".to_owned());
    let cases = [
        (
            json!([with_item.clone(), failed(), failed(), none()]),
            None,
            exists(),
        ),
        (json!([with_item, conflict(), none(), none()]), None, exists()),
        (
            json!([failed(), failed(), none(), none()]),
            Some(present()),
            exists(),
        ),
        (
            json!([none(), failed(), conflict(), none()]),
            None,
            Err(StoreError::Busy),
        ),
        (
            json!([conflict(), failed(), none(), none()]),
            None,
            Err(StoreError::Busy),
        ),
        (
            json!([none(), none(), throttled(), none()]),
            None,
            Err(StoreError::Busy),
        ),
        (
            json!([none(), none(), none(), {"Code": "ValidationError"}]),
            None,
            Err(broken),
        ),
        (
            json!([none(), failed(), failed(), none()]),
            Some(present()),
            exists(),
        ),
        (
            json!([none(), failed(), failed(), none()]),
            Some(absent()),
            Ok(Conditional::Refused(NotPlaced::HoldChanged)),
        ),
        (
            json!([none(), none(), failed(), none()]),
            Some(absent()),
            Ok(Conditional::Refused(NotPlaced::LimitReached)),
        ),
        (json!([]), Some(absent()), Err(StoreError::Busy)),
    ];
    for (reasons, then, expected) in cases {
        let text = reasons.to_string();
        let requests = 1 + usize::from(then.is_some());
        let server = ScriptedServer::start(std::iter::once(cancelled(reasons)).chain(then).collect()).await;
        let orders = OrderStore::new(&server.client(), &tables());
        assert_eq!(orders.place(&placing).await, expected, "{text}");
        assert_eq!(server.requests().len(), requests, "{text}");
    }
}

#[tokio::test]
async fn a_transaction_whose_earlier_attempt_is_on_its_way_is_unknown() {
    for code in ["TransactionInProgressException", "InternalServerError"] {
        let status = if code.starts_with('T') { 400 } else { 500 };
        let server = ScriptedServer::start(vec![refusal(status, code)]).await;
        let orders = OrderStore::new(&server.client(), &tables());
        let outcome = orders.place(&placing("ada", "k", 2, 3)).await;
        assert_eq!(outcome, Err(StoreError::Unknown));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_step_blames_the_version_before_the_stock() {
    let order = placing("ada", "k", 2, 3).order;
    let step = order.settle(NOW).unwrap();
    let stored = |order: &Order| ok(json!({"Item": image(order)}));
    let refused = || Ok(Conditional::Refused(()));
    let broken = StoreError::Broken("the claim of an open order is not in its shard".to_owned());
    let cases = [
        (json!([failed(), failed()]), None, refused()),
        (
            json!([failed(), {"Code": "TransactionConflict"}]),
            None,
            refused(),
        ),
        (
            json!([none(), {"Code": "TransactionConflict"}]),
            None,
            Err(StoreError::Busy),
        ),
        (json!([none(), failed()]), Some(stored(&step.order)), refused()),
        (json!([none(), failed()]), Some(stored(&order)), Err(broken)),
    ];
    for (reasons, then, expected) in cases {
        let text = reasons.to_string();
        let server = ScriptedServer::start(std::iter::once(cancelled(reasons)).chain(then).collect()).await;
        let orders = OrderStore::new(&server.client(), &tables());
        assert_eq!(orders.advance(&step).await, expected, "{text}");
    }
}

fn shard_item(index: u16) -> Value {
    json!({"pk": {"S": key(index).to_string()}, "a": {"N": "3"}, "f": {"N": "3"}, "s": {"N": "0"}, "c": {"M": {}}})
}

fn unprocessed(indices: &[u16]) -> Value {
    let keys: Vec<Value> = indices
        .iter()
        .map(|n| json!({"pk": {"S": key(*n).to_string()}}))
        .collect();
    json!({"stock": {"Keys": keys}})
}

#[tokio::test]
async fn keys_that_came_back_unprocessed_are_asked_for_again() {
    let server = ScriptedServer::start(vec![
        ok(json!({"Responses": {"stock": [shard_item(1)]}, "UnprocessedKeys": unprocessed(&[0])})),
        ok(json!({"Responses": {"stock": [shard_item(0)]}, "UnprocessedKeys": {}})),
    ])
    .await;
    let stock = StockStore::new(&server.client(), &tables());
    let peek = stock
        .peek(&drop_id(), &shopper("ada"), &[key(0), key(1)])
        .await
        .unwrap();
    let found: Vec<u16> = peek.shards.iter().map(|(key, _)| key.index).collect();
    assert_eq!(found, [0, 1]);
    let again: Value = serde_json::from_str(&server.requests()[1].body).unwrap();
    assert_eq!(
        again["RequestItems"]["stock"]["Keys"],
        unprocessed(&[0])["stock"]["Keys"]
    );
    assert_eq!(again["RequestItems"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn keys_that_stay_unprocessed_are_the_callers_to_wait_for() {
    let nothing = || ok(json!({"Responses": {}, "UnprocessedKeys": unprocessed(&[0])}));
    let server = ScriptedServer::start((0..2).map(|_| nothing()).collect()).await;
    let stock = StockStore::new(&server.client(), &tables());
    let outcome = stock.survey(&[key(0)], Consistency::Eventual).await;
    assert_eq!(outcome, Err(StoreError::Busy));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn each_call_is_the_one_request_it_should_be() {
    let answers = vec![
        ok(json!({})),
        ok(json!({"Responses": {}})),
        ok(json!({})),
        ok(json!({})),
    ];
    let server = ScriptedServer::start(answers).await;
    let (stock, orders) = (
        StockStore::new(&server.client(), &tables()),
        OrderStore::new(&server.client(), &tables()),
    );
    let (ada, hold) = (shopper("ada"), held("ada", "k", 2));
    assert!(stock.claim(&key(0), &ada, &hold).await.unwrap().is_done());
    stock.peek(&drop_id(), &ada, &[key(0), key(1)]).await.unwrap();
    let seen = domain::survey::SeenClaim {
        shard: key(0),
        shopper: ada,
        claim: hold,
    };
    assert!(stock.give_back(&seen).await.unwrap().is_done());
    assert_eq!(orders.order(&placing("ada", "k", 2, 3).order.id).await, Ok(None));
    let requests = server.requests();
    let operations: Vec<&str> = requests.iter().map(|request| request.operation()).collect();
    assert_eq!(
        operations,
        ["UpdateItem", "BatchGetItem", "UpdateItem", "GetItem"]
    );
    let body = |n: usize| serde_json::from_str::<Value>(&requests[n].body).unwrap();
    assert_eq!(body(0)["ReturnValuesOnConditionCheckFailure"], "ALL_OLD");
    let consistent = |n: usize, table: &str| body(n)["RequestItems"][table]["ConsistentRead"].clone();
    assert_eq!(consistent(1, "stock"), json!(false));
    assert_eq!(consistent(1, "purchases"), json!(false));
    assert_eq!(body(3)["ConsistentRead"], true);
}
