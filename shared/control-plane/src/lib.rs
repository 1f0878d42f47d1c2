//! The AWS adapters of pre-scaling's ports.
//!
//! **The problem.** The capacity of a drop lies in five control planes: slow, throttled early, taking one change of a
//! thing at a time, and silent now and then after a change was sent. Whoever reconciles must be told which of these it
//! was, and must never take *accepted* for *there*.
//!
//! **The model.** [`AwsAccount`] implements every port of [`ports::prescale`] but those that keep what runs leave behind:
//!
//! | port | module | calls |
//! |---|---|---|
//! | `ReadDocuments` | `documents` | Parameter Store by path |
//! | `ReadQuotas` | `quotas` | Lambda's account settings, other functions' provisioned concurrency; the document `quotas` for what no call tells |
//! | `Observe` | `observe` | Lambda, RDS, DynamoDB, SQS |
//! | `CarryOut` | `changes` | one change for each [`Step`](domain::prescale::steps::Step) |
//! | `Measure` | `measure` | CloudWatch's metric data |
//! | `MeasureDemand` | `demand` | the same, over the time of a drop |
//! | `WriteProfile` | `profile` | Parameter Store's parameter `profile` |
//! | `CallFunction` | `trial` | Lambda's `Invoke` on the live alias |
//!
//! **Wiring.** A process makes [`Clients`] from one SDK configuration for each [`Service`] (the HTTP client among it), says
//! what things are called in the account ([`Names`], as JSON), under which path the documents are, and how open orders
//! are found (any [`FindDueOrders`]: the DynamoDB adapter's order store):
//!
//! ```ignore
//! let clients = Clients::new(|service| sdk_config(service.endpoint_variable()), Patience::default());
//! let names = Names::from_json(&text)?;
//! let account = AwsAccount::new(clients, names, "/stampede/prescale", order_store);
//! ```
//!
//! ```json
//! {
//!   "alias": "live",
//!   "functions": {
//!     "get-drop": { "name": "stack-GetDrop-1", "trial": "GET /drops/-" },
//!     "process-order": { "name": "stack-ProcessOrder-1", "trial": "batch" }
//!   },
//!   "tables": { "StockTable": "stack-StockTable-1" },
//!   "sources": { "PaymentsQueue": { "mapping": "14e0db71-…", "queue_url": "https://sqs…" } },
//!   "cluster": "ledger"
//! }
//! ```
//!
//! **Documents.** Each is one parameter (`String`, JSON) under the path: `profile`, `baseline`, `budget`, `prices`,
//! `quotas`, and `calendar/ID` for each drop, with moments as in RFC 3339. All mistakes in all of them are told together.
//!
//! **Time.** Reads keep the retries of the configuration; changes are sent once. How long both may take is [`Patience`].
//!
//! **Permissions.** `ssm:GetParametersByPath` and `GetParameter` on the path, and `PutParameter` on its `profile`; of every function in the account
//! `lambda:GetAccountSettings`, `ListFunctions`, `GetFunctionConcurrency` and `ListProvisionedConcurrencyConfigs`; of the
//! baseline's functions `lambda:Get`, `Put` and `DeleteProvisionedConcurrencyConfig`, `PutFunctionConcurrency`,
//! `DeleteFunctionConcurrency`, `InvokeFunction` (of the alias); of its event sources `lambda:GetEventSourceMapping` and
//! `UpdateEventSourceMapping`; of the cluster and its instances `rds:DescribeDBClusters`, `DescribeDBInstances`,
//! `ModifyDBCluster`, `ModifyDBInstance`, `FailoverDBCluster`; of its tables `dynamodb:DescribeTable` and `UpdateTable`; of
//! its queues `sqs:GetQueueAttributes`; and `cloudwatch:GetMetricData`.
//!
//! **What it does not do.** It waits for nothing, decides nothing, and repeats no change.
#![forbid(unsafe_code)]

mod changes;
mod clients;
mod database;
mod demand;
mod documents;
mod error;
mod form;
mod measure;
mod names;
mod observe;
mod paging;
mod profile;
mod quotas;
mod tables;
mod trial;

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ports::orders::FindDueOrders;
use ports::prescale::ControlError;

pub use clients::{Clients, Patience, Service};
pub use names::{FunctionName, Names, NamesError, SourceName, Trial};

/// How many calls to one control plane are under way at the same time: Lambda's takes 15 a second of the whole account.
const AT_ONCE: usize = 4;

/// An account on AWS, in one region.
#[derive(Debug, Clone)]
pub struct AwsAccount<O> {
    pub(crate) clients: Clients,
    pub(crate) names: Arc<Names>,
    pub(crate) documents: Arc<str>,
    pub(crate) orders: O,
    pub(crate) others_provisioned: Arc<quotas::OthersProvisioned>,
}

impl<O: FindDueOrders> AwsAccount<O> {
    /// The account that `clients` reach, with `names` for what is there, documents under the path `documents` (such as
    /// `/stampede/prescale`), and `orders` to find open orders.
    #[must_use]
    pub fn new(clients: Clients, names: Names, documents: &str, orders: O) -> Self {
        Self {
            clients,
            names: Arc::new(names),
            documents: documents.trim_end_matches('/').into(),
            orders,
            others_provisioned: Arc::default(),
        }
    }
}

impl<O> AwsAccount<O> {
    /// A function of the baseline.
    fn function(&self, name: &str) -> Result<&FunctionName, ControlError> {
        let named = self.names.functions.get(name);
        named.ok_or_else(|| ControlError::Broken(format!("no function {name} has a name in the account")))
    }
}

/// The results of all calls, a few of which are under way at the same time.
async fn at_once<T, F>(calls: impl IntoIterator<Item = F>) -> Result<Vec<T>, ControlError>
where
    F: Future<Output = Result<T, ControlError>>,
{
    let calls: Vec<F> = calls.into_iter().collect();
    stream::iter(calls).buffer_unordered(AT_ONCE).try_collect().await
}

/// A count as AWS's answers have it.
fn units(count: Option<i32>) -> u32 {
    u32::try_from(count.unwrap_or(0)).unwrap_or(0)
}

/// A count as AWS's requests take it.
fn count(units: u32) -> i32 {
    i32::try_from(units).unwrap_or(i32::MAX)
}
