//! Bringing a database up to date.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::connect::{ConnectError, Database};

mod embedded {
    #![allow(unreachable_pub, clippy::unwrap_used)]
    refinery::embed_migrations!("../../infra/migrations");
}

/// The key of the session lock that migrations hold: any number, the same for all of them.
const LOCK: &str = "SELECT pg_advisory_lock(727465)";
/// How long a migration waits for another one, in milliseconds.
const WAIT_MS: u64 = 30_000;
/// How long a statement of a migration waits for a table that others use, in milliseconds. Whoever comes after it waits as
/// long, the projection of orders among them; it gives a write 2 s, so this is less.
const TABLE_WAIT_MS: u64 = 1_500;

/// A database could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database cannot be reached, is not who it should be, or refuses the sign-in.
    #[error("no connection to the database: {0}")]
    Connect(#[from] ConnectError),
    /// The database refuses.
    #[error("the database refuses: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed, or the database has others than these.
    #[error("the migration failed: {0}")]
    Migration(#[from] refinery::Error),
    /// Another process migrates and does not finish.
    #[error("another migration did not finish in time")]
    Locked,
    /// It took too long. What was applied before stays applied, and the server ends what is under way.
    #[error("the migrations did not finish in time; it is not known which of them are applied")]
    TimedOut,
}

/// The name of a role of the database: a small letter, then small letters, digits and underscores, 63 characters at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role(String);

/// The text is no name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the name of a role: a small letter, then small letters, digits and underscores, 63 characters at most"
)]
pub struct RoleError;

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(name: &str) -> Result<Self, RoleError> {
        let small = |c: char| c.is_ascii_lowercase();
        let fits = name.len() <= 63
            && name.starts_with(small)
            && name.chars().all(|c| small(c) || c.is_ascii_digit() || c == '_');
        fits.then(|| Self(name.to_owned())).ok_or(RoleError)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a database has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The migrations that were applied just now, in their order: `V1__ledger`.
    pub applied: Vec<String>,
    /// The version of the newest migration that the database has.
    pub version: i32,
}

/// Applies the migrations that `database` does not have yet, in their order, each in a transaction, and lets `writer`
/// sign in and do what the projection does, and no more. Safe to call from several processes at once: they wait for each other
/// for up to half a minute. Takes `limit` at most.
///
/// A migration that waits long for a table which others use is given up, so that these go on.
///
/// The address must be the database's own and not that of RDS Proxy, since the lock belongs to the session.
///
/// # Errors
/// [`MigrationError`]; what was applied before stays applied.
pub async fn migrate(
    database: &Database,
    writer: &Role,
    limit: Duration,
) -> Result<Migrated, MigrationError> {
    let mut database = database.clone();
    database.address.config.application_name("migrate-ledger");
    let work = async {
        let (mut client, running) = database.connect().await?;
        let migrated = on_connection(&mut client, writer, limit).await;
        // Ends the session, and with it the lock.
        drop(client);
        running.abort();
        migrated
    };
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| MigrationError::TimedOut)?
}

async fn on_connection(
    client: &mut Client,
    writer: &Role,
    limit: Duration,
) -> Result<Migrated, MigrationError> {
    let wait = format!("SET lock_timeout = {WAIT_MS}; {LOCK}");
    client
        .batch_execute(&wait)
        .await
        .map_err(|error| match error.code() {
            Some(&SqlState::LOCK_NOT_AVAILABLE) => MigrationError::Locked,
            _ => error.into(),
        })?;
    // The server ends what this side has given up.
    let (table, statement) = (TABLE_WAIT_MS, limit.as_millis());
    let bounds = format!("SET lock_timeout = {table}; SET statement_timeout = {statement}");
    client.batch_execute(&bounds).await?;
    let runner = embedded::migrations::runner();
    let report = runner.run_async(client).await?;
    let last = runner.get_last_applied_migration_async(client).await?;
    client.batch_execute(&grants(writer)).await?;
    Ok(Migrated {
        applied: report
            .applied_migrations()
            .iter()
            .map(ToString::to_string)
            .collect(),
        version: last.map_or(0, |migration| migration.version()),
    })
}

/// What the statement of `project.sql` needs. `rds_iam` is there on RDS and Aurora, and lets a role sign in by IAM, and by IAM
/// only; who signs in by IAM may not grant it, so a role that has it already is left as it is. Roles belong to the whole server, so another database's migration may make the same one at the same time.
fn grants(writer: &Role) -> String {
    format!(
        "DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{writer}') THEN
                CREATE ROLE {writer} LOGIN;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$;
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam')
                AND NOT pg_has_role('{writer}', 'rds_iam', 'MEMBER') THEN
                GRANT rds_iam TO {writer};
            END IF;
        END $$;
        GRANT SELECT, INSERT ON ledger_orders, ledger_order_versions, ledger_entries TO {writer};
        GRANT UPDATE (version, status, reason, payment_id, updated_at, correlation_id) ON ledger_orders TO {writer};"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_a_plain_name() {
        let longest = "a".repeat(63);
        for name in ["a", "project_ledger", "stage2_writer", &longest] {
            assert_eq!(name.parse::<Role>().unwrap().to_string(), name);
        }
        let longer = "a".repeat(64);
        for name in ["", "1a", "_a", "A", "a-b", "a b", "a\"", "a';--", "é", &longer] {
            assert_eq!(name.parse::<Role>(), Err(RoleError), "{name}");
        }
    }
}
