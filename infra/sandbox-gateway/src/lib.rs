//! A payment gateway to test against.
//!
//! **Problem.** Whether an order is charged at most once is decided at the border between our functions and somebody
//! else's payment system: answers get lost, calls are repeated, cards are declined, a bank asks its customer to sign.
//! A test account at a real gateway shows few of these on demand, none of them under load, and needs the internet.
//!
//! **Model.** This crate speaks the part of Stripe's public HTTP API that our adapter uses (PaymentIntents and refunds,
//! form-encoded requests, JSON answers, `Idempotency-Key`, Stripe's error objects) and fails on purpose in chosen ways.
//! What happens to a payment is chosen by its payment method's token ([`methods`]), or by faults switched on for all
//! ([`faults`]). State is in memory. Beside it stands a [`log`] of its own: one JSON line per thing that happened to
//! money, appended to a file before the answer leaves. An audit counts charges there, not in anything the shop wrote.
//!
//! **Walk-through.** [`serve`] runs it on a listener somebody else has bound. A POST is authenticated and validated
//! ([`request`]), claims its idempotency key ([`idempotency`]), and then runs in a task of its own, so that a client that
//! hangs up does not undo what it asked for, exactly as with a gateway far away. The [`book`] changes the intent
//! ([`intent`]) and appends to the log under one lock.
//!
//! | route | |
//! |---|---|
//! | `POST /v1/payment_intents`, `GET …/{id}`, `POST …/{id}/confirm`, `POST …/{id}/cancel` | as Stripe documents |
//! | `POST /v1/refunds`, `GET /v1/refunds/{id}` | as Stripe documents |
//! | `GET`, `POST /sandbox/authenticate/{id}` | the bank's page: `outcome=complete` or `outcome=fail` |
//! | `GET /sandbox/log` | the log, JSON lines |
//! | `GET /sandbox/calls` | API calls by second: let in, beyond the rate, refused by an outage |
//! | `GET`, `POST /sandbox/faults` | what goes wrong from now on |
//! | `POST /sandbox/webhooks` | where webhooks go from now on, and what goes wrong with them; `null` for nowhere |
//! | `POST /sandbox/key` | the only key accepted from now on: `{"api_key": …}` |
//!
//! A declined intent can be confirmed again with another payment method; its `last_payment_error` names the charge and the payment method that failed. An
//! intent that is confirmed too often is cancelled. What happens to an intent is sent to an address of the caller's as a signed event, where one is
//! set ([`webhooks`]).
//!
//! A failure may be stored under its idempotency key; a key lapses a day after its first use ([`idempotency`]). Above a rate, requests are
//! answered 429, with and without `Retry-After`. Too small amounts are refused, by the currency in which the account is paid out ([`amounts`]).
//!
//! **What it does not do.** Customers, manual capture, expansion, listing. It forgets intents when it stops (the
//! log stays).
#![forbid(unsafe_code)]

pub mod amounts;
pub mod book;
pub mod error;
pub mod faults;
pub mod idempotency;
pub mod ids;
pub mod intent;
mod key;
pub mod log;
pub mod methods;
pub mod pages;
mod rate;
pub mod request;
pub mod routes;
pub mod webhooks;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use key::ApiKey;

/// Tells the time in milliseconds since 1970-01-01 UTC. The sandbox never reads a clock by itself.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a sandbox is started with.
#[derive(Clone)]
pub struct Options {
    /// The secret key that is accepted as a bearer token; whoever keeps a clone can replace it while the sandbox runs.
    pub api_key: Arc<ApiKey>,
    /// The file the log is appended to; made if it is not there.
    pub log_path: PathBuf,
    /// Ids and the faults' draws follow from this.
    pub seed: u64,
    /// Where log lines and intents get their time from.
    pub clock: Clock,
    /// How long a confirm with `pm_sandbox_slow` takes.
    pub slow: Duration,
    /// What goes wrong, and how often it did; whoever keeps a clone can change it while the sandbox runs.
    pub faults: Arc<faults::Switch>,
    /// Where webhooks go; nowhere at first. Whoever keeps a clone can change it while the sandbox runs.
    pub webhooks: Arc<webhooks::Webhooks>,
    /// The currency in which the account is paid out, in lower case; that of each charge if none.
    pub settlement: Option<String>,
    /// How long an answer that "never comes" is kept back before the connection is given a 504.
    pub hang: Duration,
}

impl Options {
    /// Options with a slow confirm of three seconds and lost answers kept back for two minutes.
    #[must_use]
    pub fn new(api_key: impl Into<String>, log_path: impl Into<PathBuf>, seed: u64, clock: Clock) -> Self {
        Self {
            api_key: Arc::new(ApiKey::new(api_key)),
            log_path: log_path.into(),
            seed,
            clock,
            slow: Duration::from_secs(3),
            faults: Arc::default(),
            webhooks: Arc::default(),
            settlement: None,
            hang: Duration::from_secs(120),
        }
    }
}

/// Serves the gateway on `listener` until `shutdown` completes; answers being kept back are then let go at once.
///
/// # Errors
/// When the log cannot be opened or the listener fails.
pub async fn serve<F>(listener: TcpListener, options: Options, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let base_url = format!("http://{}", listener.local_addr()?);
    let (stop, stopping) = watch::channel(false);
    let app = routes::router(Arc::new(routes::Gateway::open(options, base_url, stopping)?));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            shutdown.await;
            stop.send_replace(true);
        })
        .await
}
