//! Applies the migrations of the PostgreSQL ledger before a deployment.
//!
//! **The problem.** The statements of a release need the tables of that release, and during the deployment the former
//! release still writes. The deployer has no access to the database's network.
//!
//! **The model.** A deployment invokes this function with `{}` and waits for its answer before it deploys code that
//! needs the new tables. The function applies the missing migrations in order, and grants the role of `project-ledger`
//! its sign-in. Migrations only go forward, and the former release must still be able to write: a test of
//! `shared/ledger` runs the former release's statement on the newest tables.
//!
//! **A walk through.** [`Migration::migrate`] connects to the database itself, since RDS Proxy would not keep the
//! session that holds the lock, and it ends before Lambda's time limit. A repeated invocation finds nothing to apply.
//! Concurrent invocations wait for each other.
//!
//! **What it does not do.** It rolls nothing back, and it deletes only what a migration deletes.
#![forbid(unsafe_code)]

use std::time::Duration;

use domain::limits::{FunctionLimits, MIGRATE_LEDGER_TIMEOUT_SECONDS, Trigger};
use domain::time::Timestamp;
use ledger::{Database, MigrationError, Role};
use ports::invocation::{Handle, Invocation};
use ports::runtime::Clock;
use serde::{Deserialize, Serialize};

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(MIGRATE_LEDGER_TIMEOUT_SECONDS, Trigger::Direct);

/// How long before its deadline an invocation stops waiting for the database, in milliseconds, so that it can still
/// answer with an error.
const MARGIN_MS: i64 = 5_000;

/// The function's event: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {}

/// The applied migrations, and the database's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The migrations that this invocation applied, in order.
    pub applied: Vec<String>,
    /// The version of the newest applied migration.
    pub version: i32,
}

#[derive(Debug, Clone)]
pub struct Migration<C> {
    database: Database,
    writer: Role,
    clock: C,
}

impl<C: Clock> Migration<C> {
    /// The function for `database`. `writer` is the role of `project-ledger`.
    pub const fn new(database: Database, writer: Role, clock: C) -> Self {
        Self {
            database,
            writer,
            clock,
        }
    }

    /// Applies the missing migrations before `deadline`.
    ///
    /// # Errors
    /// [`MigrationError`]. Migrations applied before the error stay applied, and the next invocation continues.
    pub async fn migrate(&self, deadline: Timestamp) -> Result<Answer, MigrationError> {
        let left_ms = deadline.as_millis() - MARGIN_MS - self.clock.now().as_millis();
        let limit = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        let migrated = ledger::migrate(&self.database, &self.writer, limit).await?;
        tracing::info!(applied = ?migrated.applied, version = migrated.version, "the ledger's tables have the newest version");
        Ok(Answer {
            applied: migrated.applied,
            version: migrated.version,
        })
    }
}

impl<C: Clock> Handle for Migration<C> {
    type Event = Ask;
    type Answer = Answer;
    type Error = MigrationError;

    async fn handle(&self, _: Ask, invocation: &Invocation) -> Result<Answer, MigrationError> {
        self.migrate(invocation.deadline).await
    }
}
