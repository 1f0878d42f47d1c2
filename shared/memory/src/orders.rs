//! Implements the order ports: each change of an order and of the stock in one step.

use std::cmp::Reverse;

use domain::ids::{DropId, OrderId, ShopperId};
use domain::lapse::Lapses;
use domain::limits::MAX_CARD_DECLINES;
use domain::order::{Order, OrderStep, StockEffect};
use domain::rate::{CallsWanted, Turn};
use domain::shard::Shard;
use domain::time::Timestamp;
use ports::calls::TakeCalls;
use ports::mail::{Contact, KeepContact};
use ports::orders::{
    AdvanceOrder, EffectError, FindDueOrders, ListOpenOrders, ListOrders, NotPlaced, NoteDecline, OrderPage,
    PlaceOrder, Placing, PutOff, ReadOrder,
};
use ports::payment::CardFingerprint;
use ports::{Conditional, StoreError, page};

use crate::faults::Op;
use crate::store::{MemoryStore, OrderChange, State};

impl TakeCalls for MemoryStore {
    async fn take_calls(&self, wanted: CallsWanted) -> Result<Turn, StoreError> {
        self.call(Op::TakeCalls, |state| {
            let line = state.lines.get(&wanted.line).copied();
            let (turn, line) = wanted.take(line);
            if let Some(line) = line {
                state.lines.insert(wanted.line, line);
            }
            Ok(turn)
        })
        .await
    }
}

impl NoteDecline for MemoryStore {
    async fn note_decline(
        &self,
        drop: &DropId,
        card: &CardFingerprint,
        order: &OrderId,
    ) -> Result<u32, StoreError> {
        let key = (drop.clone(), card.clone());
        self.call(Op::NoteDecline, |state| {
            let orders = state.declined_cards.entry(key.clone()).or_default();
            if orders.len() < MAX_CARD_DECLINES as usize {
                orders.insert(order.clone());
            }
            Ok(u32::try_from(orders.len()).unwrap_or(MAX_CARD_DECLINES))
        })
        .await
    }
}

impl PlaceOrder for MemoryStore {
    async fn place(&self, placing: &Placing) -> Result<Conditional<NotPlaced>, StoreError> {
        self.call(Op::Place, |state| place(state, placing)).await
    }
}

fn place(state: &mut State, placing: &Placing) -> Result<Conditional<NotPlaced>, StoreError> {
    let order = &placing.order;
    let hold = order.replaced(&placing.hold).map_err(StoreError::broken)?;
    if let Some(existing) = state.orders.get(&order.id) {
        let existing = Box::new(existing.clone());
        return Ok(Conditional::Refused(NotPlaced::Exists(existing)));
    }
    let shard_key = &order.reservation.shard;
    let shard = state.shards.get_mut(shard_key);
    let is_held = |shard: &&mut Shard| shard.claims.get(&order.shopper) == Some(hold.claim());
    let Some(shard) = shard.filter(is_held) else {
        return Ok(Conditional::Refused(NotPlaced::HoldChanged));
    };
    let whose = (shard_key.drop.clone(), order.shopper.clone());
    let purchased = state.purchases.get(&whose).copied().unwrap_or(0) + order.units;
    if purchased > placing.per_shopper_limit {
        return Ok(Conditional::Refused(NotPlaced::LimitReached));
    }
    if order.terms.cards > 1 && state.purchases.contains_key(&whose) {
        let declined = state.declined.get(&whose).copied().unwrap_or(0);
        return Ok(Conditional::Refused(NotPlaced::NotFirst { declined }));
    }
    let ordered = shard.order(&order.shopper, hold.claim(), order.claim.clone());
    if ordered.is_err() {
        return Ok(Conditional::Refused(NotPlaced::HoldChanged));
    }
    state.purchases.insert(whose, purchased);
    state.addresses.insert(order.id.clone(), placing.address.clone());
    state.orders.insert(order.id.clone(), order.clone());
    state.changes.push(OrderChange {
        before: None,
        after: order.clone(),
    });
    Ok(Conditional::Done)
}

impl ReadOrder for MemoryStore {
    async fn order(&self, id: &OrderId) -> Result<Option<Order>, StoreError> {
        self.call(Op::Order, |state| Ok(state.orders.get(id).cloned()))
            .await
    }
}

impl ListOrders for MemoryStore {
    async fn orders_of(
        &self,
        shopper: &ShopperId,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        self.call(Op::OrdersOf, |state| {
            let place = |order: &Order| (order.placed_at, order.id.clone());
            let mut orders: Vec<Order> = state
                .orders
                .values()
                .filter(|order| order.shopper == *shopper)
                .filter(|order| after.is_none_or(|after| place(order) < *after))
                .cloned()
                .collect();
            orders.sort_by_key(|order| Reverse(place(order)));
            let next = page::cut(&mut orders, limit, place);
            Ok(OrderPage { orders, next })
        })
        .await
    }
}

impl FindDueOrders for MemoryStore {
    async fn due_orders(&self, bucket: u8, now: Timestamp, limit: u16) -> Result<Vec<OrderId>, StoreError> {
        self.call(Op::DueOrders, |state| {
            let mut due: Vec<&Order> = state
                .orders
                .values()
                .filter(|order| order.open_bucket() == Some(bucket) && order.due_at <= now)
                .collect();
            due.sort_by_key(|order| (order.due_at, order.id.clone()));
            due.truncate(usize::from(limit));
            Ok(due.into_iter().map(|order| order.id.clone()).collect())
        })
        .await
    }
}

impl ListOpenOrders for MemoryStore {
    async fn open_orders(
        &self,
        bucket: u8,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> Result<OrderPage, StoreError> {
        self.call(Op::OpenOrders, |state| {
            let place = |order: &Order| (order.due_at, order.id.clone());
            let mut orders: Vec<Order> = state
                .orders
                .values()
                .filter(|order| order.open_bucket() == Some(bucket))
                .filter(|order| after.is_none_or(|after| place(order) > *after))
                .cloned()
                .collect();
            orders.sort_by_key(place);
            let next = page::cut(&mut orders, limit, place);
            Ok(OrderPage { orders, next })
        })
        .await
    }
}

impl PutOff for MemoryStore {
    async fn put_off(&self, seen: &Order, due_at: Timestamp) -> Result<Conditional<()>, StoreError> {
        self.call(Op::PutOff, |state| {
            let stored = state.orders.get_mut(&seen.id);
            let same = |stored: &&mut Order| {
                stored.status.is_open() && (stored.version, stored.due_at) == (seen.version, seen.due_at)
            };
            let Some(stored) = stored.filter(same) else {
                return Ok(Conditional::Refused(()));
            };
            let before = stored.clone();
            stored.due_at = due_at;
            // The table's stream contains every write, so it contains this change of the due time, too.
            state.changes.push(OrderChange {
                before: Some(before),
                after: stored.clone(),
            });
            Ok(Conditional::Done)
        })
        .await
    }
}

impl KeepContact for MemoryStore {
    async fn contact(&self, order: &OrderId) -> Result<Option<Contact>, StoreError> {
        self.call(Op::Contact, |state| {
            let sent = state.sent.get(order).into_iter().flatten().cloned();
            let address = state.addresses.get(order).cloned();
            Ok(address.map(|address| Contact {
                address,
                sent: sent.collect(),
            }))
        })
        .await
    }

    async fn note_sent(&self, order: &OrderId, what: &str) -> Result<(), StoreError> {
        self.call(Op::NoteSent, |state| {
            if !state.addresses.contains_key(order) {
                return Err(StoreError::broken("the order has no address"));
            }
            let sent = state.sent.entry(order.clone()).or_default();
            sent.insert(what.to_owned());
            Ok(())
        })
        .await
    }
}

impl AdvanceOrder for MemoryStore {
    async fn advance(&self, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
        self.call(Op::Advance, |state| advance(state, step)).await
    }
}

fn advance(state: &mut State, step: &OrderStep) -> Result<Conditional<()>, StoreError> {
    let order = &step.order;
    let stored = state.orders.get_mut(&order.id);
    let Some(stored) = stored.filter(|stored| stored.version == step.from_version) else {
        return Ok(Conditional::Refused(()));
    };
    if let Some(effect) = step.effect {
        let no_claim = || StoreError::broken(EffectError::NoClaim);
        let key = &order.reservation.shard;
        let shard = state.shards.get_mut(key).ok_or_else(no_claim)?;
        match effect {
            StockEffect::Settle => shard
                .settle(&order.shopper, &order.claim)
                .map_err(|_| no_claim())?,
            StockEffect::Undo => {
                let whose = (key.drop.clone(), order.shopper.clone());
                let counted = state.purchases.entry(whose.clone()).or_default();
                let rest = counted
                    .checked_sub(order.units)
                    .ok_or_else(|| StoreError::broken(EffectError::CounterTooSmall))?;
                shard
                    .give_back(&order.shopper, &order.claim)
                    .map_err(|_| no_claim())?;
                *counted = rest;
                *state.declined.entry(whose.clone()).or_default() += order.declines();
                if order.counts_as_lapse() {
                    let before = state.lapses.get(&whose).map_or(0, |before| before.count);
                    let (count, last) = (before.saturating_add(1), order.updated_at);
                    state.lapses.insert(whose, Lapses { count, last });
                }
            }
        }
    }
    let before = std::mem::replace(stored, order.clone());
    state.changes.push(OrderChange {
        before: Some(before),
        after: order.clone(),
    });
    Ok(Conditional::Done)
}
