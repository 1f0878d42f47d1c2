//! Re-drive open orders whose time has come.
//!
//! **The problem.** An order waits for things that may never come: a message that got lost, a worker that died, a bank's
//! page that was closed, a deadline. Somebody must look again, soon, without anybody telling.
//!
//! **The model.** Every open order is in a sparse index under the moment at which it is to be looked at again. A run walks
//! over the index's buckets every few seconds until shortly before its own end; the schedule starts the next one. Of each
//! order that is due the sweeper moves that moment on, by a conditional write that makes no new version, and sends `process-order` a reminder with
//! the order as it now is. Each pause is about twice as long as the one before, up to a bound, so that a gateway that is away for an hour and a shopper
//! who left the bank's page open cost little. What to do about it, `process-order` decides: repeat a step, ask the gateway, or undo what is
//! past its payment deadline.
//!
//! **Why the write comes first.** The write is what makes one of several sweepers the one that reminds, and what keeps an
//! order from being sent every few seconds while its worker is busy. Dying between the two loses one reminder, and the
//! order comes due again at the moment just written; sending first would lose nothing, but flood the queue exactly when
//! the workers are slow.
//!
//! **A walk through.** [`Sweeper::run`] makes passes until its time is up; one pass takes a bounded number of orders of each
//! bucket, the longest overdue first. A conflict means that the order moved on by itself and needs no reminder.
//!
//! **What it does not do.** It talks to no gateway, moves no stock, and closes no order.
#![forbid(unsafe_code)]

mod remind;
pub mod schedule;

use std::convert::Infallible;
use std::ops::AddAssign;

use domain::limits::{FunctionLimits, OPEN_BUCKETS, Trigger};
use domain::time::Timestamp;
use futures_util::stream::{self, StreamExt as _};
use ports::edge::Edge;
use ports::invocation::{Handle, Invocation};
use ports::messages::SendEvents;
use ports::orders::{FindDueOrders, PutOff, ReadOrder};
use ports::retry::{IN_WORKER, retry};
use serde::Serialize;

use crate::schedule::{Tick, until};

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(60, Trigger::Schedule { every_seconds: 60 });

/// From the beginning of one pass to that of the next, in milliseconds: well below the shortest time after which an order
/// is looked at again.
pub const PERIOD_MS: i64 = 2_000;
/// The most orders of one bucket in one pass. More are left for the next pass, the longest overdue first.
pub const MAX_BUCKET_ORDERS: u16 = 100;
/// How long after the end of its run a pass may still begin with a bucket, or send again, in milliseconds.
const OVERRUN_MS: i64 = 2_000;
/// How many orders are in hand at the same time.
const ORDERS_AT_ONCE: usize = 8;

const _: () = assert!(
    OVERRUN_MS < schedule::RESERVE_MS,
    "a pass ends before its process does"
);
const _: () = assert!(
    PERIOD_MS < domain::limits::ACTION_POLL_MS,
    "an awaited action is looked at as often as it is due"
);

/// What a run, a pass or a bucket came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Passes over all buckets.
    pub passes: u64,
    /// Orders that the index called due.
    pub found: u64,
    /// Reminders sent.
    pub reminded: u64,
    /// Orders that had moved on, or were moved on by somebody else meanwhile.
    pub moved_on: u64,
    /// Orders whose reminder was not accepted: they come due again.
    pub unsent: u64,
    /// Buckets and orders that the database did not answer for: the next pass finds them.
    pub failed: u64,
}

impl AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.passes += other.passes;
        self.found += other.found;
        self.reminded += other.reminded;
        self.moved_on += other.moved_on;
        self.unsent += other.unsent;
        self.failed += other.failed;
    }
}

/// The sweeper.
#[derive(Debug, Clone)]
pub struct Sweeper<O, Q, E> {
    orders: O,
    queues: Q,
    edge: E,
}

impl<O, Q, E> Sweeper<O, Q, E>
where
    O: FindDueOrders + ReadOrder + PutOff,
    Q: SendEvents,
    E: Edge,
{
    /// The function over its ports.
    pub const fn new(orders: O, queues: Q, edge: E) -> Self {
        Self { orders, queues, edge }
    }

    /// Makes passes, one at least, until the next one would begin at `until` or later.
    pub async fn run(&self, until: Timestamp) -> Swept {
        let mut run = Swept::default();
        loop {
            let began = self.edge.now();
            run += self.pass(until).await;
            let next = began.plus_millis(PERIOD_MS);
            if next >= until {
                break;
            }
            let pause = next.millis_since(self.edge.now());
            self.edge.sleep(u64::try_from(pause).unwrap_or(0)).await;
        }
        tracing::info!(
            passes = run.passes,
            found = run.found,
            reminded = run.reminded,
            moved_on = run.moved_on,
            unsent = run.unsent,
            failed = run.failed,
            "swept"
        );
        run
    }

    /// One pass over all buckets, begun at a random one: where time runs out, it is not always the same that go short.
    async fn pass(&self, until: Timestamp) -> Swept {
        let mut pass = Swept {
            passes: 1,
            ..Swept::default()
        };
        let until = until.plus_millis(OVERRUN_MS);
        let first = self.edge.random() % u64::from(OPEN_BUCKETS);
        let first = u8::try_from(first).unwrap_or(0);
        for n in 0..OPEN_BUCKETS {
            if self.edge.now() >= until {
                break;
            }
            pass += self.bucket((first + n) % OPEN_BUCKETS, until).await;
        }
        pass
    }

    async fn bucket(&self, bucket: u8, until: Timestamp) -> Swept {
        let now = self.edge.now();
        let find = || self.orders.due_orders(bucket, now, MAX_BUCKET_ORDERS);
        let ids = match retry(&self.edge, IN_WORKER, find).await {
            Ok(ids) => ids,
            Err(error) => {
                tracing::error!(bucket, %error, "a bucket of open orders cannot be read");
                return Swept {
                    failed: 1,
                    ..Swept::default()
                };
            }
        };
        let mut swept = Swept::default();
        swept.found += u64::try_from(ids.len()).unwrap_or(u64::MAX);
        let due: Vec<_> = stream::iter(ids)
            .map(|id| async move { self.put_off(&id).await })
            .buffer_unordered(ORDERS_AT_ONCE)
            .collect()
            .await;
        let mut reminders = Vec::new();
        for outcome in due {
            match outcome {
                Ok(Some(reminder)) => reminders.push(reminder),
                Ok(None) => swept.moved_on += 1,
                Err(_) => swept.failed += 1,
            }
        }
        let unsent = self.send(&reminders, until).await;
        swept.unsent += unsent;
        swept.reminded += u64::try_from(reminders.len()).unwrap_or(u64::MAX) - unsent;
        swept
    }
}

impl<O, Q, E> Handle for Sweeper<O, Q, E>
where
    O: FindDueOrders + ReadOrder + PutOff + 'static,
    Q: SendEvents + 'static,
    E: Edge,
{
    type Event = Tick;
    type Answer = Swept;
    type Error = Infallible;

    async fn handle(&self, tick: Tick, invocation: &Invocation) -> Result<Swept, Infallible> {
        Ok(self.run(until(tick, self.edge.now(), invocation.deadline)).await)
    }
}
