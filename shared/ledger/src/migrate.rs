//! Bringing a database up to date.

use std::time::Duration;

use tokio_postgres::{Config, NoTls};

use crate::pool::{Limits, UrlError};

mod embedded {
    #![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
    refinery::embed_migrations!("../../infra/migrations");
}

/// The key of the session lock that migrations hold: any number, the same for all of them.
const LOCK: &str = "SELECT pg_advisory_lock(727465)";

/// A database could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The URL cannot be read.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The database cannot be reached, or refuses.
    #[error("the database refuses: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed, or the database has others than these.
    #[error("the migration failed: {0}")]
    Migration(#[from] refinery::Error),
    /// Another process migrates and does not finish.
    #[error("another migration did not finish in time")]
    Locked,
}

/// Applies the migrations that `database_url` does not have yet, in their order, each in a transaction, and answers
/// with their names. Safe to call from several processes at once: they wait for each other for up to half a minute.
///
/// The URL must lead to the database itself and not to RDS Proxy, since the lock belongs to the session.
///
/// # Errors
/// [`MigrationError`]; what was applied before stays applied.
pub async fn migrate(database_url: &str) -> Result<Vec<String>, MigrationError> {
    let mut config: Config = database_url.parse().map_err(|_| UrlError)?;
    config.connect_timeout(Duration::from_millis(Limits::default().connect_ms));
    let (mut client, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let applied = async {
        tokio::time::timeout(Duration::from_secs(30), client.batch_execute(LOCK))
            .await
            .map_err(|_| MigrationError::Locked)??;
        let report = embedded::migrations::runner().run_async(&mut client).await?;
        Ok(report
            .applied_migrations()
            .iter()
            .map(ToString::to_string)
            .collect())
    }
    .await;
    // Ends the session, and with it the lock.
    drop(client);
    connection.abort();
    applied
}
