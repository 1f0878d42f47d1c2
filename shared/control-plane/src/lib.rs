//! Implements pre-scaling's ports on AWS.
//!
//! **The problem.** Five control planes hold a drop's capacity. They are slow, allow few calls a second, accept one
//! change of a resource at a time, and sometimes do not answer after a change was sent. The reconciler must know which
//! of these happened, and must not confuse *accepted* with *complete*.
//!
//! **The model.** [`AwsAccount`] implements every port of [`ports::prescale`] except those that store the results of
//! runs:
//!
//! | port | module | calls |
//! |---|---|---|
//! | `ReadDocuments` | `documents` | Parameter Store by path |
//! | `ReadQuotas` | `quotas` | Lambda's settings of account and functions; the document `quotas` for all other limits |
//! | `Observe` | `observe` | Lambda, RDS, DynamoDB, SQS |
//! | `CarryOut` | `changes` | one change for each [`Step`](capacity::steps::Step) |
//! | `Measure` | `measure` | CloudWatch's metric data |
//! | `MeasureDemand` | `demand` | CloudWatch's metric data over the time of a drop |
//! | `WriteProfile` | `profile` | Parameter Store's parameter `profile` |
//! | `CallFunction` | `trial` | Lambda's `Invoke` on the live alias |
//!
//! **Wiring.** A process makes [`Clients`] from one SDK configuration for each [`Service`] (including the HTTP client).
//! It passes the names of resources in the account ([`Names`], as JSON), the path of the documents, and a way to find
//! open orders (any [`FindDueOrders`]: the DynamoDB adapter's order store):
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
//! **Documents.** Each document is one parameter (`String`, JSON) under the path: `profile`, `baseline`, `budget`,
//! `prices`, `quotas`, and `calendar/ID` for each drop, with moments in RFC 3339. All mistakes in all documents are
//! reported together.
//!
//! **Time.** The SDK repeats reads; changes are sent once. [`Patience`] has the time limits of both, and the number of
//! attempts of a read.
//!
//! **Permissions.** `ssm:GetParametersByPath` and `GetParameter` on the path, and `PutParameter` on its `profile`; of
//! every function in the account `lambda:GetAccountSettings`, `ListFunctions`, `GetFunctionConcurrency` and
//! `ListProvisionedConcurrencyConfigs`; of the baseline's functions `lambda:Get`, `Put` and
//! `DeleteProvisionedConcurrencyConfig`, `PutFunctionConcurrency`, `DeleteFunctionConcurrency`, `InvokeFunction` (of
//! the alias); of its event sources `lambda:GetEventSourceMapping` and `UpdateEventSourceMapping`; of the cluster and
//! its instances `rds:DescribeDBClusters`, `DescribeDBInstances`, `ModifyDBCluster`, `ModifyDBInstance`,
//! `FailoverDBCluster`; of its tables `dynamodb:DescribeTable` and `UpdateTable`; of its queues
//! `sqs:GetQueueAttributes`; and `cloudwatch:GetMetricData`.
//!
//! **What it does not do.** It does not wait for changes, makes no decisions, and repeats no change.
#![forbid(unsafe_code)]

mod changes;
mod clients;
mod database;
mod demand;
mod documents;
mod error;
mod measure;
mod names;
mod observe;
mod paging;
mod profile;
mod quotas;
mod tables;
mod trial;

use std::sync::Arc;

use domain::rate::CallRate;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ports::orders::FindDueOrders;
use ports::prescale::ControlError;

pub use clients::{Clients, Patience, Service};
pub use names::{FunctionName, Names, NamesError, SourceName, Trial};

/// The number of concurrent calls to one control plane. Lambda's control plane allows 15 calls a second for the whole
/// account.
const AT_ONCE: usize = 4;

/// An account on AWS, in one region.
#[derive(Debug, Clone)]
pub struct AwsAccount<O> {
    pub(crate) clients: Clients,
    pub(crate) names: Arc<Names>,
    pub(crate) documents: Arc<str>,
    pub(crate) orders: O,
    pub(crate) others_provisioned: Arc<quotas::OthersProvisioned>,
    pub(crate) gateway_rate: Option<CallRate>,
}

impl<O: FindDueOrders> AwsAccount<O> {
    /// The account that `clients` reach. `names` has the names of the account's resources, `documents` is the path of
    /// the documents (such as `/stampede/prescale`), and `orders` finds open orders.
    #[must_use]
    pub fn new(clients: Clients, names: Names, documents: &str, orders: O) -> Self {
        Self {
            clients,
            names: Arc::new(names),
            documents: documents.trim_end_matches('/').into(),
            orders,
            others_provisioned: Arc::default(),
            gateway_rate: None,
        }
    }

    /// Uses `rate`, with which the functions call the payment gateway, in place of the rate in the document `quotas`.
    #[must_use]
    pub fn with_gateway_rate(self, rate: CallRate) -> Self {
        Self {
            gateway_rate: Some(rate),
            ..self
        }
    }
}

impl<O> AwsAccount<O> {
    fn function(&self, name: &str) -> Result<&FunctionName, ControlError> {
        let named = self.names.functions.get(name);
        named.ok_or_else(|| ControlError::Broken(format!("no function {name} has a name in the account")))
    }
}

/// Makes all calls, at most [`AT_ONCE`] concurrently. Returns their results in the order of completion, or the first
/// error.
async fn at_once<T, F>(calls: impl IntoIterator<Item = F>) -> Result<Vec<T>, ControlError>
where
    F: Future<Output = Result<T, ControlError>>,
{
    let calls: Vec<F> = calls.into_iter().collect();
    stream::iter(calls).buffer_unordered(AT_ONCE).try_collect().await
}

/// A count in an answer of AWS; a missing or negative count is 0.
fn units(count: Option<i32>) -> u32 {
    u32::try_from(count.unwrap_or(0)).unwrap_or(0)
}

/// A count in a request to AWS.
fn count(units: u32) -> i32 {
    i32::try_from(units).unwrap_or(i32::MAX)
}
