//! Defines the parsed template: functions, routes, tables, queues, event sources.
//!
//! [`load`] reads the SAM template, resolves its references with [`Surroundings`] and returns a [`Model`]. Physical
//! names are derived from the logical ids (`StockTable` → `stock`, `PaymentsDlq` → `payments-dlq`). A function has the
//! name of its binary.

mod events;
mod read;
mod resolve;

use std::collections::BTreeMap;
use std::time::Duration;

pub use read::load;
pub use resolve::{
    ACCOUNT, REGION, Surroundings, bucket_arn, function_arn, parameter_arn, queue_arn, secret_arn,
    stream_arn, table_arn,
};
use serde::Deserialize;

/// The resources of the template that the local stack runs.
#[derive(Debug, Clone)]
pub struct Model {
    pub functions: BTreeMap<String, Function>,
    pub tables: BTreeMap<String, Table>,
    pub queues: BTreeMap<String, Queue>,
    /// The cross-origin rules of the API, if it has any.
    pub cors: Option<Cors>,
}

#[derive(Debug, Clone)]
pub struct Function {
    /// The binary's name, which is also the local function name.
    pub name: String,
    /// The time limit of an invocation.
    pub timeout: Duration,
    /// The memory size in MB. The stack does not enforce it, and only reports it to the function and the control
    /// planes.
    pub memory_mb: u32,
    /// The environment variables that the template sets, with resolved references.
    pub environment: BTreeMap<String, String>,
    pub routes: Vec<Route>,
    pub queues: Vec<QueueSource>,
    pub streams: Vec<StreamSource>,
    pub schedules: Vec<Schedule>,
    /// How often a failed asynchronous invocation is retried; Lambda's default is 2.
    pub async_retries: u32,
    /// Reserved concurrency: the largest number of processes, even if the stack allows more. `None` reserves nothing.
    pub reserved: Option<usize>,
    /// The policy statements of the function's role.
    pub statements: Vec<Statement>,
    /// The ARN of a log stream in the function's log group, if the template names the group.
    pub log_group: Option<String>,
    /// Whether the function is in a VPC, so that Lambda creates network interfaces for it.
    pub in_network: bool,
}

impl Function {
    /// Whether the function calls control planes, that is, services whose data the stack does not hold. `rds-db` is not
    /// a callable service: it names the database user of the sign-in. Lambda itself calls EC2, logs and S3 with the
    /// function's role.
    #[must_use]
    pub fn needs_control_planes(&self) -> bool {
        let services = ["dynamodb", "ec2", "logs", "rds-db", "s3", "secretsmanager", "sqs"];
        let is_served = |action: &str| {
            let service = action.split(':').next().unwrap_or_default();
            services.contains(&service) || matches!(action, "ses:SendEmail" | "ssm:GetParameter")
        };
        let mut actions = self.statements.iter().flat_map(|statement| &statement.action);
        !actions.all(|action| is_served(action))
    }
}

/// The rate and the input of a schedule that invokes a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub every: Duration,
    /// The event, if the template gives one; else EventBridge's default.
    pub input: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Method (or `ANY`) and path with `{name}` parameters.
    Path {
        /// The method in capitals, or `ANY`.
        method: String,
        path: String,
    },
    /// Every request that no other route matches.
    Default,
}

/// The queue and the batch settings of an event source that invokes a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSource {
    /// The value of the template's reference to the mapping: the logical ids of function and event together.
    pub id: String,
    pub queue: String,
    /// The largest number of messages per invocation.
    pub batch_size: usize,
    /// How long an invocation waits for more messages until the batch is full.
    pub window: Duration,
    /// The largest number of concurrent invocations.
    pub max_concurrency: usize,
    /// Whether the function's answer names the failed messages of a batch.
    pub partial: bool,
}

/// The table and the batch and retry settings of a stream that invokes a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSource {
    pub table: String,
    /// The largest number of records per invocation.
    pub batch_size: usize,
    /// How long records are collected for a batch. The stack does not collect them, and only a test reads this value.
    pub window: Duration,
    /// The largest number of concurrent batches per shard. Concurrent batches have different keys.
    pub parallelization: usize,
    /// Whether a failed batch is halved before it is retried.
    pub bisect: bool,
    /// The largest number of retries; `None` retries until the records are too old.
    pub max_retries: Option<u32>,
    /// The largest age at which a failed record is retried; `None` retries as long as the stream keeps the record.
    pub max_age: Option<Duration>,
    /// Whether the function's answer names the first failed record of a batch.
    pub partial: bool,
    /// The destination of failed records that are no longer retried.
    pub on_failure: Option<OnFailure>,
}

/// The destination of a stream's failed records that are no longer retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// A queue, which gets the records' positions in the stream without the records.
    Queue(String),
    /// A bucket, which gets the records' positions in the stream and the records.
    Bucket(String),
}

/// One statement of a role's policy. An unknown member is an error: if it were ignored, the statement might allow more.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Statement {
    /// `Allow` or `Deny`.
    pub effect: String,
    /// Actions such as `dynamodb:GetItem`.
    pub action: Vec<String>,
    pub resource: String,
    /// The values that conditions compare with, by operator and then by key.
    #[serde(default)]
    pub condition: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    /// The members of CreateTable that the template gives, in DynamoDB's JSON.
    pub definition: serde_json::Map<String, serde_json::Value>,
    pub streamed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    /// The visibility timeout of a received message.
    pub visibility: Duration,
    pub retention: Duration,
    /// The dead-letter queue, and the number of receives before a message moves there.
    pub redrive: Option<(String, u32)>,
}

/// Cross-origin rules, which API Gateway applies without a call of a function.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cors {
    pub allow_origins: Vec<String>,
    pub allow_methods: Vec<String>,
    /// Allowed request headers.
    pub allow_headers: Vec<String>,
    /// Response headers that the origin may read.
    pub expose_headers: Vec<String>,
    /// How long a browser may cache the preflight answer, in seconds.
    pub max_age: u64,
}

impl Model {
    /// Whether a function runs on a schedule.
    #[must_use]
    pub fn scheduled(&self, function: &str) -> bool {
        self.functions
            .get(function)
            .is_some_and(|f| !f.schedules.is_empty())
    }
}
