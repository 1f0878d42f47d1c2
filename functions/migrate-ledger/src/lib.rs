//! Bring the PostgreSQL ledger up to date before a deployment.
//!
//! **The problem.** The statements of a release need the tables of that release, and while it is deployed the former release
//! still writes. Whoever deploys is outside of the network in which the database is.
//!
//! **The model.** A deployment invokes this function with `{}` and waits for its answer before it deploys anything that needs
//! the new tables. It applies the migrations that the database does not have, in their order, and lets the role of
//! `project-ledger` sign in. Migrations only go forward, and what the former release writes stays possible: a test of
//! `shared/ledger` runs its statement on the newest tables.
//!
//! **A walk through.** [`Migration::migrate`] connects to the database itself, since RDS Proxy would not keep the session with the
//! lock, and ends before Lambda would end it. A repeat finds nothing to apply. Several at once wait for each other.
//!
//! **What it does not do.** It takes nothing back, and it deletes nothing that a migration does not delete.
#![forbid(unsafe_code)]

use std::time::Duration;

use domain::limits::{FunctionLimits, MIGRATE_LEDGER_TIMEOUT_SECONDS, Trigger};
use domain::time::Timestamp;
use ledger::{Database, MigrationError, Role};
use ports::edge::Edge;
use ports::invocation::{Handle, Invocation};
use serde::{Deserialize, Serialize};

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(MIGRATE_LEDGER_TIMEOUT_SECONDS, Trigger::Direct);

/// How long before its deadline an invocation gives up, in milliseconds, so that its answer says so.
const MARGIN_MS: i64 = 5_000;

/// What the function is invoked with: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {}

/// What was done, and what the database has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The migrations that were applied by this invocation, in their order.
    pub applied: Vec<String>,
    /// The version of the newest migration that the database has.
    pub version: i32,
}

/// The migration.
#[derive(Debug, Clone)]
pub struct Migration<E> {
    database: Database,
    writer: Role,
    edge: E,
}

impl<E: Edge> Migration<E> {
    /// The function for `database`, in which `writer` is what `project-ledger` signs in as.
    pub const fn new(database: Database, writer: Role, edge: E) -> Self {
        Self {
            database,
            writer,
            edge,
        }
    }

    /// Brings the database up to date, within the time until `deadline`.
    ///
    /// # Errors
    /// [`MigrationError`]; what was applied before stays applied, and the next invocation goes on from there.
    pub async fn migrate(&self, deadline: Timestamp) -> Result<Answer, MigrationError> {
        let left_ms = deadline.as_millis() - MARGIN_MS - self.edge.now().as_millis();
        let limit = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        let migrated = ledger::migrate(&self.database, &self.writer, limit).await?;
        tracing::info!(applied = ?migrated.applied, version = migrated.version, "migrated");
        Ok(Answer {
            applied: migrated.applied,
            version: migrated.version,
        })
    }
}

impl<E: Edge> Handle for Migration<E> {
    type Event = Ask;
    type Answer = Answer;
    type Error = MigrationError;

    async fn handle(&self, _: Ask, invocation: &Invocation) -> Result<Answer, MigrationError> {
        self.migrate(invocation.deadline).await
    }
}
