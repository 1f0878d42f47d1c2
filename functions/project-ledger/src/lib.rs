//! Projects order events into the PostgreSQL ledger, by version.
//!
//! **The problem.** The ledger must finally contain every version of every order. But its queue delivers more than once
//! and in any order, the database is unavailable for seconds during a failover, and one message that is not an event
//! must not cause endless redelivery of its batch.
//!
//! **The model.** Each message is decoded separately. [`ports::ledger::ProjectOrders`] writes the decoded events
//! together and returns a result for each. A message is done when the ledger has its version, however old it is. The
//! answer lists the other messages, which are redelivered after the queue's visibility timeout. A redelivery comes
//! late, so events that failed only because the database was unavailable are first retried here, for a bounded time.
//! Permanent failures (a message that is not an event, or an event that a rule of the ledger refuses) are logged as
//! errors and redelivered like the others until they reach the dead-letter queue.
//!
//! **A walk through.** [`Projection::project`] takes a batch and returns the ids of the failed messages. A permanent
//! failure is logged as an error at its first delivery, with message id, order and broken rule, never with the
//! message's content.
//!
//! **What it does not do.** It never reads the ledger and does not use DynamoDB: the events contain all data.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use domain::limits::{FunctionLimits, LEDGER_OUTAGE_SECONDS, PROJECT_LEDGER_TIMEOUT_SECONDS, Trigger};
use domain::time::Timestamp;
use events::OrderEvent;
use ports::invocation::{Handle, Invocation};
use ports::ledger::{LedgerError, ProjectOrders, Projected};
use ports::retry::{Policy, retry_each};
use ports::runtime::Runtime;
pub use startup::batch::WholeBatchFailed;
use startup::batch::{BatchReport, Decoded, log_unprocessable, work};
use startup::spans::of_event;

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    PROJECT_LEDGER_TIMEOUT_SECONDS,
    Trigger::Queue {
        batch_size: 10,
        window_seconds: WINDOW_SECONDS,
        max_concurrency: 10,
        max_receives: MAX_RECEIVES,
    },
);

/// How long a batch is collected. Each batch needs a connection, which costs the database more than the batch's rows.
const WINDOW_SECONDS: u32 = 1;

/// How often a message is received before it moves to the dead-letter queue. A receive fails within about one
/// visibility timeout, so this number bridges two hours without a database. A longer visibility timeout for each
/// receive would need fewer receives, but also a route from the database's subnets to SQS, which costs more in a month
/// than the receives of a year.
const MAX_RECEIVES: u32 = 120;

/// Retries of a write while the database is unavailable.
const WHILE_AWAY: Policy = Policy::new(4, 150, 1_200);
/// The longest duration of one more try, in milliseconds. No try begins later than this before the deadline. It exceeds
/// the sum of the ledger's limits for connecting, waiting and one statement.
const TRY_MS: i64 = 5_000;

const _: () = assert!(
    TRY_MS < PROJECT_LEDGER_TIMEOUT_SECONDS as i64 * 1000,
    "there must be time for a first try"
);
const _: () = assert!(
    MAX_RECEIVES * LIMITS.visibility_seconds() >= 2 * LEDGER_OUTAGE_SECONDS,
    "an outage must end before messages become dead letters"
);

#[derive(Debug, Clone)]
pub struct Projection<L, R> {
    ledger: L,
    runtime: R,
}

impl<L: ProjectOrders, R: Runtime> Projection<L, R> {
    pub const fn new(ledger: L, runtime: R) -> Self {
        Self { ledger, runtime }
    }

    /// Writes a batch before `deadline`.
    ///
    /// # Errors
    /// [`WholeBatchFailed`]
    pub async fn project(
        &self,
        batch: &SqsEvent,
        deadline: Timestamp,
    ) -> Result<BatchReport, WholeBatchFailed> {
        let policy = WHILE_AWAY.until(deadline.plus_millis(-TRY_MS));
        work(batch, OrderEvent::decode, of_event, |messages| async move {
            self.write(policy, messages).await
        })
        .await
    }

    /// Writes the decoded messages to the ledger. Returns for each message whether it is done.
    async fn write(&self, policy: Policy, messages: Vec<Decoded<'_, OrderEvent>>) -> Vec<bool> {
        let (mut tries, delayed) = (0_usize, AtomicUsize::new(0));
        let left: Vec<&Decoded<'_, OrderEvent>> = messages.iter().collect();
        let answers = retry_each(&self.runtime, policy, &left, |left| {
            tries += 1;
            let delayed = &delayed;
            async move {
                let events: Vec<OrderEvent> = left.iter().map(|message| message.content.clone()).collect();
                let answers = self.ledger.project(&events).await;
                let unconnected = left.iter().zip(&answers).filter(|(message, answer)| {
                    message.is_first_receive && matches!(answer, Err(LedgerError::NoConnection(_)))
                });
                delayed.fetch_max(unconnected.count(), Ordering::Relaxed);
                answers
            }
        })
        .await;
        let delayed = delayed.into_inner();
        if delayed > 0 {
            // Each event counts once, however often it is tried. `make drop` adds the counts up to the number of events
            // that the database's size delayed.
            tracing::warn!(delayed_events = delayed, "ledger writes waited for a connection");
        }
        let (mut late, mut known, mut refused, mut left) = (0_usize, 0_usize, 0_usize, 0_usize);
        let done: Vec<bool> = answers
            .iter()
            .map(|answer| matches!(answer, Some(Ok(_))))
            .collect();
        for (message, answer) in messages.iter().zip(answers) {
            let _about = message.span.enter();
            match answer {
                Some(Ok(projected)) => {
                    tracing::info!(?projected, "the ledger has the event");
                    late += usize::from(projected == Projected::Late);
                    known += usize::from(projected == Projected::Known);
                }
                Some(Err(LedgerError::Refused(rule))) => {
                    refused += 1;
                    log_unprocessable(message.id, message.is_first_receive, &rule);
                }
                error => {
                    left += 1;
                    let error = error.and_then(Result::err);
                    tracing::warn!(
                        tries,
                        ?error,
                        "the ledger does not have the event yet; the queue redelivers the message"
                    );
                }
            }
        }
        tracing::info!(
            decoded = messages.len(),
            late,
            known,
            tries,
            refused,
            left,
            "a batch of ledger events was processed; the queue redelivers what `left` and `refused` count"
        );
        done
    }
}

impl<L: ProjectOrders + 'static, R: Runtime> Handle for Projection<L, R> {
    type Event = SqsEvent;
    type Answer = SqsBatchResponse;
    type Error = WholeBatchFailed;

    async fn handle(&self, event: SqsEvent, invocation: &Invocation) -> Result<Self::Answer, Self::Error> {
        self.project(&event, invocation.deadline).await
    }
}
