//! Runs functions on the local stack's Runtime API and DynamoDB, with one process for each function, and calls them
//! one request at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use bytes::Bytes;
use dynamodb::{IssuerStore, Tables};
use ports::issuers::{IssuerList, IssuersDocument, StoreIssuers as _};
use serde::Deserialize;
use stack_api::TableUse;
use stampede_local::child::Spawner;
use stampede_local::dynamodb::{Dynamo, serve};
use stampede_local::meter::Meter;
use stampede_local::permissions::Permissions;
use stampede_local::runtime::{Functions, Settings};
use stampede_local::stack::{missing, sample_surroundings};
use stampede_local::template::{self, Function, Model, REGION};
use tokens::{Audience, Issuers, KeySet, Published, SigningKey};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The project's function that makes a reservation.
pub const RESERVE: &str = "reserve";
/// The project's function that makes an order from a reservation.
pub const CHECKOUT: &str = "checkout";
/// The stand-in for `reserve` that only verifies a signature and writes one item.
pub const BASELINE: &str = "bench-baseline";
/// The stand-in for `reserve` on Node.js.
pub const NODE: &str = "bench-node";
/// The stand-in for cold starts: the smallest possible function.
pub const HELLO: &str = "bench-hello";

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    pub status_code: u16,
    #[serde(default)]
    pub body: Option<String>,
}

/// Running functions, their tables, and the signing key of the shoppers' tokens.
pub struct Host {
    functions: Functions,
    meter: Arc<Meter>,
    server: JoinHandle<()>,
    /// A client of the tables that bypasses the functions.
    pub client: dynamodb::Client,
    pub tables: Tables,
    pub key: SigningKey,
}

/// The environment that the template gives `function`, with the public half of `key`.
///
/// # Errors
/// When the template has no such function.
pub fn environment(
    model: &Model,
    function: &str,
    key: &SigningKey,
) -> anyhow::Result<BTreeMap<String, String>> {
    let known = model.functions.get(function);
    let known = known.with_context(|| format!("the template has no function {function}"))?;
    let mut variables = known.environment.clone();
    let issuers = Issuers::own(Audience::Shopper, KeySet::of(&[key])?);
    // The stand-ins read this variable; the project's functions read the document in the table.
    variables.insert("SHOPPER_KEYS".to_owned(), issuers.to_json());
    Ok(variables)
}

/// Reads the template.
///
/// # Errors
/// When the template cannot be read or is malformed.
pub fn model(path: &Path) -> anyhow::Result<Model> {
    let text = std::fs::read_to_string(path).with_context(|| format!("the template {}", path.display()))?;
    template::load(&text, &sample_surroundings())
}

/// Writes the document with the verification keys, as `fetch-keys` does.
async fn publish(issuers: &IssuerStore, key: &SigningKey) -> anyhow::Result<()> {
    let own = Issuers::own(Audience::Shopper, KeySet::of(&[key])?);
    let document = IssuersDocument {
        version: 1,
        text: Published::merge(own, None, None, |_| None, 0).document.to_json(),
    };
    let stored = issuers.store_issuers(IssuerList::Shoppers, &document).await?;
    ensure!(stored.is_done(), "the tables are not new");
    Ok(())
}

impl Host {
    /// Creates the tables. A function's process starts with its first call. `programs` is a folder with a program for
    /// each function, `logs` the folder for their output.
    ///
    /// # Errors
    /// When a port, a table or the template is missing.
    pub async fn start(template: &Path, programs: PathBuf, logs: PathBuf) -> anyhow::Result<Self> {
        let model = model(template)?;
        let key = SigningKey::generate("bench")?;
        let meter = Arc::new(Meter::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut functions = BTreeMap::new();
        for (name, like) in [
            (RESERVE, RESERVE),
            (CHECKOUT, CHECKOUT),
            (BASELINE, RESERVE),
            (NODE, RESERVE),
        ] {
            let known = model.functions.get(like).context("a function of the template")?;
            let function = Function {
                name: name.to_owned(),
                environment: environment(&model, like, &key)?,
                ..known.clone()
            };
            functions.insert(name.to_owned(), function);
        }
        let table = |variable: &str| -> anyhow::Result<String> {
            let mut all = functions.values().filter_map(|f| f.environment.get(variable));
            Ok(all.next().with_context(|| format!("no {variable}"))?.clone())
        };
        let tables = Tables {
            stock: table("STOCK_TABLE")?,
            purchases: table("PURCHASES_TABLE")?,
            orders: table("ORDERS_TABLE")?,
            addresses: table("ADDRESSES_TABLE")?,
            drops: table("DROPS_TABLE")?,
            status: table("STATUS_TABLE")?,
            ..Tables::default()
        };
        std::fs::create_dir_all(&logs)?;
        let variables = [
            ("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
        ];
        let settings = Settings {
            binaries: programs,
            logs,
            concurrency: 1,
            on_demand: stampede_local::runtime::OnDemand::default(),
            account_concurrency: 1,
            faults: Arc::default(),
            environment: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let measured = Model { functions, ..model };
        let permissions = Arc::new(Permissions::of(&measured)?);
        let dynamo = Dynamo::create(&measured.tables, Arc::clone(&meter))?.guarded(permissions);
        let server = tokio::spawn(serve(listener, dynamo));
        missing(&measured, &settings, true)?;
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new("outside", "local", None, None, "bench"))
            .http_client(connector::plain(std::time::Duration::from_secs(1)))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(&url)
            .build();
        let client = dynamodb::Client::from_conf(config);
        publish(&IssuerStore::new(&client, &tables), &key).await?;
        Ok(Self {
            functions: Functions::new(&measured, settings, Spawner::start()?, Arc::clone(&meter)),
            meter,
            server,
            client,
            tables,
            key,
        })
    }

    /// The value of a shopper's header `Authorization`, signed at `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// When the token cannot be signed.
    pub fn bearer(&self, shopper: &str, now_s: i64) -> anyhow::Result<String> {
        let token = self.key.sign(Audience::Shopper, shopper, now_s, now_s + 3_600)?;
        Ok(format!("Bearer {token}"))
    }

    /// Calls a function once and waits for its answer.
    ///
    /// # Errors
    /// When the function fails or does not return an HTTP response.
    pub async fn call(&self, function: &str, event: Bytes) -> anyhow::Result<Reply> {
        let answer = self.functions.call(function, "bench", event).await;
        let answer = answer.with_context(|| format!("{function}; see its log"))?;
        serde_json::from_slice(&answer)
            .with_context(|| format!("{function} answered {}", String::from_utf8_lossy(&answer)))
    }

    /// The use of the tables since the start.
    #[must_use]
    pub fn used(&self) -> Used {
        let report = self.meter.report();
        let stock = report.tables.get(&self.tables.stock).copied().unwrap_or_default();
        let all = report.tables.values();
        let refused = |table: &TableUse| table.refused_writes + table.cancelled_transactions;
        Used {
            stock_writes: stock.writes,
            refused: all.clone().map(refused).sum(),
            reads: all.map(|table| table.reads).sum(),
            transactions: stock.transactions,
        }
    }

    /// Ends the functions' processes and the tables.
    pub async fn stop(self) {
        self.functions.stop().await;
        self.server.abort();
    }
}

/// The number of requests of each kind to the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Applied single-item writes on the stock table.
    pub stock_writes: u64,
    /// Refused writes and cancelled transactions on any table.
    pub refused: u64,
    /// Reads of any table; a request that reads two tables counts twice.
    pub reads: u64,
    /// Applied transactions with a write on the stock table.
    pub transactions: u64,
}

impl Used {
    /// The use of the tables by `n` applied writes on the stock table.
    ///
    /// # Errors
    /// When `n` has more than 64 bits.
    pub fn writes(n: usize) -> anyhow::Result<Self> {
        Ok(Self {
            stock_writes: u64::try_from(n)?,
            ..Self::default()
        })
    }

    /// The use of the tables since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            stock_writes: self.stock_writes - before.stock_writes,
            refused: self.refused - before.refused,
            reads: self.reads - before.reads,
            transactions: self.transactions - before.transactions,
        }
    }
}
