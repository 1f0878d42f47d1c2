//! Keeps a pool of few connections, with time limits.

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolBuilder, PoolError, RecycleError, RecycleResult, TimeoutType,
};
use ports::ledger::LedgerError;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::connect::{ConnectError, Database};

/// Time limits, and the largest number of connections of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time limit for connecting, in milliseconds.
    pub connect_ms: u64,
    /// The time limit for waiting for a connection that another batch uses, in milliseconds.
    pub wait_ms: u64,
    /// The time limit for one statement, in milliseconds.
    pub statement_ms: u64,
    /// The largest number of connections of one process. A process serves few batches at a time, and there are many
    /// processes.
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

/// A batch that waited longer than this for a connection is logged, in milliseconds.
const LONG_WAIT_MS: u128 = 1_000;

/// Opens the pool's connections. The manager of `deadpool-postgres` keeps one fixed password and cannot omit a
/// password.
#[derive(Debug)]
pub(crate) struct Connections(Database);

impl Manager for Connections {
    type Type = Client;
    type Error = ConnectError;

    async fn create(&self) -> Result<Client, ConnectError> {
        let (client, _running) = self.0.connect().await?;
        Ok(client)
    }

    /// A connection is not checked with a round trip before each use: a dead connection costs one failed statement,
    /// which is repeated.
    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<ConnectError> {
        if client.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        Ok(())
    }
}

/// A pool without connections yet.
pub(crate) fn pool(mut database: Database, limits: Limits) -> Pool<Connections> {
    let ms = Duration::from_millis;
    let config = &mut database.address.config;
    config.connect_timeout(ms(limits.connect_ms));
    // The operating system also detects a peer that disappeared without closing.
    config.tcp_user_timeout(ms(limits.statement_ms));
    config.application_name("project-ledger");
    let pool: PoolBuilder<Connections, Object<Connections>> = Pool::builder(Connections(database));
    pool.runtime(Runtime::Tokio1)
        .max_size(limits.connections.max(1))
        .wait_timeout(Some(ms(limits.wait_ms)))
        .create_timeout(Some(ms(limits.connect_ms)))
        .recycle_timeout(Some(ms(limits.connect_ms)))
        .build()
        .unwrap_or_else(|error| unreachable!("it has a runtime for its time limits: {error}"))
}

/// A connection for a batch of this many events.
pub(crate) async fn connection(
    pool: &Pool<Connections>,
    events: usize,
) -> Result<Object<Connections>, LedgerError> {
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
    // When no connection was available, the caller logs the failure.
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
