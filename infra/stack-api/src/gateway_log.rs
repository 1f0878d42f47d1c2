//! Defines the lines of the sandbox gateway's log of money movements: one JSON object in each line.

use serde::{Deserialize, Serialize};

/// The change of a payment intent that a line of the log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The intent was created; no money moved.
    Created,
    /// A confirmation was carried out. The next line has its outcome.
    Confirmed,
    /// The customer must authenticate with the bank.
    ActionRequired,
    /// The card was charged.
    Charged,
    /// The bank declined, or the customer refused to authenticate.
    Declined,
    /// The intent was cancelled and can no longer be charged.
    Cancelled,
    /// The charge was refunded.
    Refunded,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The line's position in this run's log, from 1.
    pub seq: u64,
    /// The time of the event, in milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    pub event: Event,
    pub intent: String,
    /// `metadata[order_id]` of the intent; empty if it had none.
    pub order_id: String,
    /// The intent's amount, or the refunded amount, in the currency's minor unit.
    pub amount: u64,
    /// The currency's code by ISO 4217, in lower case.
    pub currency: String,
    /// The refund's id, for [`Event::Refunded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<String>,
    /// The decline code, for [`Event::Declined`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The API calls that the gateway received: the answer to `GET /sandbox/calls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Each second with at least one call, the oldest first.
    pub seconds: Vec<Second>,
}

/// The numbers of admitted and refused calls in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// The second, counted from 1970-01-01 UTC.
    pub at: u64,
    /// Calls that were admitted.
    pub admitted: u64,
    /// Calls beyond the rate, which were answered 429.
    pub too_many: u64,
    /// Calls that an outage refused.
    pub refused: u64,
}

impl Calls {
    /// The seconds in which an outage refused calls, each by its first millisecond since 1970.
    #[must_use]
    pub fn refused_ms(&self) -> Vec<i64> {
        let refused = self.seconds.iter().filter(|second| second.refused > 0);
        refused
            .filter_map(|second| i64::try_from(second.at * 1_000).ok())
            .collect()
    }

    /// The sum of `count` over all seconds.
    pub fn total(&self, count: impl Fn(&Second) -> u64) -> u64 {
        self.seconds.iter().map(count).sum()
    }
}
