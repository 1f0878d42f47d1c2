//! Implements the ports of orders, over the store in memory.

use std::sync::Arc;

use domain::ids::{DropId, OrderId, ShopperId};
use domain::order::{Order, OrderStatus, OrderStep, StockEffect};
use domain::rate::{CallsWanted, Turn};
use domain::saga::Cause;
use domain::time::Timestamp;
use loadtest::audit::Promise;
use ports::calls::TakeCalls;
use ports::orders::{
    AdvanceOrder, FindDueOrders, ListOpenOrders, ListOrders, NotPlaced, NoteDecline, OpenPage, OrderPage,
    PlaceOrder, Placing, PutOff, ReadOrder,
};
use ports::payment::CardFingerprint;
use ports::{Conditional, StoreError};

use crate::ports::store::Store;
use crate::ports::tell::{Tell as _, short};
use crate::sabotage::{self, Sabotage};

/// The delay of a write that was acknowledged before it was done, in milliseconds.
const ACKNOWLEDGED_MS: i64 = 40;

impl TakeCalls for Store {
    async fn take_calls(&self, wanted: CallsWanted) -> Result<Turn, StoreError> {
        let of = format!("for {}", wanted.calls);
        let act = move |memory: memory::MemoryStore| async move { memory.take_calls(wanted).await };
        self.write("take calls", false, of, act).await
    }
}

impl NoteDecline for Store {
    async fn note_decline(
        &self,
        drop: &DropId,
        card: &CardFingerprint,
        order: &OrderId,
    ) -> Result<u32, StoreError> {
        let of = format!("of {}", short(order));
        let (drop, card, order) = (drop.clone(), card.clone(), order.clone());
        let act =
            move |memory: memory::MemoryStore| async move { memory.note_decline(&drop, &card, &order).await };
        self.write("note decline", false, of, act).await
    }
}

impl PlaceOrder for Store {
    async fn place(&self, placing: &Placing) -> Result<Conditional<NotPlaced>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let mut placing = placing.clone();
        let (world, stream) = (self.world().clone(), self.stream.clone());
        let true_limit = placing.per_shopper_limit;
        if world.is_sabotaged(Sabotage::ForgetTheLimit) {
            placing.per_shopper_limit = u32::MAX;
        }
        let of = format!("{} of {}", short(&placing.order.id), placing.order.shopper);
        let acknowledged_first = world.is_sabotaged(Sabotage::AcknowledgeBeforeWriting);
        let process = self.process.clone();
        let act = move |memory: memory::MemoryStore| async move {
            if acknowledged_first {
                // The write runs in the process that acknowledged it, and is lost when that process dies.
                let inner = world.clone();
                world.spawn(Some(process.id), async move {
                    inner.sleep(ACKNOWLEDGED_MS).await;
                    memory.place(&placing).await.ok();
                    stream.take_from(&memory);
                });
                return Ok(Conditional::Done);
            }
            let outcome = memory.place(&placing).await;
            match &outcome {
                Ok(Conditional::Done) => {
                    world.note("ordered");
                    let order = &placing.order;
                    let key = &order.reservation.shard;
                    watch.adds_up(&memory, key);
                    watch.claims_changed(&memory, &key.drop, &order.shopper);
                    watch.within_limit(&memory, &key.drop, &order.shopper, true_limit);
                    stream.take_from(&memory);
                }
                Ok(Conditional::Refused(NotPlaced::Exists(_))) => world.note("an order found its own repeat"),
                Ok(Conditional::Refused(NotPlaced::LimitReached)) => {
                    world.note("limit reached at checkout");
                    watch.limit_reached(&memory, &placing.order, true_limit);
                }
                Ok(Conditional::Refused(NotPlaced::HoldChanged)) => world.note("hold changed at checkout"),
                Ok(Conditional::Refused(NotPlaced::NotFirst { .. })) => {
                    world.note("not a shopper's first order")
                }
                Err(_) => {}
            }
            outcome
        };
        self.write("place", true, of, act).await
    }
}

impl ReadOrder for Store {
    async fn order(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        let found = self
            .read(
                "order",
                false,
                || short(id).to_owned(),
                |memory| async move { memory.order(id).await },
            )
            .await?;
        let any = self.world().is_sabotaged(Sabotage::CountOlderDeclines);
        Ok(found.map(|order| match any {
            true => sabotage::with_any_decline_counting(order),
            false => order,
        }))
    }
}

impl ListOrders for Store {
    async fn orders_of(
        &self,
        shopper: &ShopperId,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        self.read(
            "orders of",
            true,
            || shopper.to_string(),
            |memory| async move { memory.orders_of(shopper, after, limit).await },
        )
        .await
    }
}

impl FindDueOrders for Store {
    async fn due_orders(&self, bucket: u8, now: Timestamp, limit: u16) -> Result<Vec<OrderId>, StoreError> {
        self.read(
            "due orders",
            true,
            || format!("in bucket {bucket}"),
            |memory| async move { memory.due_orders(bucket, now, limit).await },
        )
        .await
    }
}

impl ListOpenOrders for Store {
    async fn open_orders(
        &self,
        bucket: u8,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OpenPage, StoreError> {
        self.read(
            "open orders",
            true,
            || format!("in bucket {bucket}"),
            |memory| async move { memory.open_orders(bucket, after, limit).await },
        )
        .await
    }
}

impl PutOff for Store {
    async fn put_off(&self, seen: &Order, due_at: Timestamp) -> Result<Conditional<()>, StoreError> {
        let (seen, stream) = (seen.clone(), self.stream.clone());
        let (of, now) = (short(&seen.id).to_owned(), self.process.now());
        let is_late = seen.gateway_wait().is_some_and(|(_, until)| until <= now);
        let ends = is_late && self.world().is_sabotaged(Sabotage::CancelAtTheDeadline);
        let act = move |memory: memory::MemoryStore| async move {
            let outcome = memory.put_off(&seen, due_at).await;
            if ends && let Ok(step) = seen.request_cancel(domain::order::EndReason::GatewayUnavailable, now) {
                memory.advance(&step).await.ok();
            }
            stream.take_from(&memory);
            outcome
        };
        self.write("put off", true, of, act).await
    }
}

impl AdvanceOrder for Store {
    async fn advance(&self, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
        let watch = Arc::clone(&self.process.watch);
        let (step, world, stream) = (step.clone(), self.world().clone(), self.stream.clone());
        let of = format!("{} to {}", short(&step.order.id), step.order.tell());
        let names_payment = step.order.history.last() == Some(Cause::Created) && step.effect.is_none();
        if world.is_sabotaged(Sabotage::ConfirmBeforeStoring)
            && names_payment
            && self.process.function == crate::function::Function::ProcessOrder
        {
            // The sabotage does not wait for the write, which happens later, or never if the process dies.
            let (memory, id) = (self.memory.clone(), self.process.id);
            let inner = world.clone();
            world.spawn(Some(id), async move {
                inner.sleep(ACKNOWLEDGED_MS).await;
                memory.advance(&step).await.ok();
                stream.take_from(&memory);
            });
            return Ok(Conditional::Done);
        }
        let act = move |memory: memory::MemoryStore| async move {
            let outcome = memory.advance(&step).await;
            match &outcome {
                Ok(Conditional::Done) => {
                    let order = &step.order;
                    let key = &order.reservation.shard;
                    if step.effect == Some(StockEffect::Undo)
                        && world.is_sabotaged(Sabotage::ForgetCounterOnDecline)
                    {
                        sabotage::count_again(&memory, order);
                    }
                    note(&world, &step);
                    watch.adds_up(&memory, key);
                    if step.effect.is_some() {
                        watch.claims_changed(&memory, &key.drop, &order.shopper);
                    }
                    stream.take_from(&memory);
                }
                Ok(Conditional::Refused(())) => world.note("an order had moved on"),
                Err(error) => world.broken(Promise::Inconsistencies, format!("{}: {error}", step.order.id)),
            }
            outcome
        };
        self.write("advance", true, of, act).await
    }
}

fn note(world: &crate::world::World, step: &OrderStep) {
    use domain::order::EndReason;
    let order = &step.order;
    match (order.status, order.reason) {
        (OrderStatus::Paid, _) if order.cancel_requested.is_some() => world.note("paid after all"),
        (OrderStatus::Paid, _) => world.note("paid"),
        (OrderStatus::Declined, _) => world.note("declined"),
        (OrderStatus::Cancelled, Some(EndReason::ByShopper)) => world.note("cancelled by the shopper"),
        (OrderStatus::Cancelled, Some(EndReason::PaymentDeadline)) => world.note("cancelled by the deadline"),
        (OrderStatus::Cancelled, Some(EndReason::DropCancelled)) => world.note("cancelled with the drop"),
        (OrderStatus::Cancelled, Some(EndReason::GatewayUnavailable)) => world.note("gave the gateway up"),
        (OrderStatus::PaymentFailed, _) => world.note("a card was declined"),
        (OrderStatus::ActionRequired, _) => world.note("action required"),
        _ => {}
    }
}
