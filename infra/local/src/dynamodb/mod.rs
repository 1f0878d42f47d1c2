//! Runs DynamoDB on one machine: the embedded emulator, with policy checks and metering.
//!
//! Functions and tests use an HTTP endpoint, as with DynamoDB. A function's request is checked against its policy
//! ([`Dynamo::authorize`]). Then a fault may be injected ([`crate::faults`]): throttling by partition, conflicts,
//! delays, time-outs before or after the write. [`Dynamo::answer`] parses the request, runs it on the emulator in this
//! process, and books the consumed capacity.

mod capacity;
mod operation_permissions;
mod operations;
mod server;
mod warm;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use dynoxide::{Database, DynoxideError};
use tokio::sync::Notify;

pub use capacity::{refused_write, transaction_item};
pub use server::serve;

use crate::faults::Faults;
use crate::meter::{Caller, Meter};
use crate::permissions::Permissions;
use crate::template::Table;
use crate::wire::Answer;

#[derive(Clone)]
pub struct Dynamo {
    db: Database,
    meter: Arc<Meter>,
    streamed: Arc<HashMap<String, Arc<Notify>>>,
    permissions: Arc<Permissions>,
    faults: Arc<Faults>,
    warm: Arc<warm::WarmThroughput>,
}

impl Dynamo {
    /// Creates the tables in memory.
    ///
    /// # Errors
    /// When the emulator refuses a table's definition.
    pub fn create(tables: &BTreeMap<String, Table>, meter: Arc<Meter>) -> Result<Self> {
        let db = Database::memory().map_err(|e| anyhow!("the embedded DynamoDB: {e}"))?;
        let mut streamed = HashMap::new();
        for table in tables.values() {
            let mut definition = table.definition.clone();
            definition.insert("TableName".to_owned(), table.name.clone().into());
            let request = serde_json::from_value(serde_json::Value::Object(definition))
                .with_context(|| format!("the table {}", table.name))?;
            db.create_table(request)
                .map_err(|e| anyhow!("the table {}: {e}", table.name))?;
            if table.streamed {
                streamed.insert(table.name.clone(), Arc::new(Notify::new()));
            }
        }
        Ok(Self {
            db,
            meter,
            streamed: Arc::new(streamed),
            permissions: Arc::default(),
            faults: Arc::default(),
            warm: Arc::default(),
        })
    }

    /// Enables the check of each function's requests against these permissions.
    #[must_use]
    pub fn guarded(mut self, permissions: Arc<Permissions>) -> Self {
        self.permissions = permissions;
        self
    }

    /// Enables these faults for requests of functions.
    #[must_use]
    pub fn faulty(mut self, faults: Arc<Faults>) -> Self {
        self.faults = faults;
        self
    }

    #[must_use]
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The emulator itself, for readers that are not metered.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// The notification after each write that may have added to the table's stream.
    #[must_use]
    pub fn stream_bell(&self, table: &str) -> Option<Arc<Notify>> {
        self.streamed.get(table).cloned()
    }

    /// Checks the request against the policy of the calling function. A request from outside is always allowed.
    ///
    /// # Errors
    /// When a permission is missing or the request cannot be parsed: the answer with DynamoDB's error.
    pub fn authorize(&self, function: Option<&str>, operation: &str, body: &[u8]) -> Result<(), Answer> {
        let Some(function) = function else { return Ok(()) };
        let needs = operation_permissions::needs(operation, body).map_err(failed)?;
        let checked = self.permissions.check(function, &needs);
        checked.map_err(|denied| Answer::new(400, denied.body()))
    }

    /// Answers one request. `operation` is the part of `X-Amz-Target` after the dot.
    #[must_use]
    pub fn answer(&self, operation: &str, body: &[u8], caller: Caller) -> Answer {
        // The name is compared first, so that the requests of a drop, which have other names, are not parsed here.
        let about_tables = matches!(operation, "DescribeTable" | "UpdateTable");
        let of_warmth = about_tables.then(|| self.warm.answer(&self.db, operation, body));
        let (result, uses) = match of_warmth.flatten() {
            Some(result) => (result, Vec::new()),
            None => operations::run(&self.db, operation, body),
        };
        for (table, used) in &uses {
            if used.writes + used.transactions > 0
                && let Some(bell) = self.streamed.get(table)
            {
                bell.notify_one();
            }
        }
        if !uses.is_empty() {
            self.faults.charge(operation, body, &uses);
            self.meter.book(caller, uses);
        }
        result.map_or_else(failed, |body| Answer::new(200, body))
    }
}

fn failed(error: DynoxideError) -> Answer {
    Answer::new(error.status_code(), error.to_json())
}
