//! The frequency of faults in a replayed drop, the calls that they can hit, and the effect of a single hit (a
//! stroke).

use serde::{Deserialize, Serialize};
pub use stack_api::faults::Fault;

/// The faults that a seed can draw. An outage of an hour takes an hour of each run, so a separate test makes
/// it. Webhooks have their own plan.
#[must_use]
pub fn drawn() -> Vec<Fault> {
    let all = Fault::ALL.into_iter();
    all.filter(|fault| !matches!(fault, Fault::PostgresOutage | Fault::WebhookDisorder))
        .collect()
}

/// Whether a fault lasts for a period, in addition to single strokes or instead of them.
#[must_use]
pub const fn lasts(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::GatewayOutage | Fault::PostgresRestart | Fault::PostgresOutage | Fault::QueueRefusals
    )
}

/// The largest frequency of a fault, in strokes for each 10,000 calls that it could hit.
#[must_use]
pub const fn most_per_10_000(fault: Fault) -> u16 {
    match fault {
        Fault::Throttle | Fault::TransactionConflict => 1_500,
        Fault::TimeoutBeforeWrite | Fault::TimeoutAfterWrite | Fault::GatewayTimeoutBeforeCharge => 700,
        Fault::SlowDynamodb | Fault::BrokenCall => 200,
        Fault::StaleReads => 6_000,
        Fault::KillFunctions => 300,
        Fault::RelayCrash | Fault::StreamRepeats => 2_000,
        Fault::QueueRefusals | Fault::QueueDuplicates | Fault::QueueReorder => 3_000,
        Fault::GatewayTimeoutAfterCharge => 2_500,
        Fault::GatewayOutage | Fault::PostgresRestart => 500,
        Fault::LostAnswers => 2_000,
        Fault::PostgresOutage | Fault::WebhookDisorder => 0,
        Fault::ClockSkew => 10_000,
    }
}

/// The calls that a fault can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A read of the database, which may or may not lag.
    Read {
        /// Whether the port allows the read to lag.
        may_lag: bool,
    },
    /// A write to the database.
    Write {
        /// Whether the write is a transaction.
        transaction: bool,
    },
    /// A call of the gateway.
    Gateway,
    /// Sending to a queue.
    Send,
    /// Writing to the ledger.
    Ledger,
}

/// What a stroke does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// Refused, nothing done.
    Busy,
    /// Not done, and the caller cannot know.
    UnknownBefore,
    /// Done, and the caller cannot know.
    UnknownAfter,
    /// The caller gets an unknown outcome, and the call is done this many milliseconds later.
    Late(u32),
    /// Not done, and permanently failed.
    Broken,
    /// The call takes this many milliseconds longer.
    Slow(u32),
    /// The read returns the state of an earlier moment.
    Stale,
    /// The process dies before the call has an effect.
    DiesBefore,
    /// The process dies after the call took effect, before it gets the answer.
    DiesAfter,
    /// Not done, and the caller gets an error that says so.
    NotSent,
    /// Not done, and the caller is asked to wait.
    Throttled,
    /// Not done, and the service reports an internal failure.
    UnavailableBefore,
    /// Done, and the service reports an internal failure.
    UnavailableAfter,
    /// Not done; the failure is stored under the call's key.
    StoredBefore,
    /// Done; a failure is stored under the call's key nevertheless.
    StoredAfter,
    /// Comes once more.
    Again,
    /// The message arrives this many milliseconds later.
    Delayed(u32),
}

/// A stroke that occurred: the fault and its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// The fault it belongs to.
    pub fault: Fault,
    /// What it did.
    pub stroke: Stroke,
}
