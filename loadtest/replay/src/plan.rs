//! A drop to replay: all that is decided beforehand. A seed makes one ([`crate::draw`]), shrinking makes it smaller, and
//! as JSON it can be kept and run again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::faults::{Fault, Struck};

/// Everything that is decided before a run. The same plan gives the same history, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it was drawn from, and what the small decisions of the run follow from.
    pub seed: u64,
    /// What is sold.
    pub drop: DropPlan,
    /// Who comes. Two entries of one name are one shopper with two devices.
    pub shoppers: Vec<ShopperPlan>,
    /// What the operator does after publishing.
    pub acts: Vec<Act>,
    /// How the machinery behaves.
    pub system: SystemPlan,
    /// What goes wrong.
    pub faults: FaultPlan,
}

/// What is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropPlan {
    /// Units of each SKU.
    pub units: Vec<u32>,
    /// The most units one shopper may buy.
    pub per_shopper_limit: u32,
    /// How long a reservation is held, in seconds.
    pub hold_seconds: u32,
    /// How long an order may take to be paid, in seconds.
    pub payment_seconds: u32,
    /// How long a shopper may take for other cards, in seconds.
    pub retry_seconds: u32,
    /// How long an order waits for the gateway, in seconds.
    pub gateway_wait_seconds: u32,
    /// When it opens, in milliseconds from the beginning.
    pub opens_ms: u32,
    /// How long it is open, in milliseconds.
    pub lasts_ms: u32,
}

/// A shopper at one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopperPlan {
    /// Which shopper.
    pub name: u32,
    /// When they arrive, in milliseconds from the beginning.
    pub arrives_ms: u32,
    /// What they want, one after the other.
    pub wishes: Vec<Wish>,
}

/// Something wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// How long after the last wish, in milliseconds.
    pub after_ms: u32,
    /// Of which SKU, by its number.
    pub sku: usize,
    /// How many.
    pub quantity: u32,
    /// How often they look again while everything is held.
    pub looks: u32,
    /// Whether they look at the status before they ask.
    pub browses: bool,
    /// Whether they take fewer when fewer are left.
    pub takes_fewer: bool,
    /// How the request for the reservation is sent.
    pub sends: Sends,
    /// What they do with a reservation.
    pub then: Then,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sends {
    /// How often at the same time: twice is a double click.
    pub clicks: u8,
    /// After how many milliseconds without an answer it is sent again, with the same key.
    pub patience_ms: u32,
}

/// What becomes of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Forgotten.
    Abandon,
    /// Given back.
    Release {
        /// After so many milliseconds.
        after_ms: u32,
    },
    /// Checked out.
    CheckOut {
        /// After so many milliseconds.
        after_ms: u32,
        /// How the request is sent.
        sends: Sends,
        /// With what.
        card: Card,
        /// With what else, one after the other, when a card is declined.
        #[serde(default)]
        further: [Option<Card>; 2],
        /// Called off so many milliseconds after the order was accepted.
        cancel_after_ms: Option<u32>,
        /// How long the shopper, or a slow bank, takes to do what is asked, in milliseconds.
        acts_after_ms: u32,
    },
}

impl Then {
    /// Whether it is a purchase that the gateway will be paid for.
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

/// What a means of payment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Card {
    /// Pays.
    Works,
    /// Is declined.
    Declined,
    /// Is declined for want of money.
    NoFunds,
    /// Is declined for a reason that passes: as a first card it pays when it is tried again.
    Passes,
    /// Asks for a confirmation, which is given.
    Confirmed,
    /// Asks for a confirmation, which fails.
    Unconfirmed,
    /// Asks for a confirmation, which nobody gives.
    Ignored,
    /// Pays, after a while.
    SlowPays,
    /// Is declined, after a while.
    SlowDeclines,
}

/// An operator's act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When, in milliseconds from the beginning.
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
    /// Moves the end later by so many milliseconds.
    Extend(u32),
    /// Adds units.
    Restock {
        /// Of which SKU, by its number.
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

/// How the machinery behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemPlan {
    /// What decides which of the runnable tasks goes on.
    pub order: u64,
    /// The longest usual time of a call, in milliseconds.
    pub latency_ms: u32,
    /// How many lanes of the stream are relayed side by side.
    pub lanes: u8,
    /// The most records of the stream in one batch.
    pub stream_batch: u8,
    /// The most messages of a queue in one batch.
    pub queue_batch: u8,
    /// The most batches of a queue in hand at once.
    pub workers: u8,
    /// After how long a message that was not done with appears again, in milliseconds.
    pub visibility_ms: u32,
    /// How often a message is received before it is put aside; as the template says without a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_receives: Option<u32>,
    /// After how many milliseconds messages that were put aside are received once more: counted from when all else is done with, and
    /// nothing runs in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive_ms: Option<u32>,
    /// How the gateway's webhooks arrive.
    pub webhooks: WebhookPlan,
    /// From when on nothing goes wrong any more, in milliseconds from the beginning.
    pub calm_ms: u32,
}

/// How the gateway's webhooks arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookPlan {
    /// They do not.
    Never,
    /// Each soon, some of them before the answer to our own call.
    Prompt,
    /// Late, twice, out of order, or not at all, and among forged ones.
    Unreliable,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FaultPlan {
    /// How often each fault strikes, in strokes for each 10,000 calls that it could strike.
    pub rates: BTreeMap<Fault, u16>,
    /// When something is away.
    pub outages: Vec<Outage>,
    /// Exactly these strokes and no others, by place; the rates then only say whether clocks differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strokes: Option<BTreeMap<String, Struck>>,
}

/// A while in which something is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// What.
    pub fault: Fault,
    /// From when, in milliseconds from the beginning.
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
