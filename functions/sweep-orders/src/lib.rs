//! Sends reminders of open orders that are due.
//!
//! **The problem.** An order may wait for an event that never arrives: the message was lost, the worker died,
//! or the shopper closed the bank's page. An order may also reach its deadline. So open orders must be checked
//! again soon, without a message.
//!
//! **The model.** Every open order is in a sparse index under its due time, the time of its next check. A run
//! reads the index's buckets every few seconds until shortly before its own end; the schedule starts the next
//! run. For each due order, the sweeper moves the due time later by a conditional write that makes no new
//! version, and sends `process-order` a reminder with the current order. Each pause is about twice as long as
//! the one before, up to a limit, so that an hour-long outage of the gateway and a shopper who leaves the
//! bank's page open cost little. `process-order` decides what to do: repeat a step, call the gateway, or undo
//! an order past its deadline.
//!
//! **Why the write comes first.** The write selects one of several sweepers to send the reminder, and
//! prevents a reminder every few seconds while the worker is busy. If the process dies between the write and
//! the send, one reminder is lost, and the order is due again at the time just written. If the reminder were
//! sent first, none would be lost, but slow workers would get a flood of messages.
//!
//! **A walk through.** [`Sweeper::run`] makes passes until its time is up; one pass takes a bounded number of orders of
//! each bucket, the longest overdue first. A conflict means that the order has changed and needs no reminder.
//!
//! **What it does not do.** It calls no gateway, changes no stock, and ends no order.
#![forbid(unsafe_code)]

mod remind;
pub mod schedule;

use std::convert::Infallible;
use std::ops::AddAssign;

use domain::limits::{FunctionLimits, OPEN_BUCKETS, Trigger};
use domain::time::Timestamp;
use futures_util::stream::{self, StreamExt as _};
use ports::invocation::{Handle, Invocation};
use ports::messages::SendEvents;
use ports::orders::{FindDueOrders, PutOff, ReadOrder};
use ports::retry::{IN_WORKER, retry};
use ports::runtime::Runtime;
use serde::Serialize;

use crate::schedule::{Tick, until};

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(60, Trigger::Schedule { every_seconds: 60 });

/// The time from the beginning of one pass to the beginning of the next, in milliseconds: below the shortest
/// pause between two checks of an order.
pub const PERIOD_MS: i64 = 2_000;
/// The largest number of orders of one bucket in one pass. Further orders wait for the next pass. The longest
/// overdue come first.
pub const MAX_BUCKET_ORDERS: u16 = 100;
/// How long after the end of its run a pass may still begin with a bucket, or repeat a send, in milliseconds.
const OVERRUN_MS: i64 = 2_000;
/// The number of orders that are processed concurrently.
const ORDERS_AT_ONCE: usize = 8;

const _: () = assert!(
    OVERRUN_MS < schedule::RESERVE_MS,
    "a pass ends before its process does"
);
const _: () = assert!(
    PERIOD_MS < domain::limits::ACTION_POLL_MS,
    "an awaited action is looked at as often as it is due"
);

/// The numbers of due orders, reminders and failures in a run, a pass or a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Passes over all buckets.
    pub passes: u64,
    /// Orders that are due according to the index.
    pub found: u64,
    /// Reminders that the queue accepted.
    pub reminded: u64,
    /// Orders that had changed, or that another sweeper processed in the meantime.
    pub moved_on: u64,
    /// Orders whose reminder the queue did not accept. These orders become due again.
    pub unsent: u64,
    /// Buckets and orders for which the database did not answer. The next pass reads them again.
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

#[derive(Debug, Clone)]
pub struct Sweeper<O, Q, R> {
    orders: O,
    queues: Q,
    runtime: R,
}

impl<O, Q, R> Sweeper<O, Q, R>
where
    O: FindDueOrders + ReadOrder + PutOff,
    Q: SendEvents,
    R: Runtime,
{
    /// A sweeper of the due orders in `orders`, which sends its reminders to `queues`.
    pub const fn new(orders: O, queues: Q, runtime: R) -> Self {
        Self {
            orders,
            queues,
            runtime,
        }
    }

    /// Makes passes until the next pass would begin at `until` or later; at least one pass.
    pub async fn run(&self, until: Timestamp) -> Swept {
        let mut run = Swept::default();
        loop {
            let began = self.runtime.now();
            run += self.pass(until).await;
            let next = began.plus_millis(PERIOD_MS);
            if next >= until {
                break;
            }
            let pause = next.millis_since(self.runtime.now());
            self.runtime.sleep(u64::try_from(pause).unwrap_or(0)).await;
        }
        tracing::info!(
            passes = run.passes,
            found = run.found,
            reminded = run.reminded,
            moved_on = run.moved_on,
            unsent = run.unsent,
            failed = run.failed,
            "the sweeper's run ended; the orders in `unsent` and `failed` are checked again"
        );
        run
    }

    /// One pass over all buckets, beginning with a random one. When time runs out, different buckets are left
    /// out each time.
    async fn pass(&self, until: Timestamp) -> Swept {
        let mut pass = Swept {
            passes: 1,
            ..Swept::default()
        };
        let until = until.plus_millis(OVERRUN_MS);
        let first = self.runtime.random() % u64::from(OPEN_BUCKETS);
        let first = u8::try_from(first).unwrap_or(0);
        for bucket in (first..OPEN_BUCKETS).chain(0..first) {
            if self.runtime.now() >= until {
                break;
            }
            pass += self.bucket(bucket, until).await;
        }
        pass
    }

    async fn bucket(&self, bucket: u8, until: Timestamp) -> Swept {
        let now = self.runtime.now();
        let find = || self.orders.due_orders(bucket, now, MAX_BUCKET_ORDERS);
        let ids = match retry(&self.runtime, IN_WORKER, find).await {
            Ok(ids) => ids,
            Err(error) => {
                tracing::error!(bucket, %error, "a bucket of open orders cannot be read; the next pass tries again");
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

impl<O, Q, R> Handle for Sweeper<O, Q, R>
where
    O: FindDueOrders + ReadOrder + PutOff + 'static,
    Q: SendEvents + 'static,
    R: Runtime,
{
    type Event = Tick;
    type Answer = Swept;
    type Error = Infallible;

    async fn handle(&self, tick: Tick, invocation: &Invocation) -> Result<Swept, Infallible> {
        let until = until(tick, self.runtime.now(), invocation.deadline);
        Ok(self.run(until).await)
    }
}
