//! Secrets Manager.

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use connector::{Failure, Kind};
use ports::secrets::{SecretError, SecretText};

use crate::cached::FetchSecret;
use crate::name::SecretName;

/// The variable that leads the client elsewhere, by the SDKs' rule for names.
pub const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
/// How long a fetch may take, connecting included, in milliseconds. The service answers within some tens; whoever waits has a
/// payment to drive, and fetches again.
pub const FETCH_TIMEOUT_MS: u64 = 800;

/// One secret in Secrets Manager.
#[derive(Debug, Clone)]
pub struct SecretsManager {
    client: Client,
    name: SecretName,
}

impl SecretsManager {
    /// The secret `name`, over what `aws` says of region, credentials and HTTP client. Nothing is sent yet.
    #[must_use]
    pub fn new(aws: &SdkConfig, name: SecretName) -> Self {
        let whole = Duration::from_millis(FETCH_TIMEOUT_MS);
        let config = Builder::from(aws)
            .timeout_config(TimeoutConfig::builder().operation_timeout(whole).build())
            .retry_config(RetryConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(config),
            name,
        }
    }
}

impl FetchSecret for SecretsManager {
    async fn fetch(&self) -> Result<SecretText, SecretError> {
        let request = self.client.get_secret_value().secret_id(&self.name.id);
        let output = request.send().await.map_err(|error| {
            let failure = Failure::logged("GetSecretValue", &self.name.id, &error);
            match failure.kind {
                Kind::NotBuilt | Kind::Refused => SecretError::Missing,
                Kind::NotSent | Kind::Throttled | Kind::InProgress | Kind::Unknown => {
                    SecretError::Unavailable
                }
            }
        })?;
        // A secret may be of bytes instead.
        let text = output.secret_string.ok_or(SecretError::Malformed)?;
        let found = self.name.find_in(SecretText::new(text));
        if found.is_err() {
            tracing::warn!(
                secret = self.name.id,
                "the secret is not in the form that its name says"
            );
        }
        found
    }
}
