//! Provides a clock that tests set, and random numbers from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use domain::time::Timestamp;
use ports::runtime::{Clock, Metrics, Random};

use crate::yielding::yield_now;

/// Virtual time and random numbers from a seed. Clones share both.
#[derive(Debug, Clone)]
pub struct TestRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    now_ms: AtomicI64,
    slept_ms: AtomicU64,
    state: AtomicU64,
}

impl TestRuntime {
    /// The clock's first time: 2027-01-15T08:00:00Z.
    pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// A runtime whose random numbers depend only on `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                now_ms: AtomicI64::new(Self::START.as_millis()),
                slept_ms: AtomicU64::new(0),
                state: AtomicU64::new(seed),
            }),
        }
    }

    /// Puts the clock to `now`, forward or back.
    pub fn set(&self, now: Timestamp) {
        self.inner.now_ms.store(now.as_millis(), Ordering::SeqCst);
    }

    /// Lets `ms` milliseconds pass.
    pub fn advance(&self, ms: i64) {
        self.inner.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Lets `seconds` pass.
    pub fn advance_seconds(&self, seconds: u32) {
        self.advance(i64::from(seconds) * 1000);
    }

    /// The total time of all sleeps, in milliseconds.
    #[must_use]
    pub fn slept_ms(&self) -> u64 {
        self.inner.slept_ms.load(Ordering::SeqCst)
    }
}

impl Default for TestRuntime {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Clock for TestRuntime {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.inner.now_ms.load(Ordering::SeqCst))
    }

    /// Lets other tasks run, and moves the clock by `ms` immediately. Concurrent sleeps add up: time passes as if they
    /// came one after the other.
    async fn sleep(&self, ms: u64) {
        yield_now().await;
        self.inner.slept_ms.fetch_add(ms, Ordering::SeqCst);
        self.advance(i64::try_from(ms).unwrap_or(i64::MAX));
        yield_now().await;
    }
}

impl Random for TestRuntime {
    /// SplitMix64: one addition and a mix, so that a shared counter is all its state.
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let before = self.inner.state.fetch_add(STEP, Ordering::SeqCst);
        domain::choice::mix(before.wrapping_add(STEP))
    }
}

impl Metrics for TestRuntime {}
