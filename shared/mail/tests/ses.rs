//! Tests the requests to SES, and the result for each of its answers.
#![cfg(test)]

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sesv2::config::{BehaviorVersion, Region};
use aws_types::SdkConfig;
use aws_types::sdk_config::RetryConfig;
use mail::SesMail;
use ports::mail::{Mail, MailError, SendMail as _};
use scripted_http::{Answer, Server};
use serde_json::{Value, json};

fn ses(url: &str) -> SesMail {
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
    SesMail::new(&aws, "orders@shop.example".to_owned())
}

fn mail() -> Mail {
    Mail {
        to: "ada@example.com".parse().unwrap(),
        subject: "Grüße".to_owned(),
        text: "One\nTwo\n".to_owned(),
    }
}

/// Sends one mail to a server with this answer. Returns the request's first line and body, and the result.
async fn send(status: u16, kind: &str, body: &str) -> (String, Value, Result<(), MailError>) {
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-amzn-errortype", kind.to_owned()),
    ];
    let server = Server::always(Answer::Body(status, headers, body.into())).await;
    let sent = ses(&server.url).send(&mail()).await;
    let requests = server.requests();
    let [request] = requests.as_slice() else {
        panic!("one request: {requests:?}")
    };
    (
        request.line.clone(),
        serde_json::from_str(&request.body).unwrap(),
        sent,
    )
}

#[tokio::test]
async fn a_mail_of_plain_text_is_sent() {
    let (first, body, sent) = send(200, "", r#"{"MessageId": "m"}"#).await;
    assert_eq!(sent, Ok(()));
    assert_eq!(first, "POST /v2/email/outbound-emails HTTP/1.1");
    let text = |data: &str| json!({"Data": data, "Charset": "UTF-8"});
    let expected = json!({
        "FromEmailAddress": "orders@shop.example",
        "Destination": {"ToAddresses": ["ada@example.com"]},
        "Content": {"Simple": {"Subject": text("Grüße"), "Body": {"Text": text("One\nTwo\n")}}},
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn each_answer_has_one_meaning() {
    for (status, kind, meaning) in [
        (429, "TooManyRequestsException", MailError::Busy),
        (400, "LimitExceededException", MailError::Busy),
        (400, "MessageRejected", MailError::Refused),
        (400, "MailFromDomainNotVerifiedException", MailError::Refused),
        (400, "AccountSuspendedException", MailError::Refused),
        (400, "SendingPausedException", MailError::Refused),
        (400, "BadRequestException", MailError::Refused),
        (403, "AccessDeniedException", MailError::Refused),
        (500, "InternalFailure", MailError::Unknown),
        (503, "", MailError::Unknown),
    ] {
        let (_, _, sent) = send(status, kind, r#"{"message": "ada@example.com is not verified"}"#).await;
        assert_eq!(sent, Err(meaning), "{status} {kind}");
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let url = scripted_http::nobody().await;
    assert_eq!(ses(&url).send(&mail()).await, Err(MailError::Busy));
}
