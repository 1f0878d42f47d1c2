//! Requests to Secrets Manager, and the mapping of its answers.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Region};
use aws_types::SdkConfig;
use ports::secrets::SecretError;
use secrets::{FetchSecret as _, SecretsManager};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Sends one request to a server that answers with `status` and `body`; returns the request and the result.
async fn fetch(status: u16, body: &'static str) -> (String, Result<String, SecretError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let found = manager(&url).fetch().await;
    (
        served.await.unwrap(),
        found.map(|secret| secret.expose().to_owned()),
    )
}

fn manager(url: &str) -> SecretsManager {
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "local", "local", None, None, "tests",
        )))
        .http_client(connector::plain(Duration::from_secs(1)))
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
    let request = request.to_ascii_lowercase();
    assert!(
        request.contains("x-amz-target: secretsmanager.getsecretvalue"),
        "{request}"
    );
    assert!(
        request.ends_with(r#"{"secretid":"stampede/gateway"}"#),
        "{request}"
    );
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = manager(&url).fetch().await;
    assert_eq!(silent.unwrap_err(), SecretError::Unavailable);
    drop(listener);
    let gone = manager(&url).fetch().await;
    assert_eq!(gone.unwrap_err(), SecretError::Unavailable);
}
