//! How often the faults strike a replayed drop, where, and what a single stroke of one does.

use serde::{Deserialize, Serialize};
pub use stack_api::faults::Fault;

/// The faults that a seed draws. An outage of an hour takes an hour of each run, so a test of its own makes it; webhooks have a plan of their
/// own.
#[must_use]
pub fn drawn() -> Vec<Fault> {
    let all = Fault::ALL.into_iter();
    all.filter(|fault| !matches!(fault, Fault::PostgresOutage | Fault::WebhookDisorder))
        .collect()
}

/// Whether a fault also, or only, lasts for a while.
#[must_use]
pub const fn lasts(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::GatewayOutage | Fault::PostgresRestart | Fault::PostgresOutage | Fault::QueueRefusals
    )
}

/// How often a fault may strike at most, in strokes for each 10,000 calls that it could strike.
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

/// Where a fault can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A read of the database, which may lag or not.
    Read {
        /// Whether its port allows it to lag.
        may_lag: bool,
    },
    /// A write to the database.
    Write {
        /// Whether it is a transaction.
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
    /// Nothing done, the caller cannot tell.
    UnknownBefore,
    /// Done, the caller cannot tell.
    UnknownAfter,
    /// The caller is told that it cannot tell, and it is done this many milliseconds later.
    Late(u32),
    /// Fails for good, nothing done.
    Broken,
    /// Takes this many milliseconds longer.
    Slow(u32),
    /// The read shows a state of a moment ago.
    Stale,
    /// The process dies before the call has an effect.
    DiesBefore,
    /// The process dies after the call took effect, before it knows.
    DiesAfter,
    /// Nothing done, and the caller learns it.
    NotSent,
    /// Nothing done, and the caller is asked to wait.
    Throttled,
    /// Nothing done, the other side says that it is failing.
    UnavailableBefore,
    /// Done, and the other side says that it is failing.
    UnavailableAfter,
    /// Nothing done; the failure is stored under the call's key.
    StoredBefore,
    /// Done; a failure is stored under the call's key all the same.
    StoredAfter,
    /// Comes once more.
    Again,
    /// Comes this many milliseconds later.
    Delayed(u32),
}

/// A stroke that fell: which fault, and what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// The fault it belongs to.
    pub fault: Fault,
    /// What it did.
    pub stroke: Stroke,
}
