//! Defines the calendar: the drops, their times, and the expected numbers of shoppers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use domain::crowd::busiest_second;
use domain::drops::{Drop, FieldError};
use domain::ids::DropId;
use domain::time::Timestamp;

use super::mistakes::Mistakes;
use super::profile::{ByPhase, Group, Per, Through};
use super::read::{self, Read};
use crate::{members, scalars};

/// The state of a drop, as far as it matters for capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarState {
    /// The drop will take place, or is taking place.
    #[default]
    Scheduled,
    /// The drop is cancelled, so no capacity is held for it.
    Cancelled,
    /// Every unit is paid for or the drop has ended, and no order is open. No capacity is held for the drop.
    Drained,
}

scalars!(CalendarState);

/// The consequence for a drop whose capacity is not ready when the first shoppers arrive. The decision is made at that
/// time, since missing capacity may still become ready before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NotReadyPolicy {
    /// The drop opens as announced, and admits only as many shoppers as the capacity serves.
    #[default]
    AdmitFewer,
    /// The drop opens later, if a delay within the limit is enough; otherwise it admits fewer shoppers.
    MoveStart {
        /// The largest delay of the start, in seconds.
        at_most_seconds: u32,
    },
}

impl Read for NotReadyPolicy {
    fn read(part: &Value, at: &str, mistakes: &mut Vec<FieldError>) -> Option<Self> {
        match read::variant(part) {
            Some(("move_start", content)) => {
                let at = &format!("{at}.move_start");
                members!(content, at, mistakes => Self::MoveStart { at_most_seconds })
            }
            _ => read::scalar(part, at, mistakes),
        }
    }
}

/// A period in which requests arrive, and the shape of their rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// The length of the period, in seconds.
    pub seconds: u32,
    /// The ratio of the period's busiest second to its mean: 1 for an even rate, 2 for a rate that falls
    /// linearly to zero.
    pub peak_factor: f64,
}

members!(Stretch: seconds, peak_factor);

/// A drop on the calendar. Times are of the type `M`: milliseconds since 1970, or another format in files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarDrop<M = Timestamp> {
    /// The drop's identifier.
    pub id: DropId,
    /// Whether the drop takes place, is cancelled, or has drained.
    #[serde(default)]
    pub state: CalendarState,
    /// The consequence if the capacity is not ready when the first shoppers arrive.
    #[serde(default)]
    pub if_not_ready: NotReadyPolicy,
    /// The time at which reservations begin.
    pub starts_at: M,
    /// The time at which reservations end.
    pub ends_at: M,
    /// The expected number of shoppers.
    pub shoppers: u32,
    /// The number of units on sale.
    pub units: u32,
    /// The requests in the opening's busiest second, over all groups behind the API; `None` if the number
    /// follows from the shape of the opening. If it is set, the profile's weights only distribute it over
    /// the groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rps: Option<u32>,
    /// The shortest time in which all units may be reserved, in seconds.
    pub sold_within_seconds: u32,
    /// The period before the opening, in which shoppers already arrive.
    pub before: Stretch,
    /// The surge of requests, which begins at the start.
    pub opening: Stretch,
    /// The ratio of the sale's busiest second to its mean. The sale lasts from the end of the surge to the end of the
    /// drop.
    pub sale_peak_factor: f64,
    /// The period from the drop's end until its open orders are complete.
    pub tail: Stretch,
}

members!(CalendarDrop<M>:
    id, state or CalendarState::default(), if_not_ready or NotReadyPolicy::default(), starts_at,
    ends_at, shoppers, units, peak_rps, sold_within_seconds, before, opening, sale_peak_factor,
    tail,
);

impl<M> CalendarDrop<M> {
    /// The same drop with each time converted by `read`.
    #[must_use]
    pub fn with_moments<N>(self, read: impl Fn(M) -> N) -> CalendarDrop<N> {
        CalendarDrop {
            id: self.id,
            state: self.state,
            if_not_ready: self.if_not_ready,
            starts_at: read(self.starts_at),
            ends_at: read(self.ends_at),
            shoppers: self.shoppers,
            units: self.units,
            peak_rps: self.peak_rps,
            sold_within_seconds: self.sold_within_seconds,
            before: self.before,
            opening: self.opening,
            sale_peak_factor: self.sale_peak_factor,
            tail: self.tail,
        }
    }
}

/// The longest time from the start to the end of a drop for which capacity is planned, in milliseconds.
pub const LONGEST_OPEN_MS: i64 = 30 * 86_400_000;

/// The shape of a drop without a calendar entry. These values are assumed, like those of the profile, until
/// drops have been measured.
const ASSUMED_BEFORE: Stretch = Stretch {
    seconds: 600,
    peak_factor: 2.0,
};
const ASSUMED_OPENING_SECONDS: u32 = 60;
const ASSUMED_SALE_PEAK_FACTOR: f64 = 1.5;
const ASSUMED_TAIL: Stretch = Stretch {
    seconds: 120,
    peak_factor: 1.0,
};
const ASSUMED_SOLD_WITHIN_SECONDS: u32 = 10;

fn open_seconds(starts_at: Timestamp, ends_at: Timestamp) -> u32 {
    let open_ms = ends_at.millis_since(starts_at).max(0);
    u32::try_from(open_ms / 1000).unwrap_or(u32::MAX)
}

/// The requests of the busiest second, for so many expected shoppers and units: those of the crowd, and two more for each
/// unit of a tenth of the stock, which is held in that second.
#[must_use]
pub const fn peak_rps(expected_shoppers: u32, units: u32) -> u32 {
    busiest_second(expected_shoppers).saturating_add(units / 5)
}

impl CalendarDrop {
    /// The entry for a drop that the calendar does not contain, from the number of shoppers that its
    /// operator expects.
    ///
    /// # Errors
    /// The mistakes that the entry would have on the calendar.
    pub fn expected(drop: &Drop) -> Result<Self, Vec<FieldError>> {
        let units = drop.skus.iter().map(|sku| sku.plan.units()).sum();
        let entry = Self {
            id: drop.id.clone(),
            state: CalendarState::Scheduled,
            if_not_ready: NotReadyPolicy::AdmitFewer,
            starts_at: drop.starts_at,
            ends_at: drop.ends_at,
            shoppers: drop.expected_shoppers,
            units,
            peak_rps: Some(peak_rps(drop.expected_shoppers, units)),
            sold_within_seconds: ASSUMED_SOLD_WITHIN_SECONDS,
            before: ASSUMED_BEFORE,
            opening: Stretch {
                seconds: ASSUMED_OPENING_SECONDS.min(open_seconds(drop.starts_at, drop.ends_at)),
                peak_factor: 1.0,
            },
            sale_peak_factor: ASSUMED_SALE_PEAK_FACTOR,
            tail: ASSUMED_TAIL,
        };
        let mut mistakes = Mistakes::default();
        mistakes.part("drop", |m| entry.check(m));
        let mistakes = mistakes.found();
        if mistakes.is_empty() {
            Ok(entry)
        } else {
            Err(mistakes)
        }
    }

    /// The four phases of the drop as periods.
    #[must_use]
    pub fn stretches(&self) -> ByPhase<Stretch> {
        let open_seconds = open_seconds(self.starts_at, self.ends_at);
        ByPhase {
            before: self.before,
            opening: self.opening,
            sale: Stretch {
                seconds: open_seconds.saturating_sub(self.opening.seconds),
                peak_factor: self.sale_peak_factor,
            },
            tail: self.tail,
        }
    }

    /// The time at which the first shoppers arrive.
    #[must_use]
    pub const fn gathers_at(&self) -> Timestamp {
        self.starts_at.plus_millis(-(self.before.seconds as i64) * 1000)
    }

    /// The time at which the drop's surge ends.
    #[must_use]
    pub const fn rush_ends_at(&self) -> Timestamp {
        self.starts_at.plus_seconds(self.opening.seconds)
    }

    /// The time by which the drop's orders should be complete.
    #[must_use]
    pub const fn drains_by(&self) -> Timestamp {
        self.ends_at.plus_seconds(self.tail.seconds)
    }

    /// Whether capacity may be needed for the drop.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        matches!(self.state, CalendarState::Scheduled)
    }

    /// The shoppers and units a second in the busiest second of a period.
    #[must_use]
    pub fn pace(&self, stretch: Stretch) -> Pace {
        if stretch.seconds == 0 {
            return Pace::default();
        }
        let each = |count: u32| f64::from(count) * stretch.peak_factor / f64::from(stretch.seconds);
        Pace {
            shoppers_per_second: each(self.shoppers),
            units_per_second: each(self.units),
        }
    }

    /// The rates in the opening's busiest second. The rate of shoppers follows from `peak_rps` if the drop
    /// states it. The rate of units is the rate at which they may be reserved.
    #[must_use]
    pub fn opening_pace(&self, groups: &[Group]) -> Pace {
        let units_per_second = f64::from(self.units) / f64::from(self.sold_within_seconds.max(1));
        let by_shape = self.pace(self.opening).shoppers_per_second;
        let weight = |per: Per| -> f64 {
            let counted = groups
                .iter()
                .filter(|g| g.per == per && g.through == Through::Api);
            counted.map(|g| g.weight.opening).sum()
        };
        let shoppers_per_second = match self.peak_rps {
            Some(rps) if weight(Per::Shopper) > 0.0 => {
                let of_units = units_per_second * weight(Per::Unit);
                (f64::from(rps) - of_units).max(0.0) / weight(Per::Shopper)
            }
            _ => by_shape,
        };
        Pace {
            shoppers_per_second,
            units_per_second,
        }
    }

    pub(super) fn check(&self, m: &mut Mistakes) {
        m.check(self.starts_at < self.ends_at, "ends_at", "after starts_at");
        let open_ms = self.ends_at.millis_since(self.starts_at);
        let rule = "at most 30 days after starts_at";
        m.check(open_ms <= LONGEST_OPEN_MS, "ends_at", rule);
        let in_range = |count: u32| (1..=100_000_000).contains(&count);
        m.check(in_range(self.shoppers), "shoppers", "1 to 100000000");
        m.check((1..=10_000_000).contains(&self.units), "units", "1 to 10000000");
        m.check(self.peak_rps.is_none_or(in_range), "peak_rps", "1 to 100000000");
        m.check(self.sold_within_seconds > 0, "sold_within_seconds", "at least 1");
        for (field, stretch) in [
            ("before", self.before),
            ("opening", self.opening),
            ("tail", self.tail),
        ] {
            m.part(field, |m| {
                m.check((1..=86_400).contains(&stretch.seconds), "seconds", "1 to 86400");
                m.within(stretch.peak_factor, 1.0, 100.0, "peak_factor");
            });
        }
        let rush_fits = open_ms >= i64::from(self.opening.seconds) * 1000;
        m.check(rush_fits, "opening.seconds", "not beyond ends_at");
        m.within(self.sale_peak_factor, 1.0, 100.0, "sale_peak_factor");
    }
}

/// The rates of shoppers and units in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The number of shoppers a second.
    pub shoppers_per_second: f64,
    /// The number of units a second.
    pub units_per_second: f64,
}

impl Pace {
    /// The requests a second of a group that has this weight.
    #[must_use]
    pub fn rps(self, per: Per, weight: f64) -> f64 {
        match per {
            Per::Shopper => self.shoppers_per_second * weight,
            Per::Unit => self.units_per_second * weight,
        }
    }
}
