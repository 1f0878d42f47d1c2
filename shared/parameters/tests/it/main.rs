//! Requests to Parameter Store, and the mapping of its answers.
#![cfg(test)]

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use aws_types::region::Region;
use parameters::ParameterStore;
use ports::issuers::{ParameterError, ReadParameter as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Sends one request to a server that answers with `status` and `body`; returns the request and the result.
async fn read(status: u16, body: &'static str) -> (String, Result<String, ParameterError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let found = store(&url).parameter("/stampede/dev/shopper-keys").await;
    (served.await.unwrap(), found)
}

fn store(url: &str) -> ParameterStore {
    let credentials = Credentials::new("local", "local", None, None, "tests");
    let aws = SdkConfig::builder()
        .behavior_version(aws_sdk_ssm::config::BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(connector::plain(Duration::from_secs(1)))
        .endpoint_url(url)
        .build();
    ParameterStore::new(&aws)
}

#[tokio::test]
async fn the_value_of_the_parameter_is_found() {
    let (request, found) = read(200, r#"{"Parameter": {"Value": "{}"}}"#).await;
    assert_eq!(found, Ok("{}".to_owned()));
    assert!(
        request
            .to_ascii_lowercase()
            .contains("x-amz-target: amazonssm.getparameter"),
        "{request}"
    );
    assert!(
        request.ends_with(r#"{"Name":"/stampede/dev/shopper-keys"}"#),
        "{request}"
    );
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
