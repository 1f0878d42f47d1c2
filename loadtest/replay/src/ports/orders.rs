//! Implements the ports of orders, over the store in memory.

use std::sync::Arc;

use domain::ids::{DropId, OrderId, ShopperId};
use domain::order::{EndReason, Order, OrderStatus, OrderStep, StockEffect};
use domain::rate::{CallsWanted, Turn};
use domain::saga::Cause;
use domain::time::Timestamp;
use loadtest::audit::Promise;
use memory::MemoryStore;
use ports::calls::TakeCalls;
use ports::orders::{
    AdvanceOrder, FindDueOrders, ListOpenOrders, ListOrders, NotPlaced, NoteDecline, OrderPage, PlaceOrder,
    Placing, PutOff, ReadOrder,
};
use ports::payment::CardFingerprint;
use ports::{Conditional, StoreError};

use crate::function::Function;
use crate::ports::tell::Tell as _;
use crate::ports::{Ports, Services};
use crate::sabotage::{self, Sabotage};
use crate::stream::short;
use crate::world::World;

/// The delay of a write that was acknowledged before it was done, in milliseconds.
const ACKNOWLEDGED_MS: i64 = 40;

impl TakeCalls for Ports {
    async fn take_calls(&self, wanted: CallsWanted) -> Result<Turn, StoreError> {
        let of = format!("for {}", wanted.calls);
        let act = move |on: Arc<Services>| async move { on.memory.take_calls(wanted).await };
        self.write("take calls", false, of, act).await
    }
}

impl NoteDecline for Ports {
    async fn note_decline(
        &self,
        drop: &DropId,
        card: &CardFingerprint,
        order: &OrderId,
    ) -> Result<u32, StoreError> {
        let of = format!("of {}", short(order));
        let (drop, card, order) = (drop.clone(), card.clone(), order.clone());
        let act = move |on: Arc<Services>| async move { on.memory.note_decline(&drop, &card, &order).await };
        self.write("note decline", false, of, act).await
    }
}

impl PlaceOrder for Ports {
    async fn place(&self, placing: &Placing) -> Result<Conditional<NotPlaced>, StoreError> {
        let mut placing = placing.clone();
        let true_limit = placing.per_shopper_limit;
        if self.world().is_sabotaged(Sabotage::ForgetTheLimit) {
            placing.per_shopper_limit = u32::MAX;
        }
        let of = format!("{} of {}", short(&placing.order.id), placing.order.shopper);
        let process = self.process.id;
        let act = move |on: Arc<Services>| async move {
            let world = &on.world;
            if world.is_sabotaged(Sabotage::AcknowledgeBeforeWriting) {
                // The write runs in the process that acknowledged it, and is lost when that process dies.
                let later = Arc::clone(&on);
                world.spawn(Some(process), async move {
                    later.world.sleep(ACKNOWLEDGED_MS).await;
                    later.memory.place(&placing).await.ok();
                    later.stream.take_from(&later.memory);
                });
                return Ok(Conditional::Done);
            }
            let outcome = on.memory.place(&placing).await;
            match &outcome {
                Ok(Conditional::Done) => {
                    world.note("ordered");
                    let order = &placing.order;
                    let key = &order.reservation.shard;
                    on.watch.adds_up(key);
                    on.watch.claims_changed(&key.drop, &order.shopper);
                    on.watch.within_limit(&key.drop, &order.shopper, true_limit);
                    on.stream.take_from(&on.memory);
                }
                Ok(Conditional::Refused(NotPlaced::Exists(_))) => world.note("an order found its own repeat"),
                Ok(Conditional::Refused(NotPlaced::LimitReached)) => {
                    world.note("limit reached at checkout");
                    on.watch.limit_reached(&placing.order, true_limit);
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

impl ReadOrder for Ports {
    async fn order(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        let of = || short(id).to_owned();
        let act = |memory: MemoryStore| async move { memory.order(id).await };
        let found = self.read("order", false, of, act).await?;
        let any = self.world().is_sabotaged(Sabotage::CountOlderDeclines);
        Ok(found.map(|order| match any {
            true => sabotage::with_any_decline_counting(order),
            false => order,
        }))
    }
}

impl ListOrders for Ports {
    async fn orders_of(
        &self,
        shopper: &ShopperId,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        let act = |memory: MemoryStore| async move { memory.orders_of(shopper, after, limit).await };
        self.read("orders of", true, || shopper.to_string(), act).await
    }
}

impl FindDueOrders for Ports {
    async fn due_orders(&self, bucket: u8, now: Timestamp, limit: u16) -> Result<Vec<OrderId>, StoreError> {
        let of = || format!("in bucket {bucket}");
        let act = |memory: MemoryStore| async move { memory.due_orders(bucket, now, limit).await };
        self.read("due orders", true, of, act).await
    }
}

impl ListOpenOrders for Ports {
    async fn open_orders(
        &self,
        bucket: u8,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        let of = || format!("in bucket {bucket}");
        let act = |memory: MemoryStore| async move { memory.open_orders(bucket, after, limit).await };
        self.read("open orders", true, of, act).await
    }
}

impl PutOff for Ports {
    async fn put_off(&self, seen: &Order, due_at: Timestamp) -> Result<Conditional<()>, StoreError> {
        let (seen, now) = (seen.clone(), self.process.now());
        let of = short(&seen.id).to_owned();
        let is_late = seen.gateway_wait().is_some_and(|(_, until)| until <= now);
        let ends = is_late && self.world().is_sabotaged(Sabotage::CancelAtTheDeadline);
        let act = move |on: Arc<Services>| async move {
            let outcome = on.memory.put_off(&seen, due_at).await;
            if ends && let Ok(step) = seen.request_cancel(EndReason::GatewayUnavailable, now) {
                on.memory.advance(&step).await.ok();
            }
            on.stream.take_from(&on.memory);
            outcome
        };
        self.write("put off", true, of, act).await
    }
}

impl AdvanceOrder for Ports {
    async fn advance(&self, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
        let step = step.clone();
        let of = format!("{} to {}", short(&step.order.id), step.order.tell());
        let names_payment = step.order.history.last() == Some(Cause::Created) && step.effect.is_none();
        if self.world().is_sabotaged(Sabotage::ConfirmBeforeStoring)
            && names_payment
            && self.process.function == Function::ProcessOrder
        {
            // The sabotage does not wait for the write, which happens later, or never if the process dies.
            let later = Arc::clone(&self.services);
            self.world().spawn(Some(self.process.id), async move {
                later.world.sleep(ACKNOWLEDGED_MS).await;
                later.memory.advance(&step).await.ok();
                later.stream.take_from(&later.memory);
            });
            return Ok(Conditional::Done);
        }
        let act = move |on: Arc<Services>| async move {
            let (world, watch, order) = (&on.world, &on.watch, &step.order);
            let outcome = on.memory.advance(&step).await;
            match &outcome {
                Ok(Conditional::Done) => {
                    let key = &order.reservation.shard;
                    if step.effect == Some(StockEffect::Undo)
                        && world.is_sabotaged(Sabotage::ForgetCounterOnDecline)
                    {
                        sabotage::count_again(&on.memory, order);
                    }
                    note(world, order);
                    watch.adds_up(key);
                    if step.effect.is_some() {
                        watch.claims_changed(&key.drop, &order.shopper);
                    }
                    on.stream.take_from(&on.memory);
                }
                Ok(Conditional::Refused(())) => world.note("an order had moved on"),
                Err(error) => world.broken(Promise::Inconsistencies, format!("{}: {error}", order.id)),
            }
            outcome
        };
        self.write("advance", true, of, act).await
    }
}

fn note(world: &World, order: &Order) {
    let situation = match (order.status, order.reason) {
        (OrderStatus::Paid, _) if order.cancel_requested.is_some() => "paid after all",
        (OrderStatus::Paid, _) => "paid",
        (OrderStatus::Declined, _) => "declined",
        (OrderStatus::Cancelled, Some(EndReason::ByShopper)) => "cancelled by the shopper",
        (OrderStatus::Cancelled, Some(EndReason::PaymentDeadline)) => "cancelled by the deadline",
        (OrderStatus::Cancelled, Some(EndReason::DropCancelled)) => "cancelled with the drop",
        (OrderStatus::Cancelled, Some(EndReason::GatewayUnavailable)) => "gave the gateway up",
        (OrderStatus::PaymentFailed, _) => "a card was declined",
        (OrderStatus::ActionRequired, _) => "action required",
        _ => return,
    };
    world.note(situation);
}
