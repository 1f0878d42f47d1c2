//! Tests the requests that the adapter sends to Secrets Manager, and its result for each answer.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Region};
use aws_types::SdkConfig;
use aws_types::sdk_config::RetryConfig;
use ports::secrets::SecretError;
use scripted_http::{Answer, Request, Server};
use secrets::{FetchSecret as _, SecretsManager};

/// Sends one request to a server that answers with `status` and `body`; returns the request and the result.
async fn fetch(status: u16, body: &str) -> (Request, Result<String, SecretError>) {
    let kind = ("content-type", "application/x-amz-json-1.1".to_owned());
    let server = Server::always(Answer::Body(status, vec![kind], body.into())).await;
    let found = manager(&server.url).fetch().await;
    let found = found.map(|secret| secret.expose().to_owned());
    (server.requests().swap_remove(0), found)
}

fn manager(url: &str) -> SecretsManager {
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "local", "local", None, None, "tests",
        )))
        .http_client(connector::plain(Duration::from_secs(1)))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    let name = "secretsmanager:stampede/gateway#api_key".parse().unwrap();
    SecretsManager::new(&aws, name)
}

#[tokio::test]
async fn the_member_of_the_secret_is_found() {
    let answer = r#"{"Name": "stampede/gateway", "SecretString": "{\"api_key\": \"k\"}"}"#;
    let (request, found) = fetch(200, answer).await;
    assert_eq!(found, Ok("k".to_owned()));
    assert_eq!(
        request.header("x-amz-target"),
        Some("secretsmanager.GetSecretValue")
    );
    assert_eq!(request.body, r#"{"SecretId":"stampede/gateway"}"#);
}

#[tokio::test]
async fn each_answer_has_one_meaning() {
    for (status, body, meaning) in [
        (
            400,
            r#"{"__type": "AccessDeniedException"}"#,
            SecretError::Missing,
        ),
        (
            400,
            r#"{"__type": "ResourceNotFoundException"}"#,
            SecretError::Missing,
        ),
        (
            400,
            r#"{"__type": "ThrottlingException"}"#,
            SecretError::Unavailable,
        ),
        (
            500,
            r#"{"__type": "InternalServiceError"}"#,
            SecretError::Unavailable,
        ),
        (503, "", SecretError::Unavailable),
        (200, r#"{"SecretBinary": "aw=="}"#, SecretError::Malformed),
        (200, r#"{"SecretString": "k"}"#, SecretError::Malformed),
    ] {
        let (_, found) = fetch(status, body).await;
        assert_eq!(found, Err(meaning), "{status} {body}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_or_says_nothing_is_unavailable() {
    let silent = Server::always(Answer::Silence).await;
    let found = manager(&silent.url).fetch().await;
    assert_eq!(found.unwrap_err(), SecretError::Unavailable);
    let gone = manager(&scripted_http::nobody().await).fetch().await;
    assert_eq!(gone.unwrap_err(), SecretError::Unavailable);
}
