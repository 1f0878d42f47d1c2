//! Defines the facts that the audit checks, independent of their source.

use std::collections::BTreeMap;

use api::problem::Code;
use domain::order::{Order, OrderStatus};
use domain::shard::Shard;
use domain::survey::Tally;
use serde::{Deserialize, Serialize};

/// The drop of the run, as the operator published it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropFacts {
    pub drop_id: String,
    /// Publication time, in ms since 1970.
    pub published_at_ms: i64,
    /// Opening time, in ms since 1970.
    pub starts_at_ms: i64,
    /// Closing time, in ms since 1970.
    pub ends_at_ms: i64,
    /// The time that a reservation is held, in seconds.
    pub hold_seconds: u32,
    /// The time limit for the payment of an order, in seconds.
    pub payment_seconds: u32,
    /// The number of units that one shopper may own.
    pub per_shopper_limit: u32,
    pub skus: Vec<SkuFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuFacts {
    pub sku: String,
    /// Units that the operator put on sale.
    pub units: u32,
}

/// One line of the journal: an answer or an observation of the load generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The drop of the run; always the first line.
    Drop(DropFacts),
    /// A reservation was answered 201.
    Reserved(Reserved),
    /// A repeat of a reservation request was refused since all units are held.
    RepeatRefused(RepeatRefused),
    /// A shopper released a reservation (204).
    Released {
        /// Time of the answer, in ms since 1970.
        at_ms: i64,
        reservation_id: String,
    },
    /// An order was answered 202.
    Ordered(Ordered),
    /// A checkout was refused permanently.
    CheckoutRefused(CheckoutRefused),
    /// A shopper requests an order's cancellation. The entry is written before the request is sent, since the
    /// answer may get lost.
    CancelAsked {
        /// Send time, in ms since 1970.
        at_ms: i64,
        order_id: String,
    },
    /// An operator requests the end of an order that waits for the payment gateway. The entry is written before the
    /// request is sent, since the answer may get lost.
    EndAsked {
        /// Send time, in ms since 1970.
        at_ms: i64,
        order_id: String,
    },
    /// The operator requests the drop's cancellation. The entry is written before the request is sent, since the
    /// answer may get lost.
    DropCancelAsked {
        /// Send time, in ms since 1970.
        at_ms: i64,
    },
    /// A shopper's visit has ended.
    Ended(Ended),
    /// A sample of the shards.
    Sampled(Sampled),
}

/// The answer 201 to a reservation request, in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Time at which the request was sent, in ms since 1970. Older journals have 0.
    #[serde(default)]
    pub asked_ms: i64,
    /// Time of the answer, in ms since 1970.
    pub at_ms: i64,
    pub shopper: String,
    pub sku: String,
    pub quantity: u32,
    /// The request's idempotency key. Older journals have none.
    #[serde(default)]
    pub key: String,
    pub reservation_id: String,
    /// End of the hold, in ms since 1970.
    pub expires_at_ms: i64,
    /// The total price, in minor units.
    pub amount_minor: i64,
}

/// The refusal of a repeat, in the journal. An earlier request with the same key got no answer, or its answer was not
/// used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepeatRefused {
    /// Time of the answer, in ms since 1970.
    pub at_ms: i64,
    pub shopper: String,
    pub sku: String,
    /// The request's idempotency key.
    pub key: String,
}

/// The answer 202 to a checkout, in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// Time of the answer, in ms since 1970.
    pub at_ms: i64,
    pub shopper: String,
    /// The request's idempotency key. Older journals have none.
    #[serde(default)]
    pub key: String,
    /// The reservation that became the order.
    pub reservation_id: String,
    pub order_id: String,
}

/// The permanent refusal of a checkout, in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutRefused {
    /// Time of the answer, in ms since 1970.
    pub at_ms: i64,
    pub shopper: String,
    pub reservation_id: String,
    /// The problem's code; `None` if the answer was no problem document.
    pub code: Option<Code>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The order was paid.
    Bought,
    /// The API answered that the SKU is gone.
    Gone,
    /// The API answered that the drop is over.
    Closed,
    /// The shopper left while all units were held.
    Impatient,
    /// Fewer units were left than wanted, and the shopper declined them.
    DidNotWantFewer,
    /// The shopper reserved and left.
    Abandoned,
    /// The shopper reserved and released the units.
    Released,
    PaymentFailed,
    /// The order was cancelled, by the shopper or the deadline.
    Cancelled,
    /// The API answered that the limit is reached.
    LimitReached,
    /// The hold expired before the checkout succeeded.
    HoldExpired,
    /// The shopper left after errors or missing answers, after a refusal that concerns the shopper and not the stock,
    /// or because the order had no final status 30 s after its payment deadline.
    GaveUp,
    /// The API gave an answer that it does not promise.
    Unexpected,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// End time, in ms since 1970.
    pub at_ms: i64,
    pub shopper: String,
    /// The SKU that the shopper wanted last.
    pub sku: String,
    /// The number of units that the shopper wanted last.
    pub quantity: u32,
    /// Whether the shopper intends to buy and has a working card.
    #[serde(default)]
    pub buys: bool,
    pub ending: Ending,
}

/// A sample of the shards: the units of all SKUs at one time of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// Time of the sample, in ms since 1970.
    pub at_ms: i64,
    /// The units of each SKU, in the drop's order.
    pub skus: Vec<UnitCounts>,
    /// Descriptions of shards that did not add up.
    pub broken: Vec<String>,
    /// Holds that exist long after their deadline ([`crate::audit::overdue`]): the time since the deadline in ms,
    /// by reservation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overdue: BTreeMap<String, i64>,
    /// Holds at their end that nobody may renew or take over yet ([`crate::audit::expired`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<Expired>,
}

/// A hold at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    pub shopper: String,
    pub sku: String,
    /// End of the hold, in ms since 1970.
    pub expires_at_ms: i64,
}

/// The units of one SKU by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCounts {
    pub free: u64,
    /// Units held by reservations.
    pub held: u64,
    /// Units in open orders.
    pub ordered: u64,
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
    /// The number of units in all states.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.free + self.held + self.ordered + self.sold
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFact {
    pub sku: String,
    /// The shard's key, for messages.
    pub key: String,
    pub shard: Shard,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFact {
    pub order: Order,
    /// Whether the order is in the index of open orders.
    pub indexed_open: bool,
}

impl OrderFact {
    /// Whether the order's units count against the shopper's limit and the stock.
    #[must_use]
    pub fn counts(&self) -> bool {
        !matches!(self.order.status, OrderStatus::Declined | OrderStatus::Cancelled)
    }

    /// Whether the order's units are sold.
    #[must_use]
    pub fn is_sold(&self) -> bool {
        matches!(self.order.status, OrderStatus::Paid | OrderStatus::Refunded)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerFact {
    pub order_id: String,
    pub version: u32,
    pub status: String,
    pub quantity: u32,
    /// The order's amount in minor units.
    pub amount_minor: i64,
}

/// The gateway's log lines about one payment, summed. In a replay it is the sum of an order's payments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoneyFact {
    /// The order id in the payment's metadata.
    pub order_id: String,
    pub charges: u32,
    /// The charged amount, in minor units.
    pub charged_minor: i64,
    /// The number of fully refunded charges.
    pub refunded_charges: u32,
    /// The refunded amount, in minor units.
    pub refunded_minor: i64,
    pub declines: u32,
    /// How often the gateway required an action of the shopper.
    pub actions: u32,
    pub cancels: u32,
}

/// The number of messages that a queue had when the facts were collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFact {
    pub queue: String,
    /// Visible, in-flight and delayed messages.
    pub messages: u64,
    /// Whether the queue is a dead-letter queue.
    pub dead_letters: bool,
}

/// The contents of journal, tables, gateway, ledger and queues, which the audit compares.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub drop: DropFacts,
    /// The time at which the facts were collected, in ms since 1970.
    pub at_ms: i64,
    /// The entries of the journal. The entry of the drop is ignored.
    pub journal: Vec<Entry>,
    pub shards: Vec<ShardFact>,
    /// The purchase counters: each shopper with the counted units.
    pub purchases: Vec<(String, i64)>,
    pub orders: Vec<OrderFact>,
    pub ledger: Vec<LedgerFact>,
    pub money: Vec<MoneyFact>,
    pub queues: Vec<QueueFact>,
    /// Descriptions of items that could not be parsed.
    pub unreadable: Vec<String>,
    /// Whether faults were injected, so that answers may be based on outdated data.
    pub trouble: bool,
    /// The times at which the gateway refused or lost a call, by its own record, in ms since 1970.
    pub gateway_failed_ms: Vec<i64>,
    /// The time that a hold may exist after its deadline while the drop is on sale, in ms.
    pub overdue_after_ms: i64,
    /// Whether the journal has a sample after every change. If not, the audit assumes that units may have changed
    /// state between two samples.
    pub every_change_sampled: bool,
}
