//! Defines the lesson of one drop, and the time in which a run may learn from a drop.

use serde::{Deserialize, Serialize};

use super::super::calendar::{CalendarDrop, CalendarState};
use super::super::measured::Measured;
use super::gaps::Gap;
use super::update::Change;
use domain::ids::DropId;
use domain::time::Timestamp;

/// The time from a drop's expected completion until its metrics are complete, in ms. Metrics arrive
/// minutes late.
pub const SETTLES_MS: i64 = 600_000;
/// The further time, in ms, after which no run learns from the drop any more, even if its metrics
/// never arrived.
pub const FORGETS_AFTER_MS: i64 = 6 * 3_600_000;

/// The measurements of one drop, and the changes of the profile that a run derived from them. The lesson is
/// stored twice: before the profile is changed, and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// The drop that was measured.
    pub drop: DropId,
    /// The time at which the lesson was stored.
    pub at: Timestamp,
    /// The run that stored the lesson, by the unique name of its invocation.
    pub run: String,
    /// The measured load of the drop.
    pub measured: Measured,
    /// The differences between the plan and the measurements, by the profile before its change.
    pub gaps: Vec<Gap>,
    /// The largest factor between plan and measurement; `None` if no quantity can be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<f64>,
    /// The changes to the profile.
    pub changes: Vec<Change>,
    /// Whether the profile has been changed.
    pub written: bool,
}

/// The drops from which a run may learn at `now`, the oldest first. They took place, their time is over, and
/// their metrics are complete.
#[must_use]
pub fn due(calendar: &[CalendarDrop], now: Timestamp) -> Vec<&CalendarDrop> {
    let is_due = |drop: &&CalendarDrop| {
        let since = now.millis_since(drop.drains_by());
        drop.state != CalendarState::Cancelled && (SETTLES_MS..SETTLES_MS + FORGETS_AFTER_MS).contains(&since)
    };
    let mut due: Vec<&CalendarDrop> = calendar.iter().filter(is_due).collect();
    due.sort_by(|a, b| (a.drains_by(), &a.id).cmp(&(b.drains_by(), &b.id)));
    due
}
