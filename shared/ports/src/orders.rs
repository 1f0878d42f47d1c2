//! Defines the ports of orders: placing, advancing and reading them. The effect of an order on the stock is
//! part of the same transaction.

use std::future::Future;

use domain::claim::Claim;
use domain::ids::{DropId, OrderId, ShopperId};
use domain::order::{Order, OrderStep};
use domain::time::Timestamp;

use crate::payment::CardFingerprint;
use crate::{Conditional, StoreError};

/// An order to place, with the data that the transaction checks and stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// The new order, at version 1.
    pub order: Order,
    /// The hold that becomes `order.claim`, exactly as the hold was read.
    pub hold: Claim,
    /// The largest number of units that the shopper may have in open and paid orders of this drop, including
    /// the new order.
    pub per_shopper_limit: u32,
    /// The shipping address as JSON text. It is stored apart from the order, so that no stream contains it.
    pub address: String,
}

/// Why an order was not placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPlaced {
    /// The reservation already has the contained order.
    Exists(Box<Order>),
    /// The hold differs from what was read: it was released, taken over or replaced, or it expired and
    /// was returned.
    HoldChanged,
    /// The order would exceed the shopper's limit.
    LimitReached,
    /// The order accepts further cards, but the shopper has placed an order in the drop before.
    NotFirst {
        /// The number of cards that were declined in the shopper's orders that ended unpaid.
        declined: u32,
    },
}

/// Places orders.
pub trait PlaceOrder: Send + Sync {
    /// Places the order in one transaction: the hold becomes ordered, the purchase counter grows within the
    /// limit, and the order and the address are stored. An existing order is reported before a changed hold
    /// or the limit, so that a repeat finds its own order. An order that accepts more than one card is placed
    /// only if it is the shopper's first in the drop.
    fn place(
        &self,
        placing: &Placing,
    ) -> impl Future<Output = Result<Conditional<NotPlaced>, StoreError>> + Send;
}

/// Reads one order.
pub trait ReadOrder: Send + Sync {
    /// The order, strongly consistent; `None` if it does not exist.
    fn order(&self, id: &OrderId) -> impl Future<Output = Result<Option<Order>, StoreError>> + Send;
}

/// One page of a list of orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// The orders of the page. A shopper's orders are listed by their placing time, the newest first; open orders
    /// by their due time, the earliest first.
    pub orders: Vec<Order>,
    /// The position after which the next page begins: this time and the id of an order; `None` if there is
    /// certainly no next page.
    pub next: Option<(Timestamp, OrderId)>,
}

/// Lists a shopper's orders.
pub trait ListOrders: Send + Sync {
    /// Up to `limit` orders of `shopper` after the position `after`, the newest first; eventually consistent.
    fn orders_of(
        &self,
        shopper: &ShopperId,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> impl Future<Output = Result<OrderPage, StoreError>> + Send;
}

/// Finds the open orders that are due for a check.
pub trait FindDueOrders: Send + Sync {
    /// Up to `limit` ids of open orders in `bucket` with `due_at <= now`, the longest overdue first. The
    /// result is eventually consistent, so the caller must read each order before it acts.
    fn due_orders(
        &self,
        bucket: u8,
        now: Timestamp,
        limit: u16,
    ) -> impl Future<Output = Result<Vec<OrderId>, StoreError>> + Send;
}

/// Lists open orders, whether they are due or not.
pub trait ListOpenOrders: Send + Sync {
    /// Up to `limit` open orders in `bucket` after the position `after`. Each order is read strongly
    /// consistently, but the selection is eventually consistent.
    fn open_orders(
        &self,
        bucket: u8,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> impl Future<Output = Result<OrderPage, StoreError>> + Send;
}

/// Changes the due time of an open order.
pub trait PutOff: Send + Sync {
    /// Sets the due time of the open order `seen`, without a new version or an event. Refused: the order
    /// has another version or due time than `seen`, or has ended. The repeat of a write that was made is
    /// refused too.
    fn put_off(
        &self,
        seen: &Order,
        due_at: Timestamp,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// The error when the stock does not match the open order whose end must change it. This is a fault of
/// this project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// The shard does not contain the claim that the order wrote.
    #[error("the claim of an open order is not in its shard")]
    NoClaim,
    /// The shopper's purchase counter would fall below zero.
    #[error("the purchase counter is smaller than the order")]
    CounterTooSmall,
}

/// Changes orders, together with the stock.
pub trait AdvanceOrder: Send + Sync {
    /// Stores `step.order` on condition that the stored version is `step.from_version`, in one transaction
    /// with the effect on the claim and the purchase counter. Refused: the order has another version, so the
    /// caller must read it again. The repeat of a step that was stored is refused too.
    fn advance(&self, step: &OrderStep) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Counts the orders of a drop in which the same card was declined.
pub trait NoteDecline: Send + Sync {
    /// Records that `card` was declined in `order`. Returns the number of the drop's orders in
    /// which the card was declined, including this one. An order counts once, and the count ends
    /// at [`domain::limits::MAX_CARD_DECLINES`].
    fn note_decline(
        &self,
        drop: &DropId,
        card: &CardFingerprint,
        order: &OrderId,
    ) -> impl Future<Output = Result<u32, StoreError>> + Send;
}
