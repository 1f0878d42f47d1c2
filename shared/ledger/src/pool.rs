//! Connections: few, and bounded in time.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use ports::ledger::LedgerError;
use tokio::time::Instant;
use tokio_postgres::{Config, NoTls};

/// How long anything may take, and how many connections a process opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connecting, in milliseconds.
    pub connect_ms: u64,
    /// Waiting for a connection that another batch uses, in milliseconds.
    pub wait_ms: u64,
    /// One statement, in milliseconds.
    pub statement_ms: u64,
    /// Connections of one process. A process serves few batches at a time, and there are many processes.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_ms: 1_500,
            wait_ms: 1_000,
            statement_ms: 2_000,
            connections: 2,
        }
    }
}

/// A connection URL cannot be read. Says nothing of it: it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PostgreSQL connection URL")]
pub struct UrlError;

/// What is reported when a batch waited longer than this for a connection, in milliseconds.
const LONG_WAIT_MS: u128 = 1_000;

/// A pool that has not connected yet.
pub(crate) fn pool(database_url: &str, limits: Limits) -> Result<Pool, UrlError> {
    let mut config: Config = database_url.parse().map_err(|_| UrlError)?;
    let ms = Duration::from_millis;
    config.connect_timeout(ms(limits.connect_ms));
    // A peer that is gone without a word is noticed by the system as well.
    config.tcp_user_timeout(ms(limits.statement_ms));
    config.application_name("project-ledger");
    let recycling = ManagerConfig {
        // No round trip before each use: a dead connection costs one failed statement, which is repeated anyway.
        recycling_method: RecyclingMethod::Fast,
    };
    Pool::builder(Manager::from_config(config, NoTls, recycling))
        .runtime(Runtime::Tokio1)
        .max_size(limits.connections.max(1))
        .wait_timeout(Some(ms(limits.wait_ms)))
        .create_timeout(Some(ms(limits.connect_ms)))
        .recycle_timeout(Some(ms(limits.connect_ms)))
        .build()
        .map_err(|_| UrlError)
}

/// A connection for that many events.
pub(crate) async fn connection(pool: &Pool, events: usize) -> Result<Object, LedgerError> {
    let began = Instant::now();
    let got = pool.get().await.map_err(|error| {
        LedgerError::NoConnection(match error {
            PoolError::Timeout(TimeoutType::Wait) => "all connections are in use".to_owned(),
            PoolError::Timeout(_) => "no connection in time".to_owned(),
            PoolError::Backend(error) => format!("no connection: {error}"),
            _ => "the pool is closed".to_owned(),
        })
    });
    let waited_ms = began.elapsed().as_millis();
    // What got none is told by whoever writes again.
    if waited_ms > LONG_WAIT_MS && got.is_ok() {
        let waited_ms = u64::try_from(waited_ms).unwrap_or(u64::MAX);
        tracing::warn!(
            waited_ms,
            delayed_events = events,
            "ledger writes waited for a connection"
        );
    }
    got
}
