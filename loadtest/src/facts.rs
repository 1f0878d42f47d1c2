//! What the audit looks at: plain facts, whoever collected them.

use std::collections::BTreeMap;

use api::problem::Code;
use domain::order::{Order, OrderStatus};
use domain::shard::Shard;
use domain::survey::Tally;
use serde::{Deserialize, Serialize};

/// The drop that was run, as the operator put it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropFacts {
    /// Its id.
    pub drop_id: String,
    /// When it was published, in ms since 1970.
    pub published_at_ms: i64,
    /// When it opened, in ms since 1970.
    pub starts_at_ms: i64,
    /// When it closed, in ms since 1970.
    pub ends_at_ms: i64,
    /// How long a reservation is held, in seconds.
    pub hold_seconds: u32,
    /// How long an order may take to be paid, in seconds.
    pub payment_seconds: u32,
    /// Units one shopper may own.
    pub per_shopper_limit: u32,
    /// What was put on sale.
    pub skus: Vec<SkuFacts>,
}

/// One SKU that was put on sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuFacts {
    /// Its code.
    pub sku: String,
    /// Units the operator asked to be sold.
    pub units: u32,
}

/// One line of the journal: what the generator saw with its own eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The drop that is run; always the first line.
    Drop(DropFacts),
    /// A reservation was answered 201.
    Reserved(Reserved),
    /// A reservation was given back by its shopper (204).
    Released {
        /// When the answer came, in ms since 1970.
        at_ms: i64,
        /// Which.
        reservation_id: String,
    },
    /// An order was answered 202.
    Ordered(Ordered),
    /// A checkout was refused for good.
    CheckoutRefused(CheckoutRefused),
    /// A shopper asks for an order to be cancelled. Noted before it is sent: the answer may get lost.
    CancelAsked {
        /// When it was sent, in ms since 1970.
        at_ms: i64,
        /// Which order.
        order_id: String,
    },
    /// The operator cancels the drop, likewise.
    DropCancelAsked {
        /// When it was sent, in ms since 1970.
        at_ms: i64,
    },
    /// A shopper has left.
    Ended(Ended),
    /// The shards at one moment of the run.
    Sampled(Sampled),
}

/// A 201.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// When the answer came, in ms since 1970.
    pub at_ms: i64,
    /// Whose.
    pub shopper: String,
    /// Of what.
    pub sku: String,
    /// How many.
    pub quantity: u32,
    /// The request's idempotency key. Journals of before have none.
    #[serde(default)]
    pub key: String,
    /// The reservation.
    pub reservation_id: String,
    /// Until when it is held, in ms since 1970.
    pub expires_at_ms: i64,
    /// What it costs in all, in minor units.
    pub amount_minor: i64,
}

/// A 202.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// When the answer came, in ms since 1970.
    pub at_ms: i64,
    /// Whose.
    pub shopper: String,
    /// The request's idempotency key. Journals of before have none.
    #[serde(default)]
    pub key: String,
    /// The reservation it was made from.
    pub reservation_id: String,
    /// The order.
    pub order_id: String,
}

/// A checkout that got a final no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutRefused {
    /// When the answer came, in ms since 1970.
    pub at_ms: i64,
    /// Whose.
    pub shopper: String,
    /// Of which reservation.
    pub reservation_id: String,
    /// The problem's code, if the answer was a problem.
    pub code: Option<Code>,
}

/// How a shopper's visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Paid.
    Bought,
    /// Was told that it is gone.
    Gone,
    /// Was told that the drop is over.
    Closed,
    /// Left while everything was held.
    Impatient,
    /// Did not want the fewer units that were left.
    DidNotWantFewer,
    /// Reserved and walked away.
    Abandoned,
    /// Reserved and gave the units back.
    Released,
    /// The payment failed.
    PaymentFailed,
    /// The order was cancelled, by the shopper or the deadline.
    Cancelled,
    /// Was told that the limit is reached.
    LimitReached,
    /// The hold expired before the checkout was through.
    HoldExpired,
    /// Gave up after errors, silence, or a refusal that is about the shopper and not about the stock.
    GaveUp,
    /// Got an answer that the API does not promise.
    Unexpected,
}

/// The end of a visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When, in ms since 1970.
    pub at_ms: i64,
    /// Who.
    pub shopper: String,
    /// What was wanted last.
    pub sku: String,
    /// How many.
    pub quantity: u32,
    /// Whether they mean to buy and have a card that works.
    #[serde(default)]
    pub buys: bool,
    /// How it ended.
    pub ending: Ending,
}

/// The units of all SKUs at one moment of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// When, in ms since 1970.
    pub at_ms: i64,
    /// By SKU, in the drop's order.
    pub skus: Vec<UnitCounts>,
    /// Shards that did not add up, spelt out.
    pub broken: Vec<String>,
    /// Holds that are there long after their deadline ([`crate::audit::overdue`]): by reservation, how many ms after it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overdue: BTreeMap<String, i64>,
}

/// The units of one SKU by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCounts {
    /// Free.
    pub free: u64,
    /// Held by reservations.
    pub held: u64,
    /// In open orders.
    pub ordered: u64,
    /// Sold.
    pub sold: u64,
}

impl From<Tally> for UnitCounts {
    fn from(tally: Tally) -> Self {
        Self {
            free: tally.free.into(),
            held: tally.held.into(),
            ordered: tally.ordered.into(),
            sold: tally.sold.into(),
        }
    }
}

impl UnitCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.free + self.held + self.ordered + self.sold
    }
}

/// A shard's item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFact {
    /// Its SKU.
    pub sku: String,
    /// Its key, for people.
    pub key: String,
    /// What is in it.
    pub shard: Shard,
}

/// An order's item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFact {
    /// The order itself.
    pub order: Order,
    /// Whether it stands in the index of open orders.
    pub indexed_open: bool,
}

impl OrderFact {
    /// Whether its units count against the shopper's limit and the stock.
    #[must_use]
    pub fn counts(&self) -> bool {
        !matches!(self.order.status, OrderStatus::Declined | OrderStatus::Cancelled)
    }

    /// Whether its units are sold.
    #[must_use]
    pub fn is_sold(&self) -> bool {
        matches!(self.order.status, OrderStatus::Paid | OrderStatus::Refunded)
    }
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerFact {
    /// The order.
    pub order_id: String,
    /// The version it is at.
    pub version: u32,
    /// Its status.
    pub status: String,
    /// Its units.
    pub quantity: u32,
    /// Its amount in minor units.
    pub amount_minor: i64,
}

/// What the gateway's log says of one order's money.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoneyFact {
    /// The order, as the gateway was told.
    pub order_id: String,
    /// How often money was taken.
    pub charges: u32,
    /// Minor units taken.
    pub charged_minor: i64,
    /// How many of these charges were given back in full.
    pub refunded_charges: u32,
    /// Minor units given back.
    pub refunded_minor: i64,
    /// How often the payment was declined.
    pub declines: u32,
    /// How often the shopper was asked to act.
    pub actions: u32,
    /// How often the payment was cancelled.
    pub cancels: u32,
}

/// What lies in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFact {
    /// Its name.
    pub queue: String,
    /// Messages in it, whether visible, in flight or delayed.
    pub messages: u64,
    /// Whether only what could not be processed ends there.
    pub dead_letters: bool,
}

/// Everything the audit needs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The drop.
    pub drop: DropFacts,
    /// When the facts were collected, in ms since 1970.
    pub at_ms: i64,
    /// The journal, the drop's line apart.
    pub journal: Vec<Entry>,
    /// The table `stock`.
    pub shards: Vec<ShardFact>,
    /// The table `purchases`: units by shopper.
    pub purchases: Vec<(String, i64)>,
    /// The table `orders`.
    pub orders: Vec<OrderFact>,
    /// The ledger.
    pub ledger: Vec<LedgerFact>,
    /// The gateway's log.
    pub money: Vec<MoneyFact>,
    /// The queues.
    pub queues: Vec<QueueFact>,
    /// Items that could not be read, spelt out.
    pub unreadable: Vec<String>,
    /// Whether anything went wrong on purpose, so that answers rest on older knowledge.
    pub trouble: bool,
    /// When the gateway refused or lost a call, by its own record, in ms since 1970.
    pub gateway_failed_ms: Vec<i64>,
    /// How long after its deadline a hold may still be there while the drop is on sale, in ms.
    pub overdue_after_ms: i64,
    /// Whether the journal has a sample after every change; else, between two samples, units may have come and gone.
    pub every_change_sampled: bool,
}
