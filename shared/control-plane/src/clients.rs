//! Makes two clients for each service: the client for reads repeats them; the client for changes sends each request
//! once.

use std::time::Duration;

use aws_types::SdkConfig;
use aws_types::sdk_config::{RetryConfig, TimeoutConfig};

/// A service that pre-scaling calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Parameter Store: the documents.
    Ssm,
    /// Lambda: concurrency, event sources, trial invocations.
    Lambda,
    /// RDS: the ledger's database.
    Rds,
    /// DynamoDB: warm throughput.
    DynamoDb,
    /// SQS: whether messages wait.
    Sqs,
    /// CloudWatch: reached capacity and spill-over.
    CloudWatch,
}

impl Service {
    pub const ALL: [Self; 6] = [
        Self::Ssm,
        Self::Lambda,
        Self::Rds,
        Self::DynamoDb,
        Self::Sqs,
        Self::CloudWatch,
    ];

    /// The environment variable that replaces the client's endpoint, by AWS's convention.
    #[must_use]
    pub const fn endpoint_variable(self) -> &'static str {
        match self {
            Self::Ssm => "AWS_ENDPOINT_URL_SSM",
            Self::Lambda => "AWS_ENDPOINT_URL_LAMBDA",
            Self::Rds => "AWS_ENDPOINT_URL_RDS",
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            Self::Sqs => "AWS_ENDPOINT_URL_SQS",
            Self::CloudWatch => "AWS_ENDPOINT_URL_CLOUDWATCH",
        }
    }
}

/// Time limits for answers, in milliseconds. Control planes take seconds where databases take milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The time limit for one attempt of a read.
    pub read_ms: u64,
    /// The time limit for a read with its retries.
    pub reads_ms: u64,
    /// The largest number of attempts of a read. The SDK repeats a throttled read alone, and the callers repeat no read.
    /// If they did, a run would have to repeat all its reads.
    pub read_attempts: u32,
    /// The first pause between two attempts of a read; the SDK doubles it, with jitter.
    pub read_backoff_ms: u64,
    /// The time limit for a change, which is sent once. Without an answer in this time, the outcome of the change is
    /// unknown.
    pub change_ms: u64,
    /// The pause between two calls to Lambda's control plane.
    pub lambda_gap_ms: u64,
}

impl Default for Patience {
    /// A run has 55 seconds, and one change takes at most 15 seconds. Lambda's control plane allows 15 calls a second
    /// for the whole account (Lambda's guide, "Quotas"). Deployments and monitoring need some of these calls, so this
    /// process uses 8.
    fn default() -> Self {
        Self {
            read_ms: 5_000,
            reads_ms: 8_000,
            read_attempts: 5,
            read_backoff_ms: 200,
            change_ms: 15_000,
            lambda_gap_ms: 125,
        }
    }
}

/// A service's two clients, which share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Pair<C> {
    pub(crate) reads: C,
    pub(crate) changes: C,
}

impl<C> Pair<C> {
    fn new(config: &SdkConfig, patience: Patience, client: impl Fn(&SdkConfig) -> C) -> Self {
        Self {
            reads: client(&reading(config, patience)),
            changes: client(&changing(config, patience)),
        }
    }
}

/// The configuration of a client for reads, which are retried until the time limit.
fn reading(config: &SdkConfig, patience: Patience) -> SdkConfig {
    let retries = RetryConfig::standard()
        .with_max_attempts(patience.read_attempts)
        .with_initial_backoff(Duration::from_millis(patience.read_backoff_ms));
    limited(config, patience.read_ms, patience.reads_ms, retries)
}

/// The configuration with a pause between two calls, for Lambda's control plane.
fn at_lambdas_pace(config: &SdkConfig, patience: Patience) -> SdkConfig {
    let mut builder = config.to_builder();
    if let Some(client) = config.http_client() {
        let gap = Duration::from_millis(patience.lambda_gap_ms);
        builder = builder.http_client(connector::paced(client, gap));
    }
    builder.build()
}

/// The configuration of a client for changes, which have one attempt. The SDK reports only the last attempt: a
/// throttled second attempt would hide that the first attempt may have been carried out.
fn changing(config: &SdkConfig, patience: Patience) -> SdkConfig {
    let limit_ms = patience.change_ms;
    limited(config, limit_ms, limit_ms, RetryConfig::disabled())
}

/// The configuration with time limits for one attempt and for all attempts. The time limit for connecting stays.
fn limited(config: &SdkConfig, attempt_ms: u64, all_ms: u64, retries: RetryConfig) -> SdkConfig {
    let timeouts = config
        .timeout_config()
        .map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder)
        .operation_attempt_timeout(Duration::from_millis(attempt_ms))
        .operation_timeout(Duration::from_millis(all_ms));
    let builder = config.to_builder().timeout_config(timeouts.build());
    builder.retry_config(retries).build()
}

/// Clients of all services.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) ssm: Pair<aws_sdk_ssm::Client>,
    pub(crate) lambda: Pair<aws_sdk_lambda::Client>,
    pub(crate) rds: Pair<aws_sdk_rds::Client>,
    pub(crate) dynamodb: Pair<aws_sdk_dynamodb::Client>,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
}

impl Clients {
    /// `config` gives each service its configuration: region, credentials, endpoint, HTTP client and time limit for
    /// connecting. `patience` sets all other time limits and overrides the configuration.
    pub fn new(mut config: impl FnMut(Service) -> SdkConfig, patience: Patience) -> Self {
        Self {
            ssm: Pair::new(&config(Service::Ssm), patience, aws_sdk_ssm::Client::new),
            lambda: Pair::new(
                &at_lambdas_pace(&config(Service::Lambda), patience),
                patience,
                aws_sdk_lambda::Client::new,
            ),
            rds: Pair::new(&config(Service::Rds), patience, aws_sdk_rds::Client::new),
            dynamodb: Pair::new(
                &config(Service::DynamoDb),
                patience,
                aws_sdk_dynamodb::Client::new,
            ),
            sqs: aws_sdk_sqs::Client::new(&reading(&config(Service::Sqs), patience)),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&reading(&config(Service::CloudWatch), patience)),
        }
    }
}
