//! Counts API calls, and finds the calls beyond the rate limit.
//!
//! The limit is a token bucket, as Stripe describes its own (<https://stripe.com/blog/rate-limiters>): it
//! holds as many calls as one second allows, and refills at the rate.

use std::collections::BTreeMap;

use stack_api::gateway_log::{Calls, Second};

/// The token bucket, and the numbers of calls in each second.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    seconds: BTreeMap<u64, Second>,
    /// The contents of the bucket, in thousandths of a call, and the time of the last refill. `None` before
    /// the first call under a limit.
    bucket: Option<(u64, u64)>,
}

impl Counter {
    /// Counts a call at `now_ms`. Returns false if the call is beyond `limit` calls a second.
    pub(crate) fn admits(&mut self, now_ms: u64, limit: Option<u32>) -> bool {
        let admitted = match limit {
            None => {
                self.bucket = None;
                true
            }
            Some(limit) => self.takes_one(now_ms, u64::from(limit)),
        };
        let second = self.second(now_ms);
        if admitted {
            second.admitted += 1;
        } else {
            second.too_many += 1;
        }
        admitted
    }

    /// Takes one call out of the bucket; false if it has none. `limit`, in calls a second, is at the same time the
    /// number of thousandths of a call that the bucket gains in a millisecond.
    fn takes_one(&mut self, now_ms: u64, limit: u64) -> bool {
        let full = limit * 1_000;
        let (held, filled_ms) = self.bucket.unwrap_or((full, now_ms));
        let gained = now_ms.saturating_sub(filled_ms).saturating_mul(limit);
        let held = held.saturating_add(gained).min(full);
        let left = held.checked_sub(1_000);
        self.bucket = Some((left.unwrap_or(held), now_ms.max(filled_ms)));
        left.is_some()
    }

    /// Counts a call that an outage refused.
    pub(crate) fn refused(&mut self, now_ms: u64) {
        self.second(now_ms).refused += 1;
    }

    fn second(&mut self, now_ms: u64) -> &mut Second {
        let at = now_ms / 1_000;
        self.seconds.entry(at).or_insert(Second {
            at,
            ..Second::default()
        })
    }

    pub(crate) fn calls(&self) -> Calls {
        Calls {
            seconds: self.seconds.values().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(counter: &mut Counter, limit: u32, times: impl IntoIterator<Item = u64>) -> usize {
        let calls = times.into_iter();
        calls.filter(|ms| counter.admits(*ms, Some(limit))).count()
    }

    #[test]
    fn a_second_s_calls_may_come_together_and_no_more() {
        let mut counter = Counter::default();
        assert_eq!(admitted(&mut counter, 25, [0; 60]), 25);
        // At 25 calls a second, the empty bucket has regained one call after 40 ms.
        assert_eq!(admitted(&mut counter, 25, [39, 40, 41]), 1);
        assert_eq!(admitted(&mut counter, 25, (1_000..2_000).step_by(40)), 25);
        let total: u64 = counter
            .calls()
            .seconds
            .iter()
            .map(|s| s.admitted + s.too_many)
            .sum();
        assert_eq!(total, 60 + 3 + 25);
        assert_eq!(counter.calls().seconds.len(), 2);
    }

    #[test]
    fn without_a_limit_all_are_admitted_and_counted() {
        let mut counter = Counter::default();
        assert!((0..500).all(|_| counter.admits(7, None)));
        counter.refused(8);
        let second = counter.calls().seconds[0];
        assert_eq!(second.admitted, 500);
        assert_eq!(second.too_many, 0);
        assert_eq!(second.refused, 1);
    }
}
