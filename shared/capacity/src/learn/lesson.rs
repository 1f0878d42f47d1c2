//! The lesson of one drop, and when a drop may be learned from.

use serde::{Deserialize, Serialize};

use super::gaps::Gap;
use super::update::Change;
use crate::calendar::{CalendarDrop, CalendarState};
use crate::measured::Measured;
use domain::ids::DropId;
use domain::time::Timestamp;

/// A drop's metrics are complete this long after its orders should be complete, in ms, since metrics arrive minutes
/// late.
pub const SETTLES_MS: i64 = 600_000;
/// A drop without metrics this long after that is not learned from, in ms.
pub const FORGETS_AFTER_MS: i64 = 6 * 3_600_000;

/// The lesson of one drop. Stored twice: before the profile is changed, and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// The drop.
    pub drop: DropId,
    /// When this was stored.
    pub at: Timestamp,
    /// The run that stored it.
    pub run: String,
    /// The measured load.
    pub measured: Measured,
    /// The plan compared with the measurements, by the profile before the change.
    pub gaps: Vec<Gap>,
    /// The largest factor between them; none if nothing can be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<f64>,
    /// The changes to the profile.
    pub changes: Vec<Change>,
    /// Whether the profile has been changed.
    pub written: bool,
}

/// The drops that may be learned from at `now`, oldest first: they took place, their time is over, and their metrics
/// are complete.
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
