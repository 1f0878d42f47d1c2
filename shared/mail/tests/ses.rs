//! What is sent to SES, and what its answers mean.
#![cfg(test)]

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sesv2::config::{BehaviorVersion, Region};
use aws_types::SdkConfig;
use mail::SesMail;
use ports::mail::{Mail, MailError, SendMail as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn ses(url: &str) -> SesMail {
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "local", "local", None, None, "tests",
        )))
        .http_client(connector::plain(Duration::from_secs(1)))
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

/// One request to a server with this answer: the request's first line, its body, and the result.
async fn send(status: u16, kind: &'static str, body: &'static str) -> (String, Value, Result<(), MailError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        let (head, body_bytes) = loop {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, sent)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.to_ascii_lowercase();
            let length = length
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            if sent.len() >= length.parse::<usize>().unwrap() {
                break (head.to_owned(), sent.to_owned());
            }
        };
        let answer = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nx-amzn-errortype: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        (
            head.lines().next().unwrap().to_owned(),
            serde_json::from_str(&body_bytes).unwrap(),
        )
    });
    let sent = ses(&url).send(&mail()).await;
    let (first, body) = served.await.unwrap();
    (first, body, sent)
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(ses(&url).send(&mail()).await, Err(MailError::Busy));
}
