//! Prepares the account behind the scripted server, and its documents and steps.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_lambda::config::BehaviorVersion;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::RetryConfig;
use capacity::amounts::{Polling, WarmThroughput};
use capacity::documents::Documents;
use capacity::steps::Step;
use contracts::account::account_fixtures;
use control_plane::{AwsAccount, Clients, Names, Patience};
use memory::MemoryStore;
use serde_json::json;

use crate::scripted::answers::{cluster, instances, nothing_provisioned, ok, reserved, source, table};
use crate::scripted::server::{Rule, ScriptedServer};

const NAMES: &str = r#"{
    "alias": "live",
    "functions": {
        "get-drop": {"name": "stack-get-drop", "trial": "GET /drops/-"},
        "process-order": {"name": "stack-process-order", "trial": "batch"}
    },
    "tables": {"OrdersTable": "stack-orders"},
    "sources": {"PaymentsQueue": {"mapping": "mapping", "queue_url": "https://sqs.invalid/1/payments"}},
    "cluster": "ledger"
}"#;

/// Makes an account whose control planes are a scripted server. A read has two attempts, and time limits are
/// short.
pub(crate) fn account(server: &ScriptedServer) -> AwsAccount<MemoryStore> {
    account_with(server, MemoryStore::new())
}

pub(crate) fn account_with(server: &ScriptedServer, orders: MemoryStore) -> AwsAccount<MemoryStore> {
    let patience = Patience {
        read_ms: 300,
        reads_ms: 1_000,
        read_attempts: 2,
        read_backoff_ms: 1,
        change_ms: 300,
        lambda_gap_ms: 0,
    };
    patient_account(server, orders, patience)
}

pub(crate) fn patient_account(
    server: &ScriptedServer,
    orders: MemoryStore,
    patience: Patience,
) -> AwsAccount<MemoryStore> {
    let credentials = Credentials::new("key", "secret", None, None, "tests");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(connector::plain(std::time::Duration::from_secs(5)))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SharedTimeSource::new(SystemTimeSource::new()))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(2)
                .with_initial_backoff(Duration::from_millis(1)),
        )
        .endpoint_url(&server.url)
        .build();
    let clients = Clients::new(|_| config.clone(), patience);
    AwsAccount::new(
        clients,
        Names::from_json(NAMES).unwrap(),
        "/stampede/prescale",
        orders,
    )
}

/// Starts a server that answers as an account at the baseline. `rules` take precedence over the baseline's
/// answers.
pub(crate) async fn scripted(rules: Vec<Rule>) -> ScriptedServer {
    let mut all = rules;
    let capacity = Some((2.0, 64.0));
    let small = |name| (name, account_fixtures::SMALL, "available", None);
    let three = [small("one"), small("two"), small("three")];
    all.extend([
        ("provisioned-concurrency", vec![nothing_provisioned()]),
        ("stack-process-order/concurrency", vec![reserved(Some(20))]),
        ("/concurrency", vec![reserved(None)]),
        (
            "event-source-mappings",
            vec![source(
                "Enabled",
                json!({"ScalingConfig": {"MaximumConcurrency": 10}}),
            )],
        ),
        (
            "DescribeTable",
            vec![table("ACTIVE", "ACTIVE", "ACTIVE", "ACTIVE")],
        ),
        ("DescribeDBClusters", vec![cluster("available", "one", capacity)]),
        ("DescribeDBInstances", vec![instances(&three, None)]),
        (
            "GetQueueAttributes",
            vec![ok(json!({"Attributes": {
                "ApproximateNumberOfMessages": "0",
                "ApproximateNumberOfMessagesNotVisible": "0",
                "ApproximateNumberOfMessagesDelayed": "0",
            }}))],
        ),
    ]);
    ScriptedServer::start(all).await
}

pub(crate) fn serverless() -> Documents {
    account_fixtures::serverless()
}

pub(crate) fn provisioned() -> Documents {
    account_fixtures::provisioned(["one", "two", "three"])
}

/// One step of each kind, with the operation that carries it out.
pub(crate) fn every_step() -> Vec<(&'static str, Step)> {
    let function = || account_fixtures::API.to_owned();
    let poll = |to| Step::Poll {
        source: account_fixtures::SOURCE.to_owned(),
        from: to,
        to,
    };
    vec![
        (
            "PUT /2017-10-31/functions/stack-get-drop/concurrency",
            Step::Reserve {
                function: function(),
                from: None,
                to: Some(50),
            },
        ),
        (
            "DELETE /2017-10-31/functions/stack-get-drop/concurrency",
            Step::Reserve {
                function: function(),
                from: Some(50),
                to: None,
            },
        ),
        (
            "PUT /2019-09-30/functions/stack-get-drop/provisioned-concurrency",
            Step::Provision {
                function: function(),
                from: 0,
                to: 50,
            },
        ),
        (
            "DELETE /2019-09-30/functions/stack-get-drop/provisioned-concurrency",
            Step::Provision {
                function: function(),
                from: 50,
                to: 0,
            },
        ),
        ("ModifyDBCluster", Step::SetMinimumAcu { from: 2.0, to: 16.0 }),
        (
            "ModifyDBInstance",
            Step::ChangeClass {
                instance: "two".to_owned(),
                from: account_fixtures::SMALL.to_owned(),
                to: account_fixtures::LARGE.to_owned(),
                interrupts: false,
            },
        ),
        (
            "FailoverDBCluster",
            Step::FailOver {
                from: "one".to_owned(),
                to: "two".to_owned(),
            },
        ),
        (
            "UpdateTable",
            Step::Warm {
                table: account_fixtures::TABLE.to_owned(),
                from: account_fixtures::NEW_TABLE,
                to: WarmThroughput {
                    write_units: 6_000,
                    read_units: 12_000,
                },
            },
        ),
        (
            "PUT /2015-03-31/event-source-mappings/mapping",
            poll(Polling::MaximumConcurrency(20)),
        ),
        (
            "PUT /2015-03-31/event-source-mappings/mapping",
            poll(Polling::ProvisionedPollers {
                minimum: 5,
                maximum: 30,
            }),
        ),
    ]
}
