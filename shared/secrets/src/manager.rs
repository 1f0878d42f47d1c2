//! Fetches a secret from Secrets Manager.

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use connector::{Failure, Kind};
use ports::secrets::{SecretError, SecretText};

use crate::cached::FetchSecret;
use crate::name::SecretName;

/// The environment variable that replaces the endpoint, named by the rule of the AWS SDKs.
pub const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
/// The time limit of a fetch, connecting included, in milliseconds. The service answers within some tens of
/// milliseconds. The caller processes a payment and retries later.
pub const FETCH_TIMEOUT_MS: u64 = 800;

#[derive(Debug, Clone)]
pub struct SecretsManager {
    client: Client,
    name: SecretName,
}

impl SecretsManager {
    /// The secret `name`. `aws` gives region, credentials and HTTP client. It must send each request once, as
    /// `startup`'s configuration does. No request is sent yet.
    #[must_use]
    pub fn new(aws: &SdkConfig, name: SecretName) -> Self {
        let whole = Duration::from_millis(FETCH_TIMEOUT_MS);
        let config = Builder::from(aws)
            .timeout_config(TimeoutConfig::builder().operation_timeout(whole).build())
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
        // A binary secret has no text.
        let text = output.secret_string.ok_or(SecretError::Malformed)?;
        let found = self.name.find_in(SecretText::new(text));
        if found.is_err() {
            tracing::warn!(
                secret = self.name.id,
                "the secret does not have the form that its name says; correct the secret or its name"
            );
        }
        found
    }
}
