//! Draws and counts faults, which apply to every request until they are changed.
//!
//! Whether a fault is injected into a request depends on the faults' seed, the order (or intent) and the number of the
//! attempt, and not on the order of arrival. So the same run has the same faults in any interleaving.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use stack_api::gateway_log::Calls;
use tokio::sync::Notify;

use crate::ids::draw;
use crate::rate::Counter;

/// The active faults. An absent field means no fault.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The delay of every API request while it holds its idempotency key, in milliseconds.
    pub latency_ms: u64,
    /// Whether every API request is answered 503 before the endpoint code.
    pub outage: bool,
    /// Share of confirms (0 to 1) that are lost before they are carried out.
    pub timeout_before_charge: f64,
    /// Share of confirms (0 to 1) that are carried out and whose answer is lost.
    pub timeout_after_charge: f64,
    /// Share of the other POSTs (0 to 1) that are carried out and whose answer is lost.
    pub lost_answer: f64,
    /// Share of POSTs with an idempotency key (0 to 1) that fail with a 500 before they are carried out. The failure is
    /// stored under the key.
    pub stored_failure_before: f64,
    /// Share of POSTs with an idempotency key (0 to 1) that are carried out and answered 500. The failure is stored
    /// under the key.
    pub stored_failure_after: f64,
    /// The rate in calls a second beyond which API requests are answered 429; without it there is no limit.
    pub calls_per_second: Option<u32>,
    /// The seed of the random draws.
    pub seed: u64,
}

/// The numbers of requests that injected faults refused or did not answer correctly, by fault. Effects of a payment
/// method itself are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Struck {
    /// Requests that an outage refused.
    pub refused: u64,
    /// Confirms that were lost before they were carried out.
    pub lost_before_charge: u64,
    /// Confirms that were carried out and whose answer was lost.
    pub lost_after_charge: u64,
    /// Other POSTs that were carried out and whose answer was lost.
    pub lost_answers: u64,
    /// Failures that were injected and stored under an idempotency key.
    pub stored_failures: u64,
    /// Requests beyond the rate.
    pub too_many: u64,
}

/// The faults of a running sandbox and the numbers of requests that they hit, shared with the code that switches them.
#[derive(Debug, Default)]
pub struct Switch {
    state: Mutex<(Faults, Struck)>,
    calls: Mutex<Counter>,
    refusal: Notify,
    called: Notify,
}

impl Switch {
    /// A switch with these faults, and with counts of 0.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            state: Mutex::new((faults, Struck::default())),
            calls: Mutex::default(),
            refusal: Notify::new(),
            called: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, (Faults, Struck)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The faults that apply now.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state().0
    }

    /// Changes the faults from now on.
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().0);
    }

    /// The numbers of requests that injected faults have hit so far, by fault.
    #[must_use]
    pub fn struck(&self) -> Struck {
        self.state().1
    }

    /// Waits until an outage has refused a request that no earlier call has reported.
    pub async fn refusal(&self) {
        self.refusal.notified().await;
    }

    /// Waits until an API request has arrived that no earlier call has reported.
    pub async fn call(&self) {
        self.called.notified().await;
    }

    /// The API calls so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.counter().calls()
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an API request at `now_ms`; returns the reason if it is not admitted.
    pub(crate) fn admit(&self, now_ms: u64) -> Result<(), Barred> {
        self.called.notify_one();
        let mut state = self.state();
        if state.0.outage {
            state.1.refused += 1;
            self.counter().refused(now_ms);
            self.refusal.notify_one();
            return Err(Barred::Outage);
        }
        if self.counter().admits(now_ms, state.0.calls_per_second) {
            return Ok(());
        }
        state.1.too_many += 1;
        Err(Barred::TooMany {
            says_when: state.1.too_many.is_multiple_of(2),
        })
    }

    /// Draws the stored failure of a request with an idempotency key, and counts it. `None` if the request does not
    /// fail.
    pub(crate) fn stored_failure(&self, key: &str) -> Option<StoredFailure> {
        let mut state = self.state();
        let failure = state.0.stored_failure(key);
        state.1.stored_failures += u64::from(failure.is_some());
        failure
    }

    /// Draws the fault of a confirm, and counts it.
    pub(crate) fn confirm_fate(&self, subject: &str, attempt: u64) -> Fate {
        let mut state = self.state();
        let fate = state.0.confirm_fate(subject, attempt);
        match fate {
            Fate::Answered => {}
            Fate::LostBefore => state.1.lost_before_charge += 1,
            Fate::LostAfter => state.1.lost_after_charge += 1,
        }
        fate
    }

    /// Draws the fault of any other POST, and counts it.
    pub(crate) fn other_fate(&self, operation: &str, subject: &str, nth: u64) -> Fate {
        let mut state = self.state();
        let fate = state.0.other_fate(operation, subject, nth);
        state.1.lost_answers += u64::from(fate != Fate::Answered);
        fate
    }
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barred {
    /// The gateway has an outage.
    Outage,
    /// The request exceeds the rate.
    TooMany {
        /// Whether the answer contains the time to wait.
        says_when: bool,
    },
}

/// A failure that is stored under its idempotency key, so that every repeat gets it: before or after the request was
/// carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredFailure {
    /// The request is not carried out.
    Before,
    /// The request is carried out.
    After,
}

/// Whether a confirm is carried out, and whether it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The request is carried out and answered.
    Answered,
    /// The request is not carried out, and gets no answer in time.
    LostBefore,
    /// The request is carried out, and gets no answer in time.
    LostAfter,
}

impl Faults {
    /// Draws the fault of a confirm. `subject` is the order or intent; `attempt` counts its confirms from 0.
    #[must_use]
    pub fn confirm_fate(&self, subject: &str, attempt: u64) -> Fate {
        let drawn = draw(
            self.seed,
            &[b"confirm", subject.as_bytes(), &attempt.to_be_bytes()],
        );
        if drawn < self.timeout_before_charge {
            Fate::LostBefore
        } else if drawn < self.timeout_before_charge + self.timeout_after_charge {
            Fate::LostAfter
        } else {
            Fate::Answered
        }
    }

    /// Draws the stored failure of the request with the idempotency key `key`; `None` if the request does not fail.
    #[must_use]
    pub fn stored_failure(&self, key: &str) -> Option<StoredFailure> {
        let drawn = draw(self.seed, &[b"stored", key.as_bytes()]);
        if drawn < self.stored_failure_before {
            Some(StoredFailure::Before)
        } else if drawn < self.stored_failure_before + self.stored_failure_after {
            Some(StoredFailure::After)
        } else {
            None
        }
    }

    /// Draws the fault of any other POST. `nth` distinguishes repeats of the same operation.
    #[must_use]
    pub fn other_fate(&self, operation: &str, subject: &str, nth: u64) -> Fate {
        let drawn = draw(
            self.seed,
            &[operation.as_bytes(), subject.as_bytes(), &nth.to_be_bytes()],
        );
        if drawn < self.lost_answer {
            Fate::LostAfter
        } else {
            Fate::Answered
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_out_as_asked_and_repeat_with_the_seed() {
        let faults = Faults {
            timeout_before_charge: 0.2,
            timeout_after_charge: 0.3,
            seed: 11,
            ..Faults::default()
        };
        let fates: Vec<Fate> = (0..10_000)
            .map(|n| faults.confirm_fate(&format!("order-{n}"), 0))
            .collect();
        let count = |fate| fates.iter().filter(|f| **f == fate).count();
        assert!((1_800..2_200).contains(&count(Fate::LostBefore)));
        assert!((2_800..3_200).contains(&count(Fate::LostAfter)));
        let again: Vec<Fate> = (0..10_000)
            .map(|n| faults.confirm_fate(&format!("order-{n}"), 0))
            .collect();
        assert_eq!(fates, again);
    }

    #[tokio::test]
    async fn a_switch_counts_what_struck_and_tells_of_a_refusal() {
        let switch = Switch::default();
        assert_eq!(switch.admit(0), Ok(()));
        switch.call().await;
        assert_eq!(switch.confirm_fate("o", 0), Fate::Answered);
        switch.change(|faults| {
            faults.outage = true;
            faults.timeout_after_charge = 1.0;
        });
        assert_eq!(switch.admit(0), Err(Barred::Outage));
        switch.refusal().await;
        assert_eq!(switch.confirm_fate("o", 0), Fate::LostAfter);
        let expected = Struck {
            refused: 1,
            lost_after_charge: 1,
            ..Struck::default()
        };
        assert_eq!(switch.struck(), expected);
        switch.change(|faults| {
            faults.outage = false;
            faults.calls_per_second = Some(1);
        });
        assert_eq!(switch.admit(0), Ok(()));
        for says_when in [false, true] {
            assert_eq!(switch.admit(0), Err(Barred::TooMany { says_when }));
        }
        assert_eq!(switch.struck().too_many, 2);
        assert_eq!(switch.calls().total(|second| second.admitted), 2);
    }

    #[test]
    fn nothing_is_lost_without_faults() {
        assert!((0..1_000).all(|n| Faults::default().confirm_fate("o", n) == Fate::Answered));
        assert!((0..1_000).all(|n| Faults::default().other_fate("create", "o", n) == Fate::Answered));
    }
}
