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
//! **What it does not do.** It waits for nothing, decides nothing, and repeats no change.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod clients;
mod form;
mod names;

use std::sync::Arc;

use ports::orders::FindDueOrders;

pub use clients::{Clients, Patience, Service};
pub use names::{FunctionName, Names, NamesError, SourceName, Trial};

/// An account on AWS, in one region.
#[derive(Debug, Clone)]
pub struct AwsAccount<O> {
    pub(crate) clients: Clients,
    pub(crate) names: Arc<Names>,
    pub(crate) documents: Arc<str>,
    pub(crate) orders: O,
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
        }
    }
}
