//! Tests the requests that the adapter sends to Parameter Store, and its result for each answer.
#![cfg(test)]

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::RetryConfig;
use parameters::ParameterStore;
use ports::issuers::{ParameterError, ReadParameter as _};
use scripted_http::{Answer, Request, Server};

/// Sends one request to a server that answers with `status` and `body`; returns the request and the result.
async fn read(status: u16, body: &str) -> (Request, Result<String, ParameterError>) {
    let server = Server::always(Answer::text(status, body)).await;
    let found = store(&server.url).parameter("/stampede/dev/shopper-keys").await;
    (server.requests().swap_remove(0), found)
}

fn store(url: &str) -> ParameterStore {
    let credentials = Credentials::new("local", "local", None, None, "tests");
    let aws = SdkConfig::builder()
        .behavior_version(aws_sdk_ssm::config::BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(connector::plain(Duration::from_secs(1)))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    ParameterStore::new(&aws)
}

#[tokio::test]
async fn the_value_of_the_parameter_is_found() {
    let (request, found) = read(200, r#"{"Parameter": {"Value": "{}"}}"#).await;
    assert_eq!(found, Ok("{}".to_owned()));
    assert_eq!(request.header("x-amz-target"), Some("AmazonSSM.GetParameter"));
    assert_eq!(request.body, r#"{"Name":"/stampede/dev/shopper-keys"}"#);
}

#[tokio::test]
async fn each_answer_has_one_meaning() {
    for (status, body, meaning) in [
        (400, r#"{"__type": "ParameterNotFound"}"#, ParameterError::Missing),
        (
            400,
            r#"{"__type": "AccessDeniedException"}"#,
            ParameterError::Missing,
        ),
        (
            400,
            r#"{"__type": "ThrottlingException"}"#,
            ParameterError::Unavailable,
        ),
        (
            500,
            r#"{"__type": "InternalServerError"}"#,
            ParameterError::Unavailable,
        ),
        (503, "", ParameterError::Unavailable),
        (200, "{}", ParameterError::Missing),
    ] {
        let (_, found) = read(status, body).await;
        assert_eq!(found, Err(meaning), "{status} {body}");
    }
}
