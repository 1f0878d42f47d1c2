//! Re-drive open orders whose time has come.
//!
//! Messages get lost, gateways fall silent, shoppers walk away from their bank's page. Each open order therefore says when
//! it wants to be looked at again, in a sparse index that holds open orders only. This function walks over the index, puts
//! the next look off, and reminds `process-order` of the order; what is to be done then is decided there, by the order and
//! the gateway.
//!
//! A schedule starts a run every minute; a run goes round every few seconds until shortly before its deadline, because a
//! shopper who has confirmed at the bank should not wait for the next minute. Runs may overlap: putting the look off is a
//! conditional write, so only one of them sends the reminder.
//!
//! The look is put off *before* the reminder is sent. Dying in between loses a reminder, and the order comes due again;
//! the other way round, a crowd of reminders could be sent for one order.
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

use domain::ids::OrderId;
use domain::limits::OPEN_BUCKETS;
use domain::time::Timestamp;
use events::OrderEvent;
use futures_util::future::join_all;
use ports::StoreError;
use ports::edge::Edge;
use ports::messages::{Destination, SendEvents};
use ports::orders::{AdvanceOrder, FindDueOrders, ReadOrder};
use ports::retry::{IN_WORKER, retry};
use serde::Serialize;

/// The pause between two rounds, in milliseconds.
pub const PERIOD_MS: i64 = 2_000;
/// How long before the run's deadline no further round begins, in milliseconds.
pub const MARGIN_MS: i64 = 8_000;
/// The most orders of one bucket that one round looks at.
const MOST_PER_BUCKET: u16 = 100;
/// How many orders are put off at the same time.
const AT_ONCE: usize = 16;

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Rounds over all buckets.
    pub rounds: u32,
    /// Orders that were due and are reminded of.
    pub reminded: u32,
    /// Buckets or orders that could not be read, put off or sent; they come due again.
    pub failed: u32,
}

/// The sweeper, with its ports.
#[derive(Debug, Clone)]
pub struct Sweeper<O, Q, E> {
    /// The orders.
    pub orders: O,
    /// The queues.
    pub queues: Q,
    /// Clock and chance.
    pub edge: E,
}

impl<O: ReadOrder + FindDueOrders + AdvanceOrder, Q: SendEvents, E: Edge> Sweeper<O, Q, E> {
    /// Goes round until shortly before `deadline`, at least once.
    pub async fn run(&self, deadline: Timestamp) -> Swept {
        let mut swept = Swept::default();
        loop {
            let began = self.edge.now();
            self.round(&mut swept).await;
            let now = self.edge.now();
            let wait_ms = PERIOD_MS.saturating_sub(now.millis_since(began)).max(0);
            if now.plus_millis(wait_ms + MARGIN_MS) >= deadline {
                tracing::info!(
                    rounds = swept.rounds,
                    reminded = swept.reminded,
                    failed = swept.failed,
                    "swept"
                );
                return swept;
            }
            self.edge.sleep(u64::try_from(wait_ms).unwrap_or_default()).await;
        }
    }

    /// One walk over all buckets.
    pub async fn round(&self, swept: &mut Swept) {
        swept.rounds += 1;
        let now = self.edge.now();
        let buckets = (0..OPEN_BUCKETS).map(|bucket| {
            retry(&self.edge, IN_WORKER, move || {
                self.orders.due_orders(bucket, now, MOST_PER_BUCKET)
            })
        });
        let mut due = Vec::new();
        for found in join_all(buckets).await {
            match found {
                Ok(ids) => due.extend(ids),
                Err(error) => {
                    swept.failed += 1;
                    tracing::warn!(%error, "a bucket of open orders cannot be read");
                }
            }
        }
        let mut reminders = Vec::new();
        for some in due.chunks(AT_ONCE) {
            for (id, outcome) in some
                .iter()
                .zip(join_all(some.iter().map(|id| self.put_off(id))).await)
            {
                match outcome {
                    Ok(reminder) => reminders.extend(reminder),
                    Err(error) => {
                        swept.failed += 1;
                        tracing::warn!(order = %id, %error, "an order cannot be put off");
                    }
                }
            }
        }
        for answer in self.queues.send(Destination::Payments, &reminders).await {
            match answer {
                Ok(()) => swept.reminded += 1,
                Err(error) => {
                    swept.failed += 1;
                    tracing::warn!(%error, "a reminder was not accepted; the order comes due again");
                }
            }
        }
    }

    /// Puts the next look off; the reminder to send, unless the order has ended, is no longer due, or somebody else is
    /// at it.
    async fn put_off(&self, id: &OrderId) -> Result<Option<OrderEvent>, StoreError> {
        let order = retry(&self.edge, IN_WORKER, || self.orders.order(id)).await?;
        let now = self.edge.now();
        let Some(order) = order.filter(|order| order.status.is_open() && order.due_at <= now) else {
            return Ok(None);
        };
        let Ok(step) = order.look_again(now) else {
            return Ok(None);
        };
        let done = retry(&self.edge, IN_WORKER, || self.orders.advance(&step))
            .await?
            .is_done();
        Ok(done.then(|| OrderEvent::due(&step.order)))
    }
}
