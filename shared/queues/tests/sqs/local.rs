//! Starts one SQS for each test: an embedded server on a free loopback port, called over HTTP.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use hyper_util::rt::TokioIo;
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::service::{SqsHttpConfig, SqsHttpService};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An embedded SQS without queues. The server stops when this value is dropped.
pub(crate) struct LocalSqs {
    pub(crate) client: Client,
    server: JoinHandle<()>,
}

impl Drop for LocalSqs {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Makes a client for a local server, without retries.
pub(crate) fn client(url: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .http_client(connector::plain(std::time::Duration::from_secs(1)))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

impl LocalSqs {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let provider = RustackSqs::new(SqsConfig {
            host: address.ip().to_string(),
            port: address.port(),
            default_region: "eu-central-1".to_owned(),
            ..SqsConfig::default()
        });
        let handler = Arc::new(RustackSqsHandler::new(Arc::new(provider)));
        let service = SqsHttpService::new(handler, SqsHttpConfig::default());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service.clone());
                tokio::spawn(served);
            }
        });
        Self {
            client: client(&format!("http://{address}")),
            server,
        }
    }

    /// Creates a queue and returns its URL.
    pub(crate) async fn queue(&self, name: &str, attributes: &[(QueueAttributeName, &str)]) -> String {
        let mut create = self.client.create_queue().queue_name(name);
        for (attribute, value) in attributes {
            create = create.attributes(attribute.clone(), *value);
        }
        create.send().await.unwrap().queue_url.unwrap()
    }

    pub(crate) async fn arn(&self, url: &str) -> String {
        let name = QueueAttributeName::QueueArn;
        let request = self
            .client
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(name.clone());
        request
            .send()
            .await
            .unwrap()
            .attributes
            .unwrap()
            .remove(&name)
            .unwrap()
    }

    /// Receives up to ten messages, waiting up to `wait_seconds` for the first.
    pub(crate) async fn receive(&self, url: &str, wait_seconds: i32) -> Vec<Message> {
        let request = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .wait_time_seconds(wait_seconds);
        request.send().await.unwrap().messages.unwrap_or_default()
    }

    /// Makes a received message visible immediately, as if its visibility timeout had passed.
    pub(crate) async fn give_back(&self, url: &str, message: &Message) {
        let request = self
            .client
            .change_message_visibility()
            .queue_url(url)
            .visibility_timeout(0);
        let receipt = message.receipt_handle().unwrap();
        request.receipt_handle(receipt).send().await.unwrap();
    }

    pub(crate) async fn delete(&self, url: &str, message: &Message) {
        let request = self.client.delete_message().queue_url(url);
        request
            .receipt_handle(message.receipt_handle().unwrap())
            .send()
            .await
            .unwrap();
    }

    /// Receives and deletes the bodies of `expected` messages, and of any further messages.
    pub(crate) async fn take(&self, url: &str, expected: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let wait_seconds = if bodies.len() < expected { 10 } else { 0 };
            let messages = self.receive(url, wait_seconds).await;
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                self.delete(url, &message).await;
                bodies.push(message.body.unwrap());
            }
        }
    }
}
