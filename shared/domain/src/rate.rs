//! Defines the rate of calls to an outside service, and computes the times at which the calls may be made.
//!
//! All workers share a *line*, or several lines if the rate is high, each with an equal part of the rate. A
//! line is a time: the end of all granted slots. A *slot* is the time that one call takes at the line's rate.
//! A worker that wants to make calls moves the line by one slot for each call, and makes the calls when its
//! own slots begin (the generic cell rate algorithm, without a burst). Unused slots are not saved.

use std::str::FromStr;

use crate::limits::{CALLS_PER_PAYMENT, LINE_CALLS_PER_SECOND, MAX_GATEWAY_CALLS_PER_SECOND, MAX_LINE_MS};
use crate::time::Timestamp;

/// A rate in calls a second, from 1 to [`MAX_GATEWAY_CALLS_PER_SECOND`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRate(u32);

/// The warning that a drop's payments take longer at the gateway's rate than a shopper may take to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{units} units at {} calls a second of the payment gateway, two calls each, need {needed_seconds} s until all are paid; payment_seconds is \
     {payment_seconds}. Orders wait as long for their first charge, and their shoppers with them. Ask the gateway for a higher rate and set the \
     parameter GatewayCallsPerSecond, or offer fewer units at a time.",
    rate.per_second()
)]
pub struct SlowPayments {
    /// The number of units of the drop. Each unit may be a separate order.
    pub units: u64,
    /// The highest rate of calls to the gateway.
    pub rate: CallRate,
    /// The time that the gateway calls for all units take at this rate, in seconds.
    pub needed_seconds: u64,
    /// The time that a shopper may take to pay, in seconds.
    pub payment_seconds: u32,
}

impl SlowPayments {
    /// Compares the two times; `None` when all calls fit into the shopper's time.
    #[must_use]
    pub fn of(units: u64, payment_seconds: u32, rate: CallRate) -> Option<Self> {
        let needed_seconds = rate.seconds_for(units.saturating_mul(u64::from(CALLS_PER_PAYMENT)));
        (needed_seconds > u64::from(payment_seconds)).then_some(Self {
            units,
            rate,
            needed_seconds,
            payment_seconds,
        })
    }
}

/// The error for a text or number that is not a valid rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("takes calls a second, 1 to {MAX_GATEWAY_CALLS_PER_SECOND}")]
pub struct RateError;

impl CallRate {
    /// The highest rate that an operator may set.
    pub const HIGHEST: Self = Self(MAX_GATEWAY_CALLS_PER_SECOND);

    /// The rate of this many calls a second.
    ///
    /// # Errors
    /// [`RateError`] unless `per_second` is from 1 to [`MAX_GATEWAY_CALLS_PER_SECOND`].
    pub const fn new(per_second: u32) -> Result<Self, RateError> {
        if per_second >= 1 && per_second <= MAX_GATEWAY_CALLS_PER_SECOND {
            Ok(Self(per_second))
        } else {
            Err(RateError)
        }
    }

    /// The number of calls a second.
    #[must_use]
    pub const fn per_second(self) -> u32 {
        self.0
    }

    /// The number of lines that share the rate, from 1 to [`MAX_LINES`](crate::limits::MAX_LINES).
    #[must_use]
    pub fn lines(self) -> u8 {
        u8::try_from(self.0.div_ceil(LINE_CALLS_PER_SECOND)).unwrap_or(u8::MAX)
    }

    /// The rate of one line. The lines together never exceed the whole rate.
    #[must_use]
    pub fn of_line(self) -> Self {
        Self(self.0 / u32::from(self.lines()))
    }

    /// The duration of the slots of this many calls, in microseconds, rounded up.
    #[must_use]
    pub fn span_us(self, calls: u32) -> i64 {
        (i64::from(calls) * 1_000_000 + i64::from(self.0) - 1) / i64::from(self.0)
    }

    /// The duration of this many calls in whole seconds, rounded up.
    #[must_use]
    pub fn seconds_for(self, calls: u64) -> u64 {
        calls.div_ceil(u64::from(self.0))
    }
}

impl FromStr for CallRate {
    type Err = RateError;
    fn from_str(text: &str) -> Result<Self, RateError> {
        Self::new(text.trim().parse().map_err(|_| RateError)?)
    }
}

/// A worker's request for call slots on one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallsWanted {
    /// The index of the line, from 0.
    pub line: u8,
    /// The rate of the line, not of all lines.
    pub rate: CallRate,
    /// The number of calls that the worker wants to make.
    pub calls: u32,
    /// The current time by the worker's clock.
    pub now: Timestamp,
    /// The latest time at which the slots may begin.
    pub latest: Timestamp,
}

/// The answer to a request for call slots: whether the slots were granted, and the time at which they begin.
/// Not to be confused with [`saga::Turn`](crate::saga::Turn), the side that must act next on an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The slots were granted: the calls may be made from this time on.
    From(Timestamp),
    /// No slot was granted: the slots would begin at this time, which is after [`CallsWanted::latest`].
    Later(Timestamp),
}

/// The microseconds from 1970 to `moment`. A line is stored in this unit.
#[must_use]
pub const fn micros(moment: Timestamp) -> i64 {
    moment.as_millis().saturating_mul(1_000)
}

/// The first whole millisecond that is not before `us`, in microseconds since 1970.
#[must_use]
pub const fn from_micros(us: i64) -> Timestamp {
    Timestamp::from_millis(us.saturating_add(999).div_euclid(1_000))
}

impl CallsWanted {
    /// The time at which the slots of these calls begin, in microseconds since 1970, if the line is at
    /// `line`: the end of the granted slots, or now if that end has passed. A line that is more than
    /// [`MAX_LINE_MS`] ahead was written by a wrong clock and is ignored.
    #[must_use]
    pub fn begins_us(&self, line: Option<i64>) -> i64 {
        let (now, farthest) = (micros(self.now), micros(self.farthest()));
        line.filter(|line| (now..=farthest).contains(line)).unwrap_or(now)
    }

    /// The latest time at which a line may be; a line that is further ahead is ignored.
    #[must_use]
    pub const fn farthest(&self) -> Timestamp {
        self.now.plus_millis(MAX_LINE_MS)
    }

    /// The answer to the request if the line is at `line`, and the line's position after the request.
    #[must_use]
    pub fn take(&self, line: Option<i64>) -> (Turn, Option<i64>) {
        let begins = self.begins_us(line);
        if begins > micros(self.latest) {
            return (Turn::Later(from_micros(begins)), line);
        }
        let line = begins.saturating_add(self.rate.span_us(self.calls));
        (Turn::From(from_micros(begins)), Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn wanted(rate: u32, calls: u32, now: Timestamp) -> CallsWanted {
        CallsWanted {
            line: 0,
            rate: CallRate::new(rate).unwrap(),
            calls,
            now,
            latest: now.plus_millis(5_000),
        }
    }

    #[test]
    fn a_rate_is_a_number_of_calls_within_bounds() {
        assert_eq!("25".parse(), CallRate::new(25));
        for wrong in ["", "0", "-1", "1001", "2.5", "many"] {
            assert_eq!(wrong.parse::<CallRate>(), Err(RateError), "{wrong}");
        }
        let rate = CallRate::new(25).unwrap();
        assert_eq!(rate.seconds_for(20_000), 800);
        assert_eq!(rate.seconds_for(1), 1);
    }

    #[test]
    fn the_lines_of_a_rate_hand_out_no_more_than_the_rate() {
        let lines = |rate: u32| {
            let rate = CallRate::new(rate).unwrap();
            (rate.lines(), rate.of_line().per_second())
        };
        assert_eq!(
            [25, 125, 126, 627, 1_000].map(lines),
            [(1, 25), (1, 125), (2, 63), (6, 104), (8, 125)]
        );
        assert_eq!(CallRate::HIGHEST.lines(), crate::limits::MAX_LINES);
        for rate in 1..=MAX_GATEWAY_CALLS_PER_SECOND {
            let (count, each) = lines(rate);
            assert!(
                u32::from(count) * each <= rate && u32::from(count) * each + 8 > rate,
                "{rate}"
            );
        }
    }

    #[test]
    fn a_rate_that_is_too_low_for_a_drop_is_told_with_what_to_change() {
        let rate = CallRate::new(25).unwrap();
        assert_eq!(SlowPayments::of(10_000, 800, rate), None);
        let text = SlowPayments::of(10_000, 799, rate).unwrap().to_string();
        for part in ["10000 units", "25 calls", "800 s", "799", "GatewayCallsPerSecond"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn turns_follow_one_another_and_unused_ones_are_not_saved_up() {
        let (turn, line) = wanted(25, 2, NOW).take(None);
        assert_eq!(turn, Turn::From(NOW));
        let (turn, line) = wanted(25, 1, NOW).take(line);
        assert_eq!(turn, Turn::From(NOW.plus_millis(80)));
        let later = NOW.plus_seconds(60);
        let (turn, line) = wanted(25, 1, later).take(line);
        assert_eq!(turn, Turn::From(later));
        let (turn, _) = wanted(25, 1, later).take(line);
        assert_eq!(turn, Turn::From(later.plus_millis(40)));
    }

    #[test]
    fn who_would_come_too_late_takes_nothing() {
        let line = Some(micros(NOW.plus_millis(5_001)));
        let (turn, after) = wanted(25, 1, NOW).take(line);
        assert_eq!(turn, Turn::Later(NOW.plus_millis(5_001)));
        assert_eq!(after, line);
    }

    #[test]
    fn a_line_from_a_wrong_clock_holds_nobody_up() {
        let line = Some(micros(NOW.plus_seconds(86_400)));
        let (turn, after) = wanted(25, 1, NOW).take(line);
        assert_eq!(turn, Turn::From(NOW));
        assert_eq!(after, Some(micros(NOW) + 40_000));
    }

    proptest! {
        #[test]
        fn no_second_has_more_turns_than_the_rate(
            rate in 1_u32..=1_000, asks in prop::collection::vec((1_u32..8, 0_i64..300), 1..200),
        ) {
            let (mut now, mut line, mut begun) = (NOW, None, Vec::new());
            for (calls, pause) in asks {
                now = now.plus_millis(pause);
                let (turn, after) = wanted(rate, calls, now).take(line);
                line = after;
                if let Turn::From(at) = turn {
                    prop_assert!(at >= now && at <= now.plus_millis(5_000));
                    begun.push((at, calls));
                }
            }
            for (at, _) in &begun {
                let within = begun.iter().filter(|(other, _)| (0..1_000).contains(&other.millis_since(*at)));
                let calls: u32 = within.map(|(_, calls)| calls).sum();
                // The calls of one request begin together, at a whole millisecond, so a second may have a few
                // calls more than the rate.
                prop_assert!(calls <= rate + 8 + rate.div_ceil(1_000), "{calls} calls in a second at {rate}");
            }
        }
    }
}
