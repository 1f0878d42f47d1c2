//! Reads the shop's configuration at run time from AWS Systems Manager Parameter Store.
//!
//! **Why.** A value that a template takes from Parameter Store reaches a function only with the next deployment. Values
//! that the shop changes between deployments, such as the trusted token issuers, are read at run time.
//!
//! **Permissions.** `ssm:GetParameter` on each parameter. Parameters of the type `SecureString` are not read: secrets
//! are in Secrets Manager.
#![forbid(unsafe_code)]

use aws_sdk_ssm::Client;
use aws_types::SdkConfig;
use connector::{Failure, Kind};
use ports::issuers::{ParameterError, ReadParameter};

/// The environment variable that replaces the endpoint, named by the rule of the AWS SDKs.
pub const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_SSM";

#[derive(Debug, Clone)]
pub struct ParameterStore {
    client: Client,
}

impl ParameterStore {
    /// A client of the store. `aws` gives region, credentials, time limits and HTTP client. It must send each request
    /// once, as `startup`'s configuration does. No request is sent yet.
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
