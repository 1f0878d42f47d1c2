//! What can go wrong: the faults by name, and what a single stroke of one does.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A fault, by the name that a load run gives it where it has it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The database refuses for the moment.
    Throttle,
    /// The database refuses a transaction because of another.
    TransactionConflict,
    /// A database call is lost on its way.
    TimeoutBeforeWrite,
    /// A database call's answer is lost, or the call itself arrives after it was given up.
    TimeoutAfterWrite,
    /// A database call takes seconds.
    SlowDynamodb,
    /// A database call fails for good, once.
    BrokenCall,
    /// A read that may lag lags.
    StaleReads,
    /// A process dies between two steps.
    KillFunctions,
    /// A relay dies between reading the stream and sending, or after.
    RelayCrash,
    /// A batch of the stream is handed over again.
    StreamRepeats,
    /// A queue does not accept messages, or its answer is lost.
    QueueRefusals,
    /// A queue delivers a message twice.
    QueueDuplicates,
    /// A queue delivers late and out of order.
    QueueReorder,
    /// The gateway does what it was asked for, and its answer is lost.
    GatewayTimeoutAfterCharge,
    /// The gateway does nothing, and may or may not say so.
    GatewayTimeoutBeforeCharge,
    /// The gateway is away for a while.
    GatewayOutage,
    /// The ledger is away for a while, or its answer is lost.
    PostgresRestart,
    /// An answer of the API is lost on its way to the shopper.
    LostAnswers,
    /// Clocks of processes differ, by as much as is assumed at most.
    ClockSkew,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Throttle,
        Self::TransactionConflict,
        Self::TimeoutBeforeWrite,
        Self::TimeoutAfterWrite,
        Self::SlowDynamodb,
        Self::BrokenCall,
        Self::StaleReads,
        Self::KillFunctions,
        Self::RelayCrash,
        Self::StreamRepeats,
        Self::QueueRefusals,
        Self::QueueDuplicates,
        Self::QueueReorder,
        Self::GatewayTimeoutAfterCharge,
        Self::GatewayTimeoutBeforeCharge,
        Self::GatewayOutage,
        Self::PostgresRestart,
        Self::LostAnswers,
        Self::ClockSkew,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::TransactionConflict => "transaction-conflict",
            Self::TimeoutBeforeWrite => "timeout-before-write",
            Self::TimeoutAfterWrite => "timeout-after-write",
            Self::SlowDynamodb => "slow-dynamodb",
            Self::BrokenCall => "broken-call",
            Self::StaleReads => "stale-reads",
            Self::KillFunctions => "kill-functions",
            Self::RelayCrash => "relay-crash",
            Self::StreamRepeats => "stream-repeats",
            Self::QueueRefusals => "queue-refusals",
            Self::QueueDuplicates => "queue-duplicates",
            Self::QueueReorder => "queue-reorder",
            Self::GatewayTimeoutAfterCharge => "gateway-timeout-after-charge",
            Self::GatewayTimeoutBeforeCharge => "gateway-timeout-before-charge",
            Self::GatewayOutage => "gateway-outage",
            Self::PostgresRestart => "postgres-restart",
            Self::LostAnswers => "lost-answers",
            Self::ClockSkew => "clock-skew",
        }
    }

    /// Whether it also, or only, lasts for a while.
    #[must_use]
    pub const fn lasts(self) -> bool {
        matches!(
            self,
            Self::GatewayOutage | Self::PostgresRestart | Self::QueueRefusals
        )
    }

    /// How often it may strike at most, in strokes for each 10,000 calls that it could strike.
    #[must_use]
    pub const fn most_per_10_000(self) -> u16 {
        match self {
            Self::Throttle | Self::TransactionConflict => 1_500,
            Self::TimeoutBeforeWrite | Self::TimeoutAfterWrite | Self::GatewayTimeoutBeforeCharge => 700,
            Self::SlowDynamodb | Self::BrokenCall => 200,
            Self::StaleReads => 6_000,
            Self::KillFunctions => 300,
            Self::RelayCrash | Self::StreamRepeats => 2_000,
            Self::QueueRefusals | Self::QueueDuplicates | Self::QueueReorder => 3_000,
            Self::GatewayTimeoutAfterCharge => 2_500,
            Self::GatewayOutage | Self::PostgresRestart => 500,
            Self::LostAnswers => 2_000,
            Self::ClockSkew => 10_000,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
