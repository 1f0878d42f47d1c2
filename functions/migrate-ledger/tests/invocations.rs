//! Tests the function's event, and its answer without a database. `shared/ledger` tests the migrations with a database.
#![cfg(test)]

use domain::limits::{FunctionLimits, Trigger};
use ledger::{Database, MigrationError, SignIn};
use memory::TestRuntime;
use migrate_ledger::{Answer, Ask, LIMITS, Migration};
use ports::runtime::Clock as _;
use tokio::net::TcpListener;

/// Makes the function for a database on the local port `port`.
fn migration(port: u16) -> Migration<TestRuntime> {
    let address = format!("postgresql://postgres@127.0.0.1:{port}/ledger");
    let database = Database::new(
        address.parse().unwrap(),
        "rds".parse().unwrap(),
        SignIn::nothing(),
    );
    Migration::new(
        database,
        "project_ledger".parse().unwrap(),
        TestRuntime::default(),
    )
}

#[test]
fn its_limits_are_the_templates() {
    let template = include_str!("../../../infra/network-and-database.yaml");
    let template: yaml_serde::Value = yaml_serde::from_str(template).unwrap();
    let function = &template["Resources"]["MigrateLedgerFunction"]["Properties"];
    let number = |name: &str| u32::try_from(function[name].as_u64().unwrap()).unwrap();
    let limits = FunctionLimits {
        timeout_seconds: number("Timeout"),
        memory_mb: number("MemorySize"),
        reserved_concurrency: function
            .get("ReservedConcurrentExecutions")
            .map(|_| number("ReservedConcurrentExecutions")),
        // A deployment invokes the function directly, so the template has no event for it.
        trigger: Trigger::Direct,
    };
    assert_eq!(limits, LIMITS, "template and library");
    assert!(function.get("Events").is_none());
    // A default of Globals would apply where the function has no setting.
    assert!(template.get("Globals").is_none());
}

#[test]
fn it_is_asked_with_an_empty_object_and_nothing_else() {
    let event = include_str!("../events/migrate.json");
    assert_eq!(serde_json::from_str::<Ask>(event).unwrap(), Ask {});
    for other in ["[1]", "\"migrate\"", "{\"Records\": []}"] {
        assert!(serde_json::from_str::<Ask>(other).is_err(), "{other}");
    }
}

#[test]
fn it_answers_with_what_was_applied_and_the_version() {
    let answer = Answer {
        applied: vec!["V1__ledger".to_owned()],
        version: 1,
    };
    let json = serde_json::to_value(answer).unwrap();
    assert_eq!(json, serde_json::json!({"applied": ["V1__ledger"], "version": 1}));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let deadline = TestRuntime::START.plus_millis(LIMITS.timeout_ms());
    let error = migration(port).migrate(deadline).await.unwrap_err();
    assert!(matches!(error, MigrationError::Connect(_)), "{error}");
    assert!(
        error.to_string().starts_with("no connection to the database: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_database_that_says_nothing_is_given_up_before_the_deadline() {
    // The operating system completes TCP connections for a listener that never accepts.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let migration = migration(silent.local_addr().unwrap().port());
    let now = TestRuntime::default().now();
    for ms in [5_200, 1_000, -1_000] {
        let error = migration.migrate(now.plus_millis(ms)).await.unwrap_err();
        assert!(matches!(error, MigrationError::TimedOut), "{error}");
    }
}
