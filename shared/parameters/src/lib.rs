//! The shop's configuration, read at run time from AWS Systems Manager Parameter Store.
//!
//! **Why.** A value that a template takes from Parameter Store reaches a function with its next deployment. What the shop changes between
//! deployments, as who may sign tokens, is read when it is used.
//!
//! **Permissions.** `ssm:GetParameter` on each parameter. Parameters of the type `SecureString` are not read: what is secret stands in
//! Secrets Manager.
#![forbid(unsafe_code)]

use aws_sdk_ssm::Client;
use aws_types::SdkConfig;
use connector::{Failure, Kind};
use ports::issuers::{ParameterError, ReadParameter};

/// The variable that leads the client elsewhere, by the SDKs' rule for names.
pub const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_SSM";

/// Parameter Store.
#[derive(Debug, Clone)]
pub struct ParameterStore {
    client: Client,
}

impl ParameterStore {
    /// The store, over what `aws` says of region, credentials, times and HTTP client. Nothing is sent yet.
    #[must_use]
    pub fn new(aws: &SdkConfig) -> Self {
        Self {
            client: Client::new(aws),
        }
    }
}

impl ReadParameter for ParameterStore {
    async fn parameter(&self, name: &str) -> Result<String, ParameterError> {
        let sent = self.client.get_parameter().name(name).send().await;
        let output = sent.map_err(|error| {
            let failure = Failure::logged("GetParameter", name, &error);
            match failure.kind {
                Kind::NotBuilt | Kind::Refused => ParameterError::Missing,
                Kind::NotSent | Kind::Throttled | Kind::InProgress | Kind::Unknown => {
                    ParameterError::Unavailable
                }
            }
        })?;
        let value = output.parameter.and_then(|parameter| parameter.value);
        value.ok_or(ParameterError::Missing)
    }
}
