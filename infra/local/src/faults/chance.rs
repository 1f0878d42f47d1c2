//! Makes random decisions that follow from the run's seed.

use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;

use crate::lock;
use stack_api::faults::{Fault, FaultPlan};

/// Random numbers for one kind of fault. Each kind has its own generator, so its numbers do not depend on the other
/// faults. The assignment of numbers to calls depends on the order of arrival, which the seed does not determine.
#[derive(Debug)]
pub(super) struct Chance {
    state: Mutex<(Rng, u64)>,
}

impl Chance {
    /// The generator of `fault`; `kind` separates several generators of one fault.
    pub(super) fn new(seed: u64, fault: Fault, kind: u64) -> Self {
        let place = Fault::IN_STACK.iter().position(|other| *other == fault);
        let stream = (place.unwrap_or(0) as u64 + 1) << 8 | kind;
        // Different seeds and streams give states that are far apart.
        let mut mixed = Rng::with_seed(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            state: Mutex::new((mixed.fork(), 0)),
        }
    }

    /// The generator of `fault`, if the plan contains the fault.
    pub(super) fn of(plan: &FaultPlan, seed: u64, fault: Fault, kind: u64) -> Option<Self> {
        plan.has(fault).then(|| Self::new(seed, fault, kind))
    }

    /// Whether the fault is injected now: with probability `share`, and always at the call with index `certain` (from
    /// 0), so that even a small run has every kind of fault.
    pub(super) fn strikes(&self, share: f64, certain: u64) -> bool {
        let mut state = lock(&self.state);
        let number = state.1;
        state.1 += 1;
        state.0.f64() < share || number == certain
    }

    /// A random number from `from` to `to`, both included.
    pub(super) fn between(&self, from: u64, to: u64) -> u64 {
        lock(&self.state).0.u64(from..=to.max(from))
    }

    /// A random time from `from` to `to` milliseconds, both included.
    pub(super) fn pause(&self, (from, to): (u64, u64)) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    /// A random number above 0, exponentially distributed with the mean `mean`.
    pub(super) fn exponential(&self, mean: f64) -> f64 {
        -mean * (1.0 - lock(&self.state).0.f64()).ln()
    }

    pub(super) fn shuffle<T>(&self, items: &mut [T]) {
        lock(&self.state).0.shuffle(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, fault: Fault) -> Vec<u64> {
        let chance = Chance::new(seed, fault, 0);
        (0..8).map(|_| chance.between(0, u64::MAX)).collect()
    }

    #[test]
    fn draws_follow_from_seed_and_fault() {
        assert_eq!(draws(7, Fault::Throttle), draws(7, Fault::Throttle));
        assert_ne!(draws(7, Fault::Throttle), draws(8, Fault::Throttle));
        assert_ne!(draws(7, Fault::Throttle), draws(7, Fault::ClockSkew));
    }

    #[test]
    fn shares_come_out_and_the_certain_one_is_struck() {
        let chance = Chance::new(1, Fault::QueueReorder, 0);
        let struck = (0..10_000).filter(|_| chance.strikes(0.1, 0)).count();
        assert!((850..1_150).contains(&struck), "{struck}");
        let chance = Chance::new(1, Fault::QueueReorder, 0);
        let rare: Vec<bool> = (0..5).map(|_| chance.strikes(0.0, 2)).collect();
        assert_eq!(rare, [false, false, true, false, false]);
        let mean = (0..10_000).map(|_| chance.exponential(3.0)).sum::<f64>() / 10_000.0;
        assert!((2.8..3.2).contains(&mean), "{mean}");
    }
}
