//! Tests reads of resources that are incomplete, failed, or silent.

use capacity::amounts::Polling;
use capacity::observed::{Allocation, ObservedFunction};
use capacity::readiness::Seen;
use contracts::account::account_fixtures::{API, SOURCE, TABLE};
use contracts::fixtures::{held, key, placing, shopper};
use memory::{Fault, MemoryStore, Op};
use ports::orders::PlaceOrder;
use ports::prescale::{CallFunction, ControlError, Observe};
use ports::stock::{AllocateStock, ClaimStock};
use serde_json::json;

use crate::scripted::account::{account, account_with, scripted, serverless};
use crate::scripted::answers::{json_error, lambda_error, ok, provisioned, source, table};
use crate::scripted::server::{Answer, Rule, ScriptedServer};

async fn look(rules: Vec<Rule>) -> Result<Seen, ControlError> {
    let server = scripted(rules).await;
    account(&server).observe(&serverless().baseline).await
}

async fn function(answer: Answer) -> ObservedFunction {
    let rule = ("stack-get-drop/provisioned-concurrency", vec![answer]);
    look(vec![rule]).await.unwrap().observed.function(API)
}

#[tokio::test]
async fn what_lambda_says_is_not_what_is_there() {
    for (asked, allocated, status, allocation) in [
        (100, 100, "READY", Allocation::Ready),
        (100, 0, "IN_PROGRESS", Allocation::InProgress),
        (100, 40, "IN_PROGRESS", Allocation::InProgress),
        // Everything is allocated, but Lambda does not report it as ready.
        (100, 100, "IN_PROGRESS", Allocation::InProgress),
        (100, 40, "FAILED", Allocation::Failed),
        (100, 100, "A_WORD_OF_TOMORROW", Allocation::InProgress),
    ] {
        let there = function(provisioned(asked, allocated, status)).await;
        assert_eq!(there.asked.provisioned, asked, "{status}");
        assert_eq!(there.allocated, allocated, "{status}");
        assert_eq!(there.allocation, allocation, "{status}");
    }
}

/// A function without provisioned concurrency and a missing function have the same status code.
#[tokio::test]
async fn a_missing_function_is_told_from_one_with_nothing_provisioned() {
    assert_eq!(
        function(crate::scripted::answers::nothing_provisioned()).await,
        ObservedFunction::default()
    );
    for key in [
        "stack-get-drop/provisioned-concurrency",
        "stack-get-drop/concurrency",
    ] {
        let missing = lambda_error(404, "ResourceNotFoundException");
        let seen = look(vec![(key, vec![missing])]).await;
        assert!(matches!(seen, Err(ControlError::Broken(_))), "{key}: {seen:?}");
    }
}

#[tokio::test]
async fn pollers_are_seen_and_an_event_source_that_changes_is_inactive() {
    let pollers = json!({"ProvisionedPollerConfig": {"MinimumPollers": 5, "MaximumPollers": 30}});
    let expected = Polling::ProvisionedPollers {
        minimum: 5,
        maximum: 30,
    };
    for (state, active) in [
        ("Enabled", true),
        ("Updating", false),
        ("Creating", false),
        ("Disabled", false),
    ] {
        let rule = ("event-source-mappings", vec![source(state, pollers.clone())]);
        let seen = look(vec![rule]).await.unwrap();
        assert_eq!(seen.observed.queues[SOURCE], expected);
        assert_eq!(seen.inactive_sources.contains(SOURCE), !active, "{state}");
    }
}

#[tokio::test]
async fn a_table_is_active_when_all_of_it_is() {
    for states in [
        ["UPDATING", "ACTIVE", "ACTIVE", "ACTIVE"],
        ["ACTIVE", "UPDATING", "ACTIVE", "ACTIVE"],
        ["ACTIVE", "ACTIVE", "UPDATING", "ACTIVE"],
        ["ACTIVE", "ACTIVE", "ACTIVE", "UPDATING"],
        ["ACTIVE", "ACTIVE", "ACTIVE", "ACTIVE"],
    ] {
        let [a, b, c, d] = states;
        let seen = look(vec![("DescribeTable", vec![table(a, b, c, d)])])
            .await
            .unwrap();
        let active = !states.contains(&"UPDATING");
        assert_eq!(seen.inactive_tables.contains(TABLE), !active, "{states:?}");
    }
}

/// Unlike changes, reads are repeated as often as `Patience` allows; then the error is returned.
#[tokio::test]
async fn a_look_is_repeated_once_and_then_fails_as_it_failed() {
    let faults = || {
        [
            (lambda_error(429, "TooManyRequestsException"), ControlError::Busy),
            (lambda_error(500, "ServiceException"), ControlError::Unknown),
            (Answer::Silence, ControlError::Unknown),
        ]
    };
    const KEY: &str = "event-source-mappings";
    for (fault, _) in faults() {
        let good = source("Enabled", json!({"ScalingConfig": {"MaximumConcurrency": 10}}));
        let server = scripted(vec![(KEY, vec![fault, good])]).await;
        let seen = account(&server).observe(&serverless().baseline).await;
        assert!(seen.is_ok(), "{seen:?}");
        assert_eq!(server.requests(KEY).len(), 2);
    }
    for (fault, expected) in faults() {
        let server = scripted(vec![(KEY, vec![fault])]).await;
        let seen = account(&server).observe(&serverless().baseline).await;
        assert_eq!(seen, Err(expected));
        assert_eq!(server.requests(KEY).len(), 2);
    }
}

async fn draining(server: &ScriptedServer, orders: MemoryStore) -> bool {
    let seen = account_with(server, orders).observe(&serverless().baseline).await;
    seen.unwrap().observed.orders_draining
}

#[tokio::test]
async fn orders_are_on_their_way_wherever_they_are_and_when_nobody_can_tell() {
    let quiet = scripted(vec![]).await;
    assert!(!draining(&quiet, MemoryStore::new()).await);
    for counted in [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ] {
        let mut counts = json!({
            "ApproximateNumberOfMessages": "0",
            "ApproximateNumberOfMessagesNotVisible": "0",
            "ApproximateNumberOfMessagesDelayed": "0",
        });
        counts[counted] = json!("1");
        let server = scripted(vec![(
            "GetQueueAttributes",
            vec![ok(json!({"Attributes": counts}))],
        )])
        .await;
        assert!(draining(&server, MemoryStore::new()).await, "{counted}");
    }
    for silent in [
        ok(json!({})),
        json_error(400, "QueueDoesNotExist"),
        json_error(403, "AccessDenied"),
        Answer::Close,
    ] {
        let server = scripted(vec![("GetQueueAttributes", vec![silent])]).await;
        assert!(draining(&server, MemoryStore::new()).await);
    }
}

#[tokio::test]
async fn an_open_order_is_on_its_way_whenever_it_is_due() {
    let quiet = scripted(vec![]).await;
    let orders = MemoryStore::new();
    assert!(orders.allocate(&key(0), 10).await.unwrap().is_done());
    let claimed = orders.claim(&key(0), &shopper("ada"), &held("ada", "k", 1)).await;
    assert!(claimed.is_ok(), "{claimed:?}");
    assert!(!draining(&quiet, orders.clone()).await);
    orders.place(&placing("ada", "k", 1, 4)).await.unwrap();
    assert!(draining(&quiet, orders).await);
    let silent = MemoryStore::new();
    silent.fail_next(Op::DueOrders, Fault::Broken);
    assert!(draining(&quiet, silent.clone()).await);
    assert!(!draining(&quiet, silent).await);
}

async fn call(answer: Answer) -> Result<bool, ControlError> {
    let server = scripted(vec![("/invocations", vec![answer])]).await;
    account(&server).answers(API).await
}

#[tokio::test]
async fn a_trial_call_tells_a_refusal_from_an_error() {
    let http = |status: u16| ok(json!({"statusCode": status, "body": "{}"}));
    assert_eq!(call(http(404)).await, Ok(true));
    assert_eq!(call(http(503)).await, Ok(false));
    let headers = vec![("x-amz-function-error", "Unhandled".to_owned())];
    let failed = Answer::Body(200, headers, br#"{"statusCode":200}"#.to_vec());
    assert_eq!(call(failed).await, Ok(false));
    let throttled = lambda_error(429, "TooManyRequestsException");
    assert_eq!(call(throttled).await, Err(ControlError::Busy));
    let not_ready = lambda_error(502, "ResourceNotReadyException");
    assert_eq!(call(not_ready).await, Err(ControlError::InProgress));
    assert_eq!(call(Answer::Silence).await, Err(ControlError::Unknown));
    let missing = call(lambda_error(404, "ResourceNotFoundException")).await;
    assert!(matches!(missing, Err(ControlError::Broken(_))), "{missing:?}");
}

#[tokio::test]
async fn a_trial_call_goes_to_the_live_alias_and_carries_no_token() {
    let answer = ok(json!({"statusCode": 404}));
    let server = scripted(vec![("/invocations", vec![answer])]).await;
    assert_eq!(account(&server).answers(API).await, Ok(true));
    let sent = &server.requests("/invocations")[0];
    assert!(
        sent.operation
            .contains("stack-get-drop/invocations?Qualifier=live"),
        "{sent:?}"
    );
    let event: serde_json::Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(event["rawPath"], "/drops/-");
    assert_eq!(event["requestContext"]["http"]["method"], "GET");
    assert!(event["headers"].get("authorization").is_none());
}
