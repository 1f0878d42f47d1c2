//! The rate of calls to an outside service, and the order of the calls.
//!
//! All workers share a *line*, or several lines if the rate is high, each with an equal part of the rate. A
//! line is the time at which the last granted call has had its turn. A worker that wants to make calls moves
//! that time by as many turns, and makes the calls when its own turns begin (the generic cell rate algorithm,
//! without a burst). Unused turns are not saved.

use std::str::FromStr;

use crate::limits::{CALLS_PER_PAYMENT, LINE_CALLS_PER_SECOND, MAX_GATEWAY_CALLS_PER_SECOND, MAX_LINE_MS};
use crate::time::Timestamp;

/// Calls a second, from 1 to [`MAX_GATEWAY_CALLS_PER_SECOND`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRate(u32);

/// A drop whose payments take longer at the gateway's rate than a shopper may take to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{units} units at {} calls a second of the payment gateway, two calls each, need {needed_seconds} s until all are paid; payment_seconds is \
     {payment_seconds}. Orders wait as long for their first charge, and their shoppers with them. Ask the gateway for a higher rate and set the \
     parameter GatewayCallsPerSecond, or offer fewer units at a time.",
    rate.per_second()
)]
pub struct SlowPayments {
    /// The units of the drop. Each may be a separate order.
    pub units: u64,
    /// The gateway's rate.
    pub rate: CallRate,
    /// The time for the calls of all units, in seconds.
    pub needed_seconds: u64,
    /// The time that a shopper may take to pay, in seconds.
    pub payment_seconds: u32,
}

impl SlowPayments {
    /// Compares the two times; `None` when the rate suffices.
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

/// A text or number that is not a valid rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("takes calls a second, 1 to {MAX_GATEWAY_CALLS_PER_SECOND}")]
pub struct RateError;

impl CallRate {
    /// The highest rate.
    pub const HIGHEST: Self = Self(MAX_GATEWAY_CALLS_PER_SECOND);

    /// A rate of this many calls a second.
    ///
    /// # Errors
    /// [`RateError`]
    pub const fn new(per_second: u32) -> Result<Self, RateError> {
        if per_second >= 1 && per_second <= MAX_GATEWAY_CALLS_PER_SECOND {
            Ok(Self(per_second))
        } else {
            Err(RateError)
        }
    }

    /// Calls a second.
    #[must_use]
    pub const fn per_second(self) -> u32 {
        self.0
    }

    /// How many lines share the rate, from 1 to [`MAX_LINES`](crate::limits::MAX_LINES).
    #[must_use]
    pub fn lines(self) -> u8 {
        u8::try_from(self.0.div_ceil(LINE_CALLS_PER_SECOND)).unwrap_or(u8::MAX)
    }

    /// The rate of one line. The sum over all lines never exceeds the whole rate.
    #[must_use]
    pub fn of_line(self) -> Self {
        Self(self.0 / u32::from(self.lines()))
    }

    /// The duration of the turns of this many calls, in microseconds, rounded up.
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

/// A request for turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallsWanted {
    /// The index of the line, from 0.
    pub line: u8,
    /// The rate of this line.
    pub rate: CallRate,
    /// The number of calls.
    pub calls: u32,
    /// The current time.
    pub now: Timestamp,
    /// The latest time at which the turns may begin.
    pub latest: Timestamp,
}

/// The answer to a request for turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The calls may be made from this time on.
    From(Timestamp),
    /// No turn was taken: the turns would begin at this time, which is too late.
    Later(Timestamp),
}

/// The time in microseconds since 1970, the unit of a line.
#[must_use]
pub const fn micros(moment: Timestamp) -> i64 {
    moment.as_millis().saturating_mul(1_000)
}

/// The first millisecond that is not before `us`.
#[must_use]
pub const fn from_micros(us: i64) -> Timestamp {
    Timestamp::from_millis(us.saturating_add(999).div_euclid(1_000))
}

impl CallsWanted {
    /// When the turns of these calls begin, in microseconds, if the line is at `line`: now if no earlier turn
    /// is left. A line that is more than [`MAX_LINE_MS`] ahead was written by a wrong clock and is ignored.
    #[must_use]
    pub fn begins_us(&self, line: Option<i64>) -> i64 {
        let (now, farthest) = (micros(self.now), micros(self.farthest()));
        line.filter(|line| (now..=farthest).contains(line)).unwrap_or(now)
    }

    /// The largest time by which a line may be ahead of now.
    #[must_use]
    pub const fn farthest(&self) -> Timestamp {
        self.now.plus_millis(MAX_LINE_MS)
    }

    /// The answer to the request if the line is at `line`, and the line's next position.
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
                // The calls of one request begin together, at whole milliseconds.
                prop_assert!(calls <= rate + 8 + rate.div_ceil(1_000), "{calls} calls in a second at {rate}");
            }
        }
    }
}
