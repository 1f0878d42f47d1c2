//! Tests the SDK's DynamoDB client over these connectors, against correct and faulty servers.
#![cfg(test)]

mod support;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::list_tables::{ListTablesError, ListTablesOutput};
use support::{Authority, Server};

const CONNECT: Duration = Duration::from_secs(5);
/// The result of one call with the SDK's own retries.
type Outcome = Result<ListTablesOutput, SdkError<ListTablesError>>;

fn client(http: SharedHttpClient, url: String, attempts: u32) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .endpoint_url(url)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(attempts)
                .with_initial_backoff(Duration::from_millis(1)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(Duration::from_millis(500))
                .build(),
        )
        .http_client(http)
        .build();
    Client::from_conf(config)
}

async fn call(client: &Client) -> Outcome {
    client.list_tables().send().await
}

#[tokio::test]
async fn one_connection_serves_all_calls() {
    let server = Server::answering().await;
    let client = client(connector::plain(CONNECT), server.url("http"), 1);
    for _ in 0..5 {
        assert_eq!(call(&client).await.unwrap().table_names(), ["there"]);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests(), 5);
}

#[tokio::test]
async fn what_was_never_sent_is_known_as_such() {
    let url = Server::answering().await.url("http");
    // The server has stopped, so no process listens on its port.
    let error = call(&client(connector::plain(CONNECT), url, 1))
        .await
        .unwrap_err();
    let SdkError::DispatchFailure(failure) = &error else {
        panic!("{error:?}");
    };
    assert!(failure.is_io() && !failure.is_timeout());
}

#[tokio::test]
async fn no_answer_in_time_is_a_time_out_and_not_a_refusal() {
    let server = Server::silent().await;
    let error = call(&client(connector::plain(CONNECT), server.url("http"), 1))
        .await
        .unwrap_err();
    assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_connection_that_ends_before_its_answer_is_tried_again() {
    let server = Server::closing_first(1).await;
    let client = client(connector::plain(CONNECT), server.url("http"), 2);
    assert_eq!(call(&client).await.unwrap().table_names(), ["there"]);
    assert_eq!(server.connections(), 2);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_connection_that_ends_before_its_answer_is_told_where_nothing_is_repeated() {
    let server = Server::closing_first(1).await;
    let error = call(&client(connector::plain(CONNECT), server.url("http"), 1))
        .await
        .unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn after_a_server_error_the_next_attempt_takes_another_connection() {
    let server = Server::failing_first(1).await;
    let client = client(connector::plain(CONNECT), server.url("http"), 2);
    assert_eq!(call(&client).await.unwrap().table_names(), ["there"]);
    assert_eq!(server.connections(), 2);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_server_of_a_trusted_root_is_spoken_to() {
    let authority = Authority::new();
    let server = Server::answering_with(&authority).await;
    let http = connector::secure(CONNECT, &[authority.root().as_bytes()]).unwrap();
    let client = client(http, server.url("https"), 1);
    for _ in 0..2 {
        assert_eq!(call(&client).await.unwrap().table_names(), ["there"]);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_server_of_another_root_is_told_nothing() {
    let server = Server::answering_with(&Authority::new()).await;
    let other = Authority::new();
    let http = connector::secure(CONNECT, &[other.root().as_bytes()]).unwrap();
    let error = call(&client(http, server.url("https"), 1)).await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_secure_client_sends_nothing_in_the_clear() {
    let server = Server::answering().await;
    let http = connector::secure(CONNECT, &[Authority::new().root().as_bytes()]).unwrap();
    assert!(call(&client(http, server.url("http"), 1)).await.is_err());
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_plain_client_does_not_pretend_to_be_secure() {
    let authority = Authority::new();
    let server = Server::answering_with(&authority).await;
    let client = client(connector::plain(CONNECT), server.url("https"), 1);
    assert!(call(&client).await.is_err());
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_root_that_is_none_is_refused() {
    assert!(matches!(
        connector::secure(CONNECT, &[b"not a certificate"]),
        Err(connector::BadTrust::Root)
    ));
}
