//! Tests reads of lists in pages, up to a bound.

use capacity::baseline::Baseline;
use capacity::quotas::Quotas;
use capacity::steps::Step;
use contracts::account::account_fixtures;
use control_plane::Patience;
use memory::MemoryStore;
use ports::prescale::{Carried, CarryOut, ControlError, Observe, ReadDocuments, ReadQuotas, Readable};
use serde_json::{Value, json};

use crate::scripted::account::{account, patient_account, scripted, serverless};
use crate::scripted::answers::{json_error, lambda_error, nothing_provisioned, ok, provisioned, reserved};
use crate::scripted::server::{Answer, Rule, ScriptedServer};

fn baseline() -> Baseline {
    serverless().baseline
}

fn declared(more: Value) -> Answer {
    let mut quotas = json!({
        "provisioned_per_minute": 6_000,
        "api_requests_per_second": 10_000,
        "api_burst": 5_000,
        "table_write_units": 40_000,
        "table_read_units": 40_000,
        "gateway_calls_per_second": 100,
    });
    for (name, value) in more.as_object().unwrap() {
        quotas[name] = value.clone();
    }
    ok(json!({"Parameter": {"Name": "/stampede/prescale/quotas", "Value": quotas.to_string()}}))
}

/// Makes the settings of an account with a concurrency of 1000, of which `unreserved` units are unreserved.
fn settings(unreserved: u32) -> Rule {
    let limit = json!({
        "TotalCodeSize": 1, "CodeSizeUnzipped": 1, "CodeSizeZipped": 1,
        "ConcurrentExecutions": 1_000, "UnreservedConcurrentExecutions": unreserved,
    });
    ("/account-settings", vec![ok(json!({"AccountLimit": limit}))])
}

fn functions(names: &[String], next: Option<&str>) -> Answer {
    let all: Vec<Value> = names.iter().map(|name| json!({"FunctionName": name})).collect();
    let mut page = json!({"Functions": all});
    if let Some(next) = next {
        page["NextMarker"] = json!(next);
    }
    ok(page)
}

fn configs(asked: &[u32], next: Option<&str>) -> Answer {
    let one = |units: &u32| json!({"RequestedProvisionedConcurrentExecutions": units});
    let all: Vec<Value> = asked.iter().map(one).collect();
    let mut page = json!({"ProvisionedConcurrencyConfigs": all});
    if let Some(next) = next {
        page["NextMarker"] = json!(next);
    }
    ok(page)
}

async fn quotas(rules: Vec<Rule>) -> (Result<Readable<Quotas>, ControlError>, ScriptedServer) {
    let server = scripted(rules).await;
    (account(&server).quotas(&baseline()).await, server)
}

/// Of 1000 units 130 are reserved, 20 of them by the baseline's functions. A function without a reservation has
/// provisioned 15 more.
#[tokio::test]
async fn what_others_have_provisioned_counts_unless_it_is_within_their_reservation() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let first = names(&["stack-get-drop", "alone"]);
    let second = names(&["stack-process-order", "within", "idle", "gone"]);
    let rules: Vec<Rule> = vec![
        ("GetParameter", vec![declared(json!({}))]),
        settings(870),
        (
            "alone/provisioned-concurrency",
            vec![configs(&[10], Some("more")), configs(&[5], None)],
        ),
        ("within/provisioned-concurrency", vec![configs(&[40], None)]),
        ("idle/provisioned-concurrency", vec![configs(&[], None)]),
        (
            "gone/provisioned-concurrency",
            vec![lambda_error(404, "ResourceNotFoundException")],
        ),
        ("within/concurrency", vec![reserved(Some(110))]),
        (
            "GET /2015-03-31/functions",
            vec![functions(&first, Some("next")), functions(&second, None)],
        ),
    ];
    let (quotas, server) = quotas(rules).await;
    let quotas = quotas.unwrap().unwrap();
    assert_eq!(quotas.account_concurrency, 1_000);
    assert_eq!(quotas.reserved_by_others, 110 + 15);
    assert_eq!(quotas.concurrency_for_us(), 775);
    assert_eq!(server.requests("get-drop/provisioned-concurrency").len(), 0);
}

#[tokio::test]
async fn what_is_declared_of_others_is_not_asked_for() {
    let rules = vec![
        (
            "GetParameter",
            vec![declared(json!({"provisioned_by_others": 60}))],
        ),
        settings(980),
    ];
    let (quotas, server) = quotas(rules).await;
    assert_eq!(quotas.unwrap().unwrap().reserved_by_others, 60);
    assert_eq!(server.requests("GET /2015-03-31/functions").len(), 0);
}

#[tokio::test]
async fn too_many_others_must_be_declared() {
    let many: Vec<String> = (0..70).map(|n| format!("other-{n}")).collect();
    let rules = vec![
        ("GetParameter", vec![declared(json!({}))]),
        settings(980),
        ("GET /2015-03-31/functions", vec![functions(&many, None)]),
    ];
    let (quotas, server) = quotas(rules).await;
    let mistakes = quotas.unwrap().unwrap_err();
    assert_eq!(mistakes[0].field, "quotas.provisioned_by_others");
    assert_eq!(server.requests("other-").len(), 0);
}

#[tokio::test]
async fn a_limit_that_cannot_be_read_fails_the_look() {
    let throttled = lambda_error(429, "TooManyRequestsException");
    let rules = vec![
        (
            "GetParameter",
            vec![declared(json!({"provisioned_by_others": 0}))],
        ),
        ("/account-settings", vec![throttled]),
    ];
    assert_eq!(quotas(rules).await.0, Err(ControlError::Busy));
    let throttled = json_error(400, "ThrottlingException");
    assert_eq!(
        quotas(vec![("GetParameter", vec![throttled])]).await.0,
        Err(ControlError::Busy)
    );
}

/// An endless list is read up to the bound, and no part of the list is used.
#[tokio::test]
async fn an_endless_list_is_broken() {
    let page = ok(json!({"Parameters": [], "NextToken": "again"}));
    let server = scripted(vec![("GetParametersByPath", vec![page])]).await;
    let outcome = account(&server).documents().await;
    assert!(matches!(outcome, Err(ControlError::Broken(_))), "{outcome:?}");
    assert_eq!(server.requests("GetParametersByPath").len(), 32);
}

/// A part of the calendar must not be used as the calendar.
#[tokio::test]
async fn a_list_that_breaks_off_is_not_used() {
    let first = || ok(json!({"Parameters": [], "NextToken": "next"}));
    for (fault, expected) in [
        (json_error(400, "ThrottlingException"), ControlError::Busy),
        (json_error(500, "InternalServerError"), ControlError::Unknown),
        (Answer::Silence, ControlError::Unknown),
        (Answer::Close, ControlError::Unknown),
    ] {
        let server = scripted(vec![("GetParametersByPath", vec![first(), fault])]).await;
        assert_eq!(account(&server).calendar().await, Err(expected));
    }
}

/// An account with 60 other functions, whose control plane has 10 calls a second left for this process.
async fn large_account() -> ScriptedServer {
    let others: Vec<String> = (0..60).map(|n| format!("other-{n}")).collect();
    let server = scripted(vec![
        ("GetParameter", vec![declared(json!({}))]),
        settings(1_000),
        ("/other-", vec![configs(&[], None)]),
        ("PUT /2019-09-30", vec![provisioned(50, 0, "IN_PROGRESS")]),
        ("/provisioned-concurrency", vec![nothing_provisioned()]),
        ("/concurrency", vec![reserved(None)]),
        ("GET /2015-03-31/functions", vec![functions(&others, None)]),
    ])
    .await;
    server.limit(10.0);
    server
}

/// Lambda's control plane allows 15 calls a second for the whole account (Lambda's guide, "Quotas"), and another client
/// uses a third of these. Reading everything with 70 calls keeps within the rest and is never throttled. A second read
/// needs only a few calls.
#[tokio::test]
async fn a_look_at_a_large_account_keeps_the_pace_of_lambdas_control_plane() {
    let server = large_account().await;
    let account = patient_account(&server, MemoryStore::new(), Patience::default());
    let began = tokio::time::Instant::now();
    let look = async || {
        let quotas = account.quotas(&baseline()).await.unwrap();
        assert_eq!(quotas.unwrap().account_concurrency, 1_000);
        account.observe(&baseline()).await.unwrap();
        server.requests("/").len()
    };
    let calls = look().await;
    assert!(calls >= 65, "{calls} calls");
    // A run has 55 s, of which its changes need a part.
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
    assert_eq!(server.requests("throttled").len(), 0);
    let again = look().await - calls;
    assert!(again < 15, "{again} calls");
}

/// A run at a drop's opening reads the same account, changes the provisioned concurrency of seven functions, and reads
/// the account again, within its 55 s. Each change is sent once, so a throttled change would wait for the next run.
#[tokio::test]
async fn a_run_that_changes_seven_functions_keeps_the_pace() {
    let server = large_account().await;
    let account = patient_account(&server, MemoryStore::new(), Patience::default());
    let began = tokio::time::Instant::now();
    account.quotas(&baseline()).await.unwrap().unwrap();
    account.observe(&baseline()).await.unwrap();
    for to in 50..57 {
        let step = Step::Provision {
            function: account_fixtures::API.to_owned(),
            from: 0,
            to,
        };
        assert_eq!(account.carry_out(&step).await, Ok(Carried::Started));
    }
    account.observe(&baseline()).await.unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(25));
    assert_eq!(server.requests("throttled").len(), 0);
    assert_eq!(server.requests("PUT /2019-09-30").len(), 7);
}
