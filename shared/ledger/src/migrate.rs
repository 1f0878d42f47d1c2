//! Applies migrations to a database.

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

/// The key of the session lock that all migrations take. The number is arbitrary.
const LOCK: &str = "SELECT pg_advisory_lock(727465)";
/// How long a migration waits for another migration, in milliseconds.
const WAIT_MS: u64 = 30_000;
/// How long a migration's statement waits for a table that others use, in milliseconds. Later statements, the
/// projection of orders included, queue behind the migration's statement for the same time. The projection's time limit
/// for a write is 2 s, so this limit is lower.
const TABLE_WAIT_MS: u64 = 1_500;

#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database cannot be reached, fails the identity check, or refuses the sign-in.
    #[error("no connection to the database: {0}")]
    Connect(#[from] ConnectError),
    /// The database returned an error.
    #[error("the database refuses: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed, or the applied migrations differ from those compiled in.
    #[error("the migration failed: {0}")]
    Migration(#[from] refinery::Error),
    /// Another process holds the migration lock for too long.
    #[error("another migration did not finish in time")]
    Locked,
    /// The time limit passed. Migrations applied before stay applied; the server ends the statement in progress.
    #[error("the migrations did not finish in time; it is not known which of them are applied")]
    TimedOut,
}

/// The name of a database role: a small letter, then small letters, digits and underscores, 63 characters at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role(String);

/// The text is not a valid role name.
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

/// The migrations that a call of [`migrate`] applied, and the resulting version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The migrations that this call applied, in order, by names such as `V1__ledger`.
    pub applied: Vec<String>,
    /// The version of the newest applied migration.
    pub version: i32,
}

/// Applies the missing migrations in order, each in a transaction, and grants `writer` the sign-in and exactly the
/// rights that the projection needs. Several processes may call this function at the same time: they wait for each
/// other for up to half a minute. A call takes `limit` at most.
///
/// A migration that waits too long for a table in use fails, so that the table's users continue.
///
/// The address must be the database's own address and not the address of RDS Proxy, since the lock belongs to the
/// session.
///
/// # Errors
/// [`MigrationError`]. Migrations applied before the error stay applied.
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
        // Without the client, the server ends the session, which releases the lock.
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
    // The server itself ends statements that this client no longer waits for.
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

/// The grants that the statement of `project.sql` needs. The role `rds_iam` exists on RDS and Aurora; a role with it
/// signs in by IAM and by IAM only. A role that signs in by IAM may not grant `rds_iam`, so a role that already has it
/// is left unchanged. Roles belong to the whole server, so another database's migration may create the same role at the
/// same time.
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
