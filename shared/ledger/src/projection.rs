//! Writes events to the ledger.

use std::time::Duration;

use deadpool::managed::{Object, Pool};
use events::OrderEvent;
use ports::ledger::{LedgerError, ProjectOrders, Projected};
use tokio_postgres::error::SqlState;

use crate::batch::{Columns, STATEMENT, Written, answers};
use crate::connect::Database;
use crate::errors::ledger_error;
use crate::pool::{Connections, Limits, connection, pool};

/// The largest number of events in one statement.
const MAX_STATEMENT_EVENTS: usize = 500;

/// The ledger in PostgreSQL. Clones share the connections.
#[derive(Debug, Clone)]
pub struct PostgresLedger {
    pool: Pool<Connections>,
    statement: Duration,
}

/// The largest number of attempts of a statement that the server keeps aborting.
const MOST_GIVEN_WAY: u32 = 5;

/// The server's error codes for a statement aborted in favour of another transaction.
const GIVE_WAY: [SqlState; 2] = [
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::T_R_SERIALIZATION_FAILURE,
];

impl PostgresLedger {
    /// The ledger in `database` with the default [`Limits`]. The ledger connects with the first events.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self::with_limits(database, Limits::default())
    }

    /// The ledger in `database` with these limits.
    #[must_use]
    pub fn with_limits(database: Database, limits: Limits) -> Self {
        Self {
            pool: pool(database, limits),
            statement: Duration::from_millis(limits.statement_ms),
        }
    }

    /// Writes all events in one statement, or none. A statement that the server aborted in favour of another
    /// transaction (a deadlock) was certainly not done and is repeated immediately.
    async fn write(&self, events: &[OrderEvent]) -> Result<Vec<Projected>, LedgerError> {
        for _ in 0..MOST_GIVEN_WAY {
            if let Some(written) = self.write_once(events).await? {
                return Ok(written);
            }
        }
        Err(LedgerError::Unavailable(
            "other transactions came first, again and again".to_owned(),
        ))
    }

    /// Sends the statement once. `None` if the server aborted the statement in favour of another transaction.
    async fn write_once(&self, events: &[OrderEvent]) -> Result<Option<Vec<Projected>>, LedgerError> {
        let client = connection(&self.pool, events.len()).await?;
        let columns = Columns::of(events);
        let parameters = columns.parameters();
        let query = client.query_typed(STATEMENT, &parameters);
        let rows = match tokio::time::timeout(self.statement, query).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                // After an error that the server reported, the connection is intact. Any other error may have broken
                // the connection.
                if error.as_db_error().is_none() {
                    drop(Object::take(client));
                }
                return match error.code() {
                    Some(code) if GIVE_WAY.contains(code) => Ok(None),
                    _ => Err(ledger_error(&error)),
                };
            }
            Err(_) => {
                drop(Object::take(client));
                return Err(LedgerError::Unavailable("no answer in time".to_owned()));
            }
        };
        let written = rows.iter().map(Written::of).collect::<Result<Vec<_>, _>>()?;
        if written.len() == events.len() {
            Ok(Some(answers(events, &written)))
        } else {
            Err(LedgerError::Unavailable("an odd answer: too few rows".to_owned()))
        }
    }

    /// Writes the events as one batch. If a constraint refuses the batch, writes each event separately.
    async fn write_each(&self, events: &[OrderEvent]) -> Vec<Result<Projected, LedgerError>> {
        match self.write(events).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(LedgerError::Refused(_)) if events.len() > 1 => self.write_one_by_one(events).await,
            Err(error) => vec![Err(error); events.len()],
        }
    }

    async fn write_one_by_one(&self, events: &[OrderEvent]) -> Vec<Result<Projected, LedgerError>> {
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            let answer = self.write(std::slice::from_ref(event)).await;
            let answer = answer.and_then(|written| {
                let odd = || LedgerError::Unavailable("an odd answer: no row".to_owned());
                written.first().copied().ok_or_else(odd)
            });
            let lost = matches!(
                answer,
                Err(LedgerError::Unavailable(_) | LedgerError::NoConnection(_))
            );
            answers.push(answer.clone());
            if lost {
                // The remaining events would also time out, so they get the same answer.
                answers.resize(events.len(), answer);
                break;
            }
        }
        answers
    }
}

impl ProjectOrders for PostgresLedger {
    async fn project(&self, events: &[OrderEvent]) -> Vec<Result<Projected, LedgerError>> {
        let mut answers = Vec::with_capacity(events.len());
        for events in events.chunks(MAX_STATEMENT_EVENTS) {
            answers.extend(self.write_each(events).await);
        }
        // A connection kept until the process's next batch would block other processes at a small database.
        self.pool.retain(|_, _| false);
        answers
    }
}
