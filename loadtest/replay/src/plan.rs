//! Defines the plan of a drop to replay: everything that is decided before the run. A seed gives a plan
//! ([`crate::draw`]), shrinking reduces it, and as JSON it can be stored and run again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::faults::{Fault, Struck};

/// The drop's id in every run.
pub(crate) const DROP: &str = "d";

/// The name of the SKU with this number, from 0.
#[must_use]
pub fn sku_name(number: usize) -> String {
    format!("A{number}")
}

/// Everything that is decided before a run. The same plan gives the same history, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed of the plan and of the small decisions during the run.
    pub seed: u64,
    /// The goods, the limits and the times of the drop.
    pub drop: DropPlan,
    /// The shoppers' visits. Two entries with the same name are one shopper with two devices.
    pub shoppers: Vec<ShopperPlan>,
    /// The operator's acts after publishing, in the order of their times.
    pub acts: Vec<Act>,
    /// The behaviour of queues, stream and processes.
    pub system: SystemPlan,
    /// The faults and outages.
    pub faults: FaultPlan,
}

/// The goods, the limits and the times of the drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropPlan {
    /// Units of each SKU.
    pub units: Vec<u32>,
    /// The largest number of units that one shopper may buy.
    pub per_shopper_limit: u32,
    /// The time that a reservation is held, in seconds.
    pub hold_seconds: u32,
    /// The time limit for the payment of an order, in seconds.
    pub payment_seconds: u32,
    /// The time limit for other cards after a decline, in seconds.
    pub retry_seconds: u32,
    /// The time after which an order has waited too long for the gateway, in seconds.
    pub gateway_wait_seconds: u32,
    /// The time of the opening, in milliseconds from the beginning.
    pub opens_ms: u32,
    /// The time from the opening to the end of the drop, in milliseconds.
    pub lasts_ms: u32,
}

/// A shopper at one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopperPlan {
    /// The shopper's number, from which the shopper's name is made.
    pub name: u32,
    /// The time of arrival, in milliseconds from the beginning.
    pub arrives_ms: u32,
    /// The wanted purchases, one after the other.
    pub wishes: Vec<Wish>,
}

/// A purchase that a shopper wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The pause after the previous purchase, in milliseconds.
    pub after_ms: u32,
    /// The index of the SKU.
    pub sku: usize,
    /// The number of units.
    pub quantity: u32,
    /// The number of times that the shopper asks again while all units are held.
    pub looks: u32,
    /// Whether the shopper reads the status before the reservation.
    pub browses: bool,
    /// Whether the shopper accepts fewer units when fewer are left.
    pub takes_fewer: bool,
    /// How the reservation request is sent.
    pub sends: Sends,
    /// The behaviour of the shopper after the reservation.
    pub then: Then,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sends {
    /// The number of concurrent sends; two for a double click.
    pub clicks: u8,
    /// The time without an answer after which the request is sent again with the same key, in milliseconds.
    pub patience_ms: u32,
}

impl Sends {
    /// One send at a time, without double clicks.
    #[must_use]
    pub const fn once(patience_ms: u32) -> Self {
        Self {
            clicks: 1,
            patience_ms,
        }
    }
}

/// The behaviour of a shopper after a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The shopper leaves, and the hold expires.
    Abandon,
    /// The shopper releases the reservation.
    Release {
        /// The time from the reservation to this request, in milliseconds.
        after_ms: u32,
    },
    /// The shopper checks out.
    CheckOut(CheckOut),
}

/// The behaviour of a shopper who checks out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOut {
    /// The time from the reservation to this request, in milliseconds.
    pub after_ms: u32,
    /// How the checkout is sent.
    pub sends: Sends,
    /// The first card.
    pub card: Card,
    /// The cards that the shopper submits after declines, one after the other.
    #[serde(default)]
    pub further: [Option<Card>; 2],
    /// The time from the accepted order to its cancellation, in milliseconds; `None` if the shopper does
    /// not cancel.
    pub cancel_after_ms: Option<u32>,
    /// The delay of an action that the payment requires, by the shopper or a slow bank, in milliseconds.
    pub acts_after_ms: u32,
}

impl Then {
    /// Whether the purchase ends with a payment.
    #[must_use]
    pub const fn buys(&self) -> bool {
        matches!(
            self,
            Self::CheckOut(CheckOut {
                card: Card::Works | Card::Confirmed | Card::SlowPays,
                cancel_after_ms: None,
                ..
            })
        )
    }
}

/// The behaviour of a means of payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Card {
    /// The payment succeeds immediately.
    Works,
    Declined,
    /// The payment is declined because of insufficient funds.
    NoFunds,
    /// The payment's first confirmation is declined; a later confirmation succeeds.
    Passes,
    /// The payment requires a confirmation, which succeeds.
    Confirmed,
    /// The payment requires a confirmation, which fails.
    Unconfirmed,
    /// The payment requires a confirmation, which never happens.
    Ignored,
    /// The payment succeeds after a delay.
    SlowPays,
    /// The payment is declined after a delay.
    SlowDeclines,
}

/// An act of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The time, in milliseconds from the beginning.
    pub at_ms: u32,
    /// The kind of act.
    pub kind: ActKind,
}

impl Act {
    /// An act of this kind, `at_ms` milliseconds from the beginning.
    #[must_use]
    pub const fn new(at_ms: u32, kind: ActKind) -> Self {
        Self { at_ms, kind }
    }
}

/// An act of the operator, without its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// Pauses the drop, which stops reservations.
    Pause,
    /// Resumes the drop, which takes reservations again.
    Resume,
    /// Moves the end later by this many milliseconds.
    Extend(u32),
    /// Adds units.
    Restock {
        /// The index of the SKU.
        sku: usize,
        /// The number of added units.
        units: u32,
    },
    /// Cancels the drop.
    Cancel,
    /// Keeps or ends the orders that have waited too long for the payment gateway.
    Decide {
        /// Whether the operator ends the orders, instead of keeping them.
        ends: bool,
    },
}

/// The behaviour of queues, stream and processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemPlan {
    /// The seed that selects the next runnable task.
    pub order: u64,
    /// The longest usual duration of a call, in milliseconds.
    pub latency_ms: u32,
    /// The number of stream lanes that are relayed concurrently.
    pub lanes: u8,
    /// The largest number of stream records in one batch.
    pub stream_batch: u8,
    /// The largest number of queue messages in one batch.
    pub queue_batch: u8,
    /// The largest number of concurrent batches of a queue.
    pub workers: u8,
    /// The visibility timeout of a message that was not deleted, in milliseconds.
    pub visibility_ms: u32,
    /// The number of receives before a message becomes a dead letter; `None` for the template's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_receives: Option<u32>,
    /// The time from the end of all other work until dead letters are received again, in milliseconds; `None`
    /// for never. No function runs in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive_ms: Option<u32>,
    /// The delivery of the gateway's webhooks.
    pub webhooks: WebhookPlan,
    /// The time after which no fault occurs, in milliseconds from the beginning.
    pub calm_ms: u32,
}

/// The delivery of the gateway's webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookPlan {
    /// No webhook is delivered.
    Never,
    /// Each webhook arrives soon; some arrive before the answer to this system's own call.
    Prompt,
    /// Webhooks arrive late, repeated, out of order or never, and forged webhooks arrive, too.
    Unreliable,
}

/// The faults and outages of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FaultPlan {
    /// The frequency of each fault, in strokes for each 10,000 calls that it could hit.
    pub rates: BTreeMap<Fault, u16>,
    /// The outages of services.
    pub outages: Vec<Outage>,
    /// Exactly these strokes and no others, by place. The rates then determine only whether clocks differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strokes: Option<BTreeMap<String, Struck>>,
}

/// A period in which a service is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// The fault that lasts.
    pub fault: Fault,
    /// The start, in milliseconds from the beginning.
    pub from_ms: u32,
    /// The end, in milliseconds from the beginning.
    pub to_ms: u32,
}

impl FaultPlan {
    /// Whether `fault` can hit calls.
    #[must_use]
    pub fn may_strike(&self, fault: Fault) -> bool {
        match &self.strokes {
            Some(strokes) => strokes.values().any(|struck| struck.fault == fault),
            None => self.rates.contains_key(&fault),
        }
    }
}
