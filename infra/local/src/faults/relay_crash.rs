//! Injects deaths of the relay's process: between reading the stream and sending, or after sending and before it
//! reports success.
//!
//! The fault is injected at the queue. A send request shows that the relay has read a batch; the fault decides whether
//! the request is carried out before the process dies.

use std::collections::HashSet;
use std::sync::Mutex;

use super::chance::Chance;
use crate::lock;
use stack_api::faults::{Fault, FaultPlan};

/// The function whose processes the fault kills.
pub const RELAY: &str = "relay-events";
/// Share of send requests at which the relay dies before any message is sent.
pub const DIES_BEFORE: f64 = 0.08;
/// Share of send requests at which the relay dies after the messages are sent and before it gets the answer.
pub const DIES_AFTER: f64 = 0.08;

/// The moment at which the relay's process dies, relative to a send request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Before the queue takes the messages.
    Before,
    /// After the queue took the messages, and before the relay receives the answer.
    After,
    /// The relay was already killed, at another request of the same batch.
    Already,
}

#[derive(Debug)]
pub struct Relay {
    chances: Option<(Chance, Chance)>,
    /// Invocations whose process was killed.
    dead: Mutex<HashSet<u64>>,
}

impl Relay {
    pub(super) fn new(plan: &FaultPlan, seed: u64) -> Self {
        let on = |kind| Chance::of(plan, seed, Fault::RelayCrash, kind);
        Self {
            chances: on(0).zip(on(1)),
            dead: Mutex::default(),
        }
    }

    /// Decides the fault for a send request of a relay invocation.
    pub(super) fn decide(&self, invocation: u64) -> Option<Crash> {
        let (before, after) = self.chances.as_ref()?;
        let mut dead = lock(&self.dead);
        if dead.contains(&invocation) {
            return Some(Crash::Already);
        }
        let crash = if before.strikes(DIES_BEFORE, 0) {
            Crash::Before
        } else if after.strikes(DIES_AFTER, 0) {
            Crash::After
        } else {
            return None;
        };
        dead.insert(invocation);
        Some(crash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_die_come_first_and_the_dead_send_nothing() {
        let relay = Relay::new(&"relay-crash".parse().unwrap(), 1);
        assert_eq!(relay.decide(1), Some(Crash::Before));
        assert_eq!(relay.decide(1), Some(Crash::Already));
        let after = (2..)
            .map(|n| relay.decide(n))
            .find(|crash| *crash != Some(Crash::Before));
        assert_eq!(after, Some(Some(Crash::After)));
        let none = Relay::new(&FaultPlan::default(), 1);
        assert_eq!(none.decide(1), None);
    }
}
