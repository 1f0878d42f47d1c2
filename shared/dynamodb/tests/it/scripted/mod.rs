//! Starts a server that answers each request with its next scripted answer.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
pub(crate) use scripted_http::Answer;
use scripted_http::{Request, Server};

pub(crate) struct ScriptedServer(Server);

impl ScriptedServer {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        Self(Server::in_turn(answers).await)
    }

    /// Makes a client without retries, and with a time limit of 300 ms.
    pub(crate) fn client(&self) -> Client {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(300));
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "tests"))
            .http_client(connector::plain(Duration::from_secs(1)))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build())
            .endpoint_url(&self.0.url)
            .build();
        Client::from_conf(config)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.requests()
    }

    pub(crate) async fn stop(mut self) {
        self.0.stop().await;
    }
}
