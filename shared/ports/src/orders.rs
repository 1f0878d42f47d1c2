//! Orders: placed, advanced and read. What an order does to the stock happens in the same transaction.

use std::future::Future;

use domain::claim::Claim;
use domain::ids::{DropId, OrderId, ShopperId};
use domain::order::{Order, OrderStep};
use domain::time::Timestamp;

use crate::payment::CardFingerprint;
use crate::{Conditional, StoreError};

/// An order to be placed, with what the transaction makes sure of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// The order, at version 1.
    pub order: Order,
    /// The hold it was made from, exactly as seen: it becomes `order.claim`.
    pub hold: Claim,
    /// The most units the shopper may have in open and paid orders of this drop, this one included.
    pub per_shopper_limit: u32,
    /// The shipping address as JSON text: stored apart from the order, and never streamed.
    pub address: String,
}

/// Why an order was not placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPlaced {
    /// The reservation has its order already; this is it.
    Exists(Box<Order>),
    /// The hold is not as it was seen: released, taken over, replaced, or expired and returned.
    HoldChanged,
    /// The shopper's limit would be passed.
    LimitReached,
    /// The order takes further cards, and the shopper has placed an order in the drop before.
    NotFirst {
        /// How many cards were declined in those of the shopper's orders that ended unpaid.
        declined: u32,
    },
}

/// Places orders.
pub trait PlaceOrder: Send + Sync {
    /// In one transaction: the hold becomes ordered, the purchase counter grows within the limit, the order and the
    /// address are stored. An existing order is found before the claim or the limit is blamed, so that a repeat
    /// finds its own order. An order that takes more than one card is placed only as the shopper's first in the drop.
    fn place(
        &self,
        placing: &Placing,
    ) -> impl Future<Output = Result<Conditional<NotPlaced>, StoreError>> + Send;
}

/// Reads one order.
pub trait ReadOrder: Send + Sync {
    /// The order as it certainly is; `None` if there is none.
    fn order(&self, id: &OrderId) -> impl Future<Output = Result<Option<Order>, StoreError>> + Send;
}

/// One page of a shopper's orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// Newest first.
    pub orders: Vec<Order>,
    /// Where the next page begins, if there is one: the placing time and id of the last order on this one.
    pub next: Option<(Timestamp, OrderId)>,
}

/// Lists a shopper's orders.
pub trait ListOrders: Send + Sync {
    /// Up to `limit` orders of `shopper`, newest first, after `after`. May lag a moment behind.
    fn orders_of(
        &self,
        shopper: &ShopperId,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> impl Future<Output = Result<OrderPage, StoreError>> + Send;
}

/// Finds open orders whose time has come.
pub trait FindDueOrders: Send + Sync {
    /// Up to `limit` ids of open orders in `bucket` with `due_at <= now`, the longest overdue first. May lag a moment
    /// behind: the caller reads each order before acting.
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
    /// Orders that are still open, the one that is due first at the beginning.
    pub orders: Vec<Order>,
    /// Where the next page begins, if there may be one.
    pub next: Option<(Timestamp, OrderId)>,
}

/// Lists open orders, whether they are due or not.
pub trait ListOpenOrders: Send + Sync {
    /// Up to `limit` open orders in `bucket` after `after`, each as it certainly is. Which they are may lag a moment behind.
    fn open_orders(
        &self,
        bucket: u8,
        after: Option<&(Timestamp, OrderId)>,
        limit: u16,
    ) -> impl Future<Output = Result<OpenPage, StoreError>> + Send;
}

/// Puts the next look at an order off.
pub trait PutOff: Send + Sync {
    /// Sets when the open order `seen` is due. This is no new version of it and no news. Refused: the order is at another version or due at another
    /// moment than `seen`, or it has ended. The repeat of one that was done is refused too.
    fn put_off(
        &self,
        seen: &Order,
        due_at: Timestamp,
    ) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// The stock does not fit the open order whose end should change it: a mistake of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// The claim is not as the order wrote it.
    #[error("the claim of an open order is not in its shard")]
    NoClaim,
    /// The counter would fall below zero.
    #[error("the purchase counter is smaller than the order")]
    CounterTooSmall,
}

/// Changes orders.
pub trait AdvanceOrder: Send + Sync {
    /// Stores `step.order` over `step.from_version`, in one transaction with its effect on the claim and the purchase
    /// counter. Refused: the order is at another version, so read it again. The repeat of a step that was stored is
    /// refused too.
    fn advance(&self, step: &OrderStep) -> impl Future<Output = Result<Conditional<()>, StoreError>> + Send;
}

/// Counts the orders of a drop in which one card was declined.
pub trait NoteDecline: Send + Sync {
    /// Notes that `card` was declined in `order`, and returns in how many orders of the drop it was, this one included. An order counts once,
    /// and nothing counts beyond [`domain::limits::MAX_CARD_DECLINES`].
    fn note_decline(
        &self,
        drop: &DropId,
        card: &CardFingerprint,
        order: &OrderId,
    ) -> impl Future<Output = Result<u32, StoreError>> + Send;
}
