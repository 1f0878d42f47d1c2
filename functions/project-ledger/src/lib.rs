//! Project order events into the PostgreSQL ledger, by version.
//!
//! **The problem.** The ledger must have every version of every order in the end, while its queue delivers more than once
//! and in any order, the database is away for seconds when it fails over, and a single message that is no event must not
//! send a batch round for ever.
//!
//! **The model.** Each message is decoded by itself; what can be decoded is written together by
//! [`ports::ledger::ProjectOrders`], which answers for each event. A message is done when the ledger has its version,
//! however old it is. The others are named in the answer and come again after the queue's visibility timeout, a while
//! from now, so events for which the database was merely away are tried again here first, for a bounded time. What no
//! repeat can mend (no event, or one that a rule of the ledger refuses) fails at once and ends in the dead-letter queue.
//!
//! **A walk through.** [`Projection::project`] takes a batch and answers with the ids of the messages that failed. A hopeless
//! message is logged as an error the first time it is seen, with its id, its order and the rule it breaks, never with
//! what it holds.
//!
//! **What it does not do.** It never reads the ledger, and knows nothing of DynamoDB: the events carry all there is.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use domain::limits::{FunctionLimits, PROJECT_LEDGER_TIMEOUT_SECONDS, Trigger};
use domain::time::Timestamp;
use events::OrderEvent;
use ports::edge::Edge;
use ports::invocation::{Handle, Invocation};
use ports::ledger::{LedgerError, ProjectOrders, Projected};

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(
    PROJECT_LEDGER_TIMEOUT_SECONDS,
    Trigger::Queue {
        batch_size: 10,
        max_concurrency: 10,
        max_receives: 8,
    },
);

/// How often an event is written while the database is away, the first time included.
const TRIES: u32 = 5;
/// The first pause, in milliseconds; each further one is twice as long, and all are shortened by chance.
const FIRST_PAUSE_MS: u64 = 150;
/// What one more try may take at worst, in milliseconds: it is not begun later than that before the deadline. More than
/// the ledger's limits on connecting, waiting and one statement together.
const TRY_MS: i64 = 5_000;

const _: () = assert!(
    TRY_MS < PROJECT_LEDGER_TIMEOUT_SECONDS as i64 * 1000,
    "there must be time for a first try"
);

/// A message failed and has no id, so that only the whole batch can come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message failed, and has no id")]
pub struct WholeBatchFailed;

/// The projection.
#[derive(Debug, Clone)]
pub struct Projection<L, E> {
    ledger: L,
    edge: E,
}

impl<L: ProjectOrders, E: Edge> Projection<L, E> {
    /// The function over its ports.
    pub const fn new(ledger: L, edge: E) -> Self {
        Self { ledger, edge }
    }

    /// Writes a batch, within the time until `deadline`.
    ///
    /// # Errors
    /// [`WholeBatchFailed`]
    pub async fn project(
        &self,
        batch: &SqsEvent,
        deadline: Timestamp,
    ) -> Result<SqsBatchResponse, WholeBatchFailed> {
        let mut failed = Vec::new();
        let mut left = Vec::new();
        for message in &batch.records {
            match OrderEvent::decode(message.body.as_deref().unwrap_or_default()) {
                Ok(event) => left.push((message, event)),
                Err(error) => {
                    hopeless(message, None, &error.to_string());
                    failed.push(message);
                }
            }
        }
        let decoded = left.len();
        let mut late = 0_usize;
        let mut known = 0_usize;
        let mut delayed = 0_usize;
        let mut tries = 1;
        while !left.is_empty() {
            let events: Vec<OrderEvent> = left.iter().map(|(_, event)| event.clone()).collect();
            let mut answers = self.ledger.project(&events).await.into_iter();
            let mut away = None;
            let mut unconnected = 0_usize;
            left.retain(|(message, event)| match answers.next() {
                Some(Ok(projected)) => {
                    late += usize::from(projected == Projected::Late);
                    known += usize::from(projected == Projected::Known);
                    false
                }
                Some(Err(LedgerError::Refused(rule))) => {
                    hopeless(message, Some(event), &rule);
                    failed.push(message);
                    false
                }
                Some(Err(LedgerError::Unavailable(why))) => {
                    away = Some(why);
                    true
                }
                Some(Err(LedgerError::NoConnection(why))) => {
                    away = Some(why);
                    unconnected += usize::from(is_first_receive(message));
                    true
                }
                // An event without an answer was not written as far as anyone knows.
                None => true,
            });
            delayed = delayed.max(unconnected);
            if !left.is_empty() && !self.may_try_again(tries, deadline).await {
                tracing::warn!(
                    left = left.len(),
                    tries,
                    why = away,
                    "the ledger is not available"
                );
                failed.extend(left.iter().map(|(message, _)| *message));
                break;
            }
            tries += 1;
        }
        if delayed > 0 {
            // Each event once, however often it comes: what the database's size cost.
            tracing::warn!(delayed_events = delayed, "ledger writes waited for a connection");
        }
        tracing::info!(
            messages = batch.records.len(),
            decoded,
            late,
            known,
            tries,
            failed = failed.len(),
            "projected"
        );
        let mut report = SqsBatchResponse::default();
        for message in failed {
            let id = message.message_id.as_deref().filter(|id| !id.is_empty());
            report.add_failure(id.ok_or(WholeBatchFailed)?);
        }
        Ok(report)
    }

    /// Pauses before another try; false when there is to be none.
    async fn may_try_again(&self, tries: u32, deadline: Timestamp) -> bool {
        let longest = FIRST_PAUSE_MS << tries.min(TRIES);
        let pause = longest / 2 + self.edge.random() % (longest / 2);
        let after = self
            .edge
            .now()
            .plus_millis(i64::try_from(pause).unwrap_or(i64::MAX));
        if tries >= TRIES || deadline.millis_since(after) < TRY_MS {
            return false;
        }
        self.edge.sleep(pause).await;
        true
    }
}

impl<L: ProjectOrders + 'static, E: Edge> Handle for Projection<L, E> {
    type Event = SqsEvent;
    type Answer = SqsBatchResponse;
    type Error = WholeBatchFailed;

    async fn handle(
        &self,
        event: SqsEvent,
        invocation: &Invocation,
    ) -> Result<SqsBatchResponse, WholeBatchFailed> {
        self.project(&event, invocation.deadline).await
    }
}

/// Says once why a message is on its way to the dead-letter queue: it comes again several times before it is there.
fn hopeless(message: &SqsMessage, event: Option<&OrderEvent>, why: &str) {
    let id = message.message_id.as_deref();
    let order_id = event.map(|event| event.data.order_id.as_str());
    let version = event.map(|event| event.data.version);
    if is_first_receive(message) {
        tracing::error!(
            message_id = id,
            order_id,
            version,
            why,
            "a message cannot be projected"
        );
    } else {
        tracing::debug!(
            message_id = id,
            order_id,
            version,
            why,
            "a message cannot be projected, still"
        );
    }
}

/// Whether the message is seen for the first time, as far as SQS tells.
fn is_first_receive(message: &SqsMessage) -> bool {
    let receives = message.attributes.get("ApproximateReceiveCount");
    receives
        .and_then(|count| count.parse::<u32>().ok())
        .is_none_or(|count| count <= 1)
}
