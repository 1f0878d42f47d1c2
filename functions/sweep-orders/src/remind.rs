//! Processes one order: moves its due time, then sends a reminder.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::ids::OrderId;
use domain::order::Order;
use domain::time::Timestamp;
use events::OrderEvent;
use ports::messages::{Destination, SendEvents};
use ports::orders::{FindDueOrders, PutOff, ReadOrder};
use ports::retry::{IN_WORKER, SENDING, retry, retry_each};
use ports::runtime::Runtime;
use ports::{Conditional, StoreError};

use startup::spans::{correlate, of_event, of_order};
use tracing::Instrument as _;

use crate::Sweeper;

impl<O, Q, R> Sweeper<O, Q, R>
where
    O: FindDueOrders + ReadOrder + PutOff,
    Q: SendEvents,
    R: Runtime,
{
    /// Moves the order's due time. Returns the reminder to send, or `None` when the order is no longer due.
    pub(crate) async fn put_off(&self, id: &OrderId) -> Result<Option<OrderEvent>, StoreError> {
        let put_off = async {
            self.try_put_off(id).await.inspect_err(|error| {
                tracing::error!(%error, "a due order cannot be read or written, so no reminder is sent; a later pass tries again");
            })
        };
        put_off.instrument(of_order(id)).await
    }

    async fn try_put_off(&self, id: &OrderId) -> Result<Option<OrderEvent>, StoreError> {
        let Some(order) = self.read(id).await? else {
            return Ok(None);
        };
        correlate(order.correlation.as_ref());
        let now = self.runtime.now();
        // The index may lag, so only the order itself shows its current status and due time.
        if order.due_at > now || !order.status.is_open() {
            return Ok(None);
        }
        let next = order.next_look(now);
        // A refused write means that another sweeper wrote first or, after an attempt without an answer, that this
        // attempt was done. In the second case this sweeper sends the reminder.
        let in_doubt = AtomicBool::new(false);
        let put_off = || async {
            let outcome = self.orders.put_off(&order, next).await;
            in_doubt.fetch_or(outcome == Err(StoreError::Unknown), Ordering::Relaxed);
            outcome
        };
        let ours = match retry(&self.runtime, IN_WORKER, put_off).await? {
            Conditional::Done => true,
            Conditional::Refused(()) => {
                let stored = |found: Order| (found.version, found.due_at) == (order.version, next);
                in_doubt.load(Ordering::Relaxed) && self.read(id).await?.is_some_and(stored)
            }
        };
        let put_off = Order {
            due_at: next,
            ..order
        };
        Ok(ours.then(|| OrderEvent::due(&put_off)))
    }

    async fn read(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        retry(&self.runtime, IN_WORKER, || self.orders.order(id)).await
    }

    /// Sends reminders, with repeats until `until`; returns the number that were finally not accepted.
    pub(crate) async fn send(&self, reminders: &[OrderEvent], until: Timestamp) -> u64 {
        let send =
            |left: Vec<OrderEvent>| async move { self.queues.send(Destination::Payments, &left).await };
        let answers = retry_each(&self.runtime, SENDING.until(until), reminders, send).await;
        let mut unsent = 0;
        for (reminder, answer) in reminders.iter().zip(answers) {
            let _about = of_event(reminder).entered();
            if answer == Some(Ok(())) {
                tracing::info!("the payments queue accepted the reminder");
            } else {
                let error = answer.and_then(Result::err);
                tracing::warn!(
                    ?error,
                    "the payments queue did not accept the reminder; the order becomes due again"
                );
                unsent += 1;
            }
        }
        unsent
    }
}
