//! The template as the local stack needs it: functions, routes, tables, queues, event sources.
//!
//! [`load`] reads the SAM template, answers its references from [`Surroundings`] and yields a [`Model`]. Physical names
//! follow from the logical ids (`StockTable` → `stock`, `PaymentsDlq` → `payments-dlq`), a function is named after the
//! binary it is built from.

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

/// Everything the template describes that runs locally.
#[derive(Debug, Clone)]
pub struct Model {
    /// Functions, by name.
    pub functions: BTreeMap<String, Function>,
    /// Tables, by name.
    pub tables: BTreeMap<String, Table>,
    /// Queues, by name.
    pub queues: BTreeMap<String, Queue>,
    /// The cross-origin rules of the API, if it has any.
    pub cors: Option<Cors>,
}

/// One function.
#[derive(Debug, Clone)]
pub struct Function {
    /// The binary's name, which is also the local function name.
    pub name: String,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Memory size in MB; only reported to the function and to the meter.
    pub memory_mb: u32,
    /// Environment from the template, resolved.
    pub environment: BTreeMap<String, String>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Its queues.
    pub queues: Vec<QueueSource>,
    /// Its table streams.
    pub streams: Vec<StreamSource>,
    /// Its schedules.
    pub schedules: Vec<Schedule>,
    /// How often a failed asynchronous invocation is tried again; Lambda's default is 2.
    pub async_retries: u32,
    /// Reserved concurrency: processes at most, whatever the stack would let; none reserves nothing.
    pub reserved: Option<usize>,
    /// What its role may do.
    pub statements: Vec<Statement>,
    /// The ARN of the log group that Lambda writes its log to, where the template names one.
    pub log_group: Option<String>,
    /// Whether Lambda makes network interfaces for it.
    pub in_network: bool,
}

impl Function {
    /// Whether it speaks to control planes: to services whose data the stack does not hold itself. `rds-db` is no service that
    /// is called: it says as whom the function may sign in to the database. EC2, logs and S3 are called by Lambda with its role.
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

/// What invokes a function at a rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// How often.
    pub every: Duration,
    /// The event, where the template says it; else EventBridge's own.
    pub input: Option<String>,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Method (or `ANY`) and path with `{name}` parameters.
    Path {
        /// The method in capitals, or `ANY`.
        method: String,
        /// The path.
        path: String,
    },
    /// Whatever no other route matches.
    Default,
}

/// A queue that invokes a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSource {
    /// What the template's reference to the mapping is: the logical ids of function and event together.
    pub id: String,
    /// The queue's name.
    pub queue: String,
    /// Messages per invocation at most.
    pub batch_size: usize,
    /// Invocations at the same time at most.
    pub max_concurrency: usize,
    /// Whether the function names the messages that failed.
    pub partial: bool,
}

/// A table's stream that invokes a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSource {
    /// The table's name.
    pub table: String,
    /// Records per invocation at most.
    pub batch_size: usize,
    /// Batches of different keys at the same time, per shard.
    pub parallelization: usize,
    /// Whether a failing batch is halved.
    pub bisect: bool,
    /// Tries again at most so often; none tries until the records are too old.
    pub max_retries: Option<u32>,
    /// Gives up records that are older; none keeps them while the stream has them.
    pub max_age: Option<Duration>,
    /// Whether the function names the first record that failed.
    pub partial: bool,
    /// Where what was given up goes.
    pub on_failure: Option<OnFailure>,
}

/// Where the records of a stream go that were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// A queue, which is told their place in the stream and not the records.
    Queue(String),
    /// A bucket, which gets the records too.
    Bucket(String),
}

/// One statement of a role's policy. A member that is not known is an error: without it the statement might allow more.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Statement {
    /// `Allow` or `Deny`.
    pub effect: String,
    /// Actions such as `dynamodb:GetItem`.
    pub action: Vec<String>,
    /// The resource's ARN.
    pub resource: String,
    /// Under which conditions: by operator, the values by key.
    #[serde(default)]
    pub condition: BTreeMap<String, BTreeMap<String, String>>,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The members of CreateTable that the template gives, in DynamoDB's JSON.
    pub definition: serde_json::Map<String, serde_json::Value>,
    /// Whether it has a stream.
    pub streamed: bool,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// How long a received message stays invisible.
    pub visibility: Duration,
    /// How long messages are kept.
    pub retention: Duration,
    /// Dead-letter queue and receives before a message goes there.
    pub redrive: Option<(String, u32)>,
}

/// Cross-origin rules, answered by the gateway itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cors {
    /// Origins that may call.
    pub allow_origins: Vec<String>,
    /// Methods they may use.
    pub allow_methods: Vec<String>,
    /// Request headers they may send.
    pub allow_headers: Vec<String>,
    /// Response headers they may read.
    pub expose_headers: Vec<String>,
    /// How long, in seconds, a browser may keep the answer.
    pub max_age: u64,
}

impl Model {
    /// Whether a function runs on a schedule, hence at any time.
    #[must_use]
    pub fn scheduled(&self, function: &str) -> bool {
        self.functions
            .get(function)
            .is_some_and(|f| !f.schedules.is_empty())
    }
}
