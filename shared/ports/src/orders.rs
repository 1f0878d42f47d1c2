//! Orders: placing, advancing and reading them. The effect of an order on the stock is part of the same
//! transaction.

use std::future::Future;

use domain::claim::Claim;
use domain::ids::{DropId, OrderId, ShopperId};
use domain::order::{Order, OrderStep};
use domain::time::Timestamp;

use crate::payment::CardFingerprint;
use crate::{Conditional, StoreError};

/// An order to place, with the conditions that the transaction checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// The order, at version 1.
    pub order: Order,
    /// The hold from which it was made, exactly as read: it becomes `order.claim`.
    pub hold: Claim,
    /// The largest number of units that the shopper may have in open and paid orders of this drop, including this
    /// order.
    pub per_shopper_limit: u32,
    /// The shipping address as JSON text: stored apart from the order, and never streamed.
    pub address: String,
}

/// Why an order was not placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPlaced {
    /// The reservation already has this order.
    Exists(Box<Order>),
    /// The hold has changed since it was read: released, taken over, replaced, or expired and returned.
    HoldChanged,
    /// The order would exceed the shopper's limit.
    LimitReached,
    /// The order takes further cards, and the shopper has placed an order in the drop before.
    NotFirst {
        /// The number of cards that were declined in the shopper's orders that ended unpaid.
        declined: u32,
    },
}

/// Places orders.
pub trait PlaceOrder: Send + Sync {
    /// In one transaction: the hold becomes ordered, the purchase counter grows within the limit, and the
    /// order and the address are stored. An existing order is reported before a changed claim or the limit,
    /// so that a repeat finds its own order. An order that accepts more than one card is placed only as the
    /// shopper's first in the drop.
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

/// One page of a shopper's orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// Newest first.
    pub orders: Vec<Order>,
    /// The start of the next page, if there is one: the placing time and id of the last order on this page.
    pub next: Option<(Timestamp, OrderId)>,
}

/// Lists a shopper's orders.
pub trait ListOrders: Send + Sync {
    /// Up to `limit` orders of `shopper`, newest first, after `after`; eventually consistent.
    fn orders_of(
        &self,
        shopper: &ShopperId,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> impl Future<Output = Result<OrderPage, StoreError>> + Send;
}

/// Finds open orders that are due.
pub trait FindDueOrders: Send + Sync {
    /// Up to `limit` ids of open orders in `bucket` with `due_at <= now`, the longest overdue first.
    /// Eventually consistent, so the caller reads each order before acting.
    fn due_orders(
        &self,
        bucket: u8,
        now: Timestamp,
        limit: u16,
    ) -> impl Future<Output = Result<Vec<OrderId>, StoreError>> + Send;
}

/// One page of the open orders of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPage {
    /// Orders that are still open, the earliest due first.
    pub orders: Vec<Order>,
    /// The start of the next page, if there may be one.
    pub next: Option<(Timestamp, OrderId)>,
}

/// Lists open orders, whether they are due or not.
pub trait ListOpenOrders: Send + Sync {
    /// Up to `limit` open orders in `bucket` after `after`, each strongly consistent. The selection is
    /// eventually consistent.
    fn open_orders(
        &self,
        bucket: u8,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> impl Future<Output = Result<OpenPage, StoreError>> + Send;
}

/// Changes an order's due time.
pub trait PutOff: Send + Sync {
    /// Sets when the open order `seen` is due, without a new version or an event. Refused: the order has
    /// another version or due time than `seen`, or has ended. The repeat of a write that was done is refused
    /// too.
    fn put_off(
        &self,
        seen: &Order,
        due_at: Timestamp,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// The stock does not match the open order whose end should change it: a fault of this project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// The claim differs from the one that the order wrote.
    #[error("the claim of an open order is not in its shard")]
    NoClaim,
    /// The counter would fall below zero.
    #[error("the purchase counter is smaller than the order")]
    CounterTooSmall,
}

/// Changes orders.
pub trait AdvanceOrder: Send + Sync {
    /// Stores `step.order` on condition that the version is `step.from_version`, in one transaction with its
    /// effect on the claim and the purchase counter. Refused: the order has another version, so read it
    /// again. The repeat of a step that was stored is refused too.
    fn advance(&self, step: &OrderStep) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Counts the orders of a drop in which one card was declined.
pub trait NoteDecline: Send + Sync {
    /// Records that `card` was declined in `order`, and returns the number of the drop's orders in which it
    /// was declined, including this one. An order counts once, and the count ends at
    /// [`domain::limits::MAX_CARD_DECLINES`].
    fn note_decline(
        &self,
        drop: &DropId,
        card: &CardFingerprint,
        order: &OrderId,
    ) -> impl Future<Output = Result<u32, StoreError>> + Send;
}
