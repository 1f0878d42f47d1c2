//! Defines the frequency of faults in a replayed drop, the calls that they can hit, and the effect of a single hit (a
//! stroke).

use serde::{Deserialize, Serialize};
pub use stack_api::faults::Fault;

/// The faults that a seed can draw. An outage of the ledger for an hour would make every run an hour long, so a
/// separate test makes this outage. Webhooks have their own plan.
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

/// The kind of a call, which decides the faults that can hit it.
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

/// The effect of one hit of a fault on a call, record or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// The call is refused and has no effect.
    Busy,
    /// The call has no effect, and the caller gets an unknown outcome.
    UnknownBefore,
    /// The call takes effect, and the caller gets an unknown outcome.
    UnknownAfter,
    /// The caller gets an unknown outcome, and the call takes effect this many milliseconds later.
    Late(u32),
    /// The call has no effect and fails permanently.
    Broken,
    /// The call takes this many milliseconds longer.
    Slow(u32),
    /// The read returns an earlier state.
    Stale,
    /// The process dies before the call has an effect.
    DiesBefore,
    /// The process dies after the call took effect, before it gets the answer.
    DiesAfter,
    /// The call has no effect, and the caller gets an error that says so.
    NotSent,
    /// The call has no effect, and the service tells the caller to wait.
    Throttled,
    /// The call has no effect, and the service reports an internal failure.
    UnavailableBefore,
    /// The call takes effect, and the service reports an internal failure.
    UnavailableAfter,
    /// The call has no effect, and the service stores the failure under the call's key.
    StoredBefore,
    /// The call takes effect, but the service stores a failure under the call's key.
    StoredAfter,
    /// The record or message is delivered once more.
    Again,
    /// The message arrives this many milliseconds later.
    Delayed(u32),
}

/// A stroke that occurred: the fault and its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// The fault that caused the stroke.
    pub fault: Fault,
    /// The effect of the stroke.
    pub stroke: Stroke,
}

/// The faults that can hit calls, the fault with the strongest effect first.
const OF_CALLS: [Fault; 13] = [
    Fault::KillFunctions,
    Fault::RelayCrash,
    Fault::TimeoutAfterWrite,
    Fault::TransactionConflict,
    Fault::Throttle,
    Fault::TimeoutBeforeWrite,
    Fault::BrokenCall,
    Fault::SlowDynamodb,
    Fault::StaleReads,
    Fault::GatewayTimeoutAfterCharge,
    Fault::GatewayTimeoutBeforeCharge,
    Fault::QueueRefusals,
    Fault::PostgresRestart,
];

/// The faults that can hit a call at `place`, the fault with the strongest effect first.
pub(crate) fn faults_of(place: Place, of_relay: bool) -> impl Iterator<Item = Fault> {
    let relays = of_relay && place == Place::Send;
    OF_CALLS.into_iter().filter(move |fault| match fault {
        Fault::KillFunctions => !relays,
        Fault::RelayCrash => relays,
        Fault::TimeoutAfterWrite => matches!(place, Place::Write { .. }),
        Fault::TransactionConflict => place == Place::Write { transaction: true },
        Fault::StaleReads => place == Place::Read { may_lag: true },
        Fault::GatewayTimeoutAfterCharge | Fault::GatewayTimeoutBeforeCharge => place == Place::Gateway,
        Fault::QueueRefusals => place == Place::Send,
        Fault::PostgresRestart => place == Place::Ledger,
        _ => matches!(place, Place::Read { .. } | Place::Write { .. }),
    })
}

/// The effect of a fault on a call that it can hit, which the random number `chance` decides.
pub(crate) fn stroke_of(fault: Fault, function_lives_long: bool, chance: u64) -> Option<Stroke> {
    let ms = |from: u64, to: u64| u32::try_from(from + (chance >> 8) % (to - from)).unwrap_or(1_000);
    let one_of = |strokes: &[Stroke]| {
        let at = usize::try_from(chance % (strokes.len() as u64).max(1)).ok()?;
        strokes.get(at).copied()
    };
    match fault {
        Fault::Throttle | Fault::TransactionConflict => Some(Stroke::Busy),
        Fault::TimeoutBeforeWrite => Some(Stroke::UnknownBefore),
        Fault::TimeoutAfterWrite => one_of(&[
            Stroke::UnknownAfter,
            Stroke::UnknownAfter,
            Stroke::Late(ms(20, 2_000)),
        ]),
        Fault::SlowDynamodb if function_lives_long => Some(Stroke::Slow(ms(500, 15_000))),
        Fault::SlowDynamodb => Some(Stroke::Slow(ms(500, 11_000))),
        Fault::BrokenCall => Some(Stroke::Broken),
        Fault::StaleReads => Some(Stroke::Stale),
        Fault::KillFunctions | Fault::RelayCrash => one_of(&[Stroke::DiesBefore, Stroke::DiesAfter]),
        Fault::QueueRefusals | Fault::PostgresRestart => {
            one_of(&[Stroke::UnknownBefore, Stroke::UnknownAfter])
        }
        Fault::GatewayTimeoutAfterCharge => one_of(&[
            Stroke::UnknownAfter,
            Stroke::UnavailableAfter,
            Stroke::StoredAfter,
        ]),
        Fault::GatewayTimeoutBeforeCharge => one_of(&[
            Stroke::UnknownBefore,
            Stroke::UnavailableBefore,
            Stroke::NotSent,
            Stroke::Throttled,
            Stroke::StoredBefore,
        ]),
        _ => None,
    }
}
