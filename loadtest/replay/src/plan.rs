//! The plan of a drop to replay: everything that is decided before the run. A seed gives a plan
//! ([`crate::draw`]), shrinking reduces it, and as JSON it can be stored and run again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::faults::{Fault, Struck};

/// Everything that is decided before a run. The same plan gives the same history, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed of the plan and of the small decisions during the run.
    pub seed: u64,
    /// What is sold.
    pub drop: DropPlan,
    /// The shoppers. Two entries with one name are one shopper with two devices.
    pub shoppers: Vec<ShopperPlan>,
    /// The operator's actions after publishing.
    pub acts: Vec<Act>,
    /// The behaviour of queues, stream and processes.
    pub system: SystemPlan,
    /// What goes wrong.
    pub faults: FaultPlan,
}

/// What is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropPlan {
    /// Units of each SKU.
    pub units: Vec<u32>,
    /// The largest number of units that one shopper may buy.
    pub per_shopper_limit: u32,
    /// How long a reservation is held, in seconds.
    pub hold_seconds: u32,
    /// How long an order may take to be paid, in seconds.
    pub payment_seconds: u32,
    /// How long a shopper may take for other cards, in seconds.
    pub retry_seconds: u32,
    /// How long an order waits for the gateway, in seconds.
    pub gateway_wait_seconds: u32,
    /// The opening, in milliseconds from the beginning.
    pub opens_ms: u32,
    /// The time from the opening to the end of the drop, in milliseconds.
    pub lasts_ms: u32,
}

/// A shopper at one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopperPlan {
    /// Which shopper.
    pub name: u32,
    /// The arrival, in milliseconds from the beginning.
    pub arrives_ms: u32,
    /// The wanted purchases, one after the other.
    pub wishes: Vec<Wish>,
}

/// Something wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The pause after the previous purchase, in milliseconds.
    pub after_ms: u32,
    /// The index of the SKU.
    pub sku: usize,
    /// How many.
    pub quantity: u32,
    /// How often the shopper asks again while everything is held.
    pub looks: u32,
    /// Whether the shopper reads the status before the reservation.
    pub browses: bool,
    /// Whether the shopper accepts fewer units when fewer are left.
    pub takes_fewer: bool,
    /// How the reservation request is sent.
    pub sends: Sends,
    /// The shopper's action with a reservation.
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

/// The shopper's action with a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Forgotten.
    Abandon,
    /// Given back.
    Release {
        /// The delay, in milliseconds.
        after_ms: u32,
    },
    /// Checked out.
    CheckOut {
        /// The delay, in milliseconds.
        after_ms: u32,
        /// How the request is sent.
        sends: Sends,
        /// With what.
        card: Card,
        /// The further cards, one after the other, after a decline.
        #[serde(default)]
        further: [Option<Card>; 2],
        /// The time from the accepted order to its cancellation, in milliseconds.
        cancel_after_ms: Option<u32>,
        /// The delay of an action that the payment requires, by the shopper or a slow bank, in milliseconds.
        acts_after_ms: u32,
    },
}

impl Then {
    /// Whether the purchase ends with a payment.
    #[must_use]
    pub const fn buys(&self) -> bool {
        matches!(
            self,
            Self::CheckOut {
                card: Card::Works | Card::Confirmed | Card::SlowPays,
                cancel_after_ms: None,
                ..
            }
        )
    }
}

/// The behaviour of a means of payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Card {
    /// Pays.
    Works,
    Declined,
    /// Declined because of insufficient funds.
    NoFunds,
    /// Declined temporarily: as a first card it pays when it is tried again.
    Passes,
    /// Requires a confirmation, which succeeds.
    Confirmed,
    /// Requires a confirmation, which fails.
    Unconfirmed,
    /// Requires a confirmation, which never happens.
    Ignored,
    /// Pays, after a while.
    SlowPays,
    /// Declined after a delay.
    SlowDeclines,
}

/// An operator's act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The time, in milliseconds from the beginning.
    pub at_ms: u32,
    /// What.
    pub kind: ActKind,
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// Stops reservations.
    Pause,
    /// Takes them up again.
    Resume,
    /// Moves the end later by this many milliseconds.
    Extend(u32),
    /// Adds units.
    Restock {
        /// The index of the SKU.
        sku: usize,
        /// How many.
        units: u32,
    },
    /// Calls the drop off.
    Cancel,
    /// Keeps or ends the orders that have waited too long for the payment gateway.
    Decide {
        /// Whether they end.
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
    /// The number of receives before a message becomes a dead letter; without a number the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_receives: Option<u32>,
    /// When dead letters are received again, in milliseconds after all other work has ended. No function runs
    /// in between.
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
    /// They do not.
    Never,
    /// Each arrives soon; some arrive before the answer to this system's own call.
    Prompt,
    /// Late, repeated, out of order or lost, and mixed with forged ones.
    Unreliable,
}

/// What goes wrong.
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
    /// What.
    pub fault: Fault,
    /// The start, in milliseconds from the beginning.
    pub from_ms: u32,
    /// Until when.
    pub to_ms: u32,
}

impl FaultPlan {
    /// Whether clocks differ.
    #[must_use]
    pub fn skews_clocks(&self) -> bool {
        self.rates.contains_key(&Fault::ClockSkew)
    }
}
