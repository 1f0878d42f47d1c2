//! Emulates a payment gateway for tests.
//!
//! **Problem.** Whether an order is charged at most once is decided at the interface between this project's
//! functions and an external payment system: answers are lost, calls are repeated, cards are declined, a bank
//! asks its customer to authenticate. A test account at a real gateway shows few of these on demand, none of
//! them under load, and needs the internet.
//!
//! **Model.** This crate implements the part of Stripe's public HTTP API that this project's adapter uses
//! (PaymentIntents and refunds, form-encoded requests, JSON answers, `Idempotency-Key`, Stripe's error
//! objects) and fails on purpose in chosen ways. What happens to a payment is chosen by its payment method's
//! token ([`methods`]), or by faults switched on for all ([`faults`]). State is in memory. In addition, the
//! gateway has its own [`log`]: one JSON line for each movement of money, appended to a file before the
//! answer is sent. An audit counts charges in this log, not in the shop's data.
//!
//! **Walk-through.** [`serve`] runs the gateway on a listener that the caller has bound. A POST is
//! authenticated and validated ([`request`]), claims its idempotency key ([`idempotency`]), and then runs in
//! a separate task, so that it completes even if the client closes the connection, as with a remote gateway.
//! The [`book`] changes the intent ([`intent`]) and appends to the log under one lock.
//!
//! | route | |
//! |---|---|
//! | `POST /v1/payment_intents`, `GET …/{id}`, `POST …/{id}/confirm`, `POST …/{id}/cancel` | as Stripe documents |
//! | `POST /v1/refunds`, `GET /v1/refunds/{id}` | as Stripe documents |
//! | `GET`, `POST /sandbox/authenticate/{id}` | the bank's page: `outcome=complete` or `outcome=fail` |
//! | `GET /sandbox/log` | the log, JSON lines |
//! | `GET /sandbox/calls` | API calls by second: admitted, beyond the rate, refused by an outage |
//! | `GET`, `POST /sandbox/faults` | the faults that are injected from now on |
//! | `POST /sandbox/webhooks` | the address of webhooks and their faults from now on; `null` stops webhooks |
//! | `POST /sandbox/key` | the only key accepted from now on: `{"api_key": …}` |
//!
//! A declined intent can be confirmed again with another payment method; its `last_payment_error` names the
//! charge and the payment method that failed. An intent that is confirmed too often is cancelled. Changes of
//! an intent are sent as signed events to the caller's address, if one is set ([`webhooks`]).
//!
//! A failure may be stored under its idempotency key; a key expires a day after its first use
//! ([`idempotency`]). Above a rate, requests are answered 429, with and without `Retry-After`. An amount is
//! refused if it is below the minimum of the currency in which the account is paid out ([`amounts`]).
//!
//! **What it does not do.** It has no customers, no manual capture, no expansion and no lists. It loses its intents
//! when it stops (the log stays).
#![forbid(unsafe_code)]

pub mod amounts;
pub mod book;
pub mod error;
pub mod faults;
pub mod gateway;
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

/// Returns the time in milliseconds since 1970-01-01 UTC. The sandbox itself reads no clock.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The settings of a sandbox: key, log, seed, clock, faults and webhooks.
#[derive(Clone)]
pub struct Options {
    /// The secret key that is accepted as a bearer token. The owner of a clone can replace it while the
    /// sandbox runs.
    pub api_key: Arc<ApiKey>,
    /// The file to which the log is appended; created if it does not exist.
    pub log_path: PathBuf,
    /// The seed of ids and of the faults' draws.
    pub seed: u64,
    /// The source of the time in log lines and intents.
    pub clock: Clock,
    /// The duration of a confirm with `pm_sandbox_slow`.
    pub slow: Duration,
    /// The faults, and the numbers of requests that they hit. The owner of a clone can change the faults while the
    /// sandbox runs.
    pub faults: Arc<faults::Switch>,
    /// The address of webhooks; none at first. The owner of a clone can change it while the sandbox runs.
    pub webhooks: Arc<webhooks::Webhooks>,
    /// The currency in which the account is paid out, in lower case. `None` means the currency of each charge.
    pub settlement: Option<String>,
    /// How long a lost answer is held back before the connection is answered 504.
    pub hang: Duration,
}

impl Options {
    /// Options with a slow confirm of three seconds, and with lost answers held back for two minutes.
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

/// Serves the gateway on `listener` until `shutdown` completes. Held-back answers are then released immediately.
///
/// # Errors
///
/// When the log cannot be opened or the listener fails.
pub async fn serve<F>(listener: TcpListener, options: Options, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let base_url = format!("http://{}", listener.local_addr()?);
    let (stop, stopping) = watch::channel(false);
    let app = routes::router(Arc::new(gateway::Gateway::open(options, base_url, stopping)?));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            shutdown.await;
            stop.send_replace(true);
        })
        .await
}
