//! What one drop taught, and when a drop may be learned from.

use serde::{Deserialize, Serialize};

use super::super::calendar::{CalendarDrop, CalendarState};
use super::super::measured::Measured;
use super::gaps::Gap;
use super::update::Change;
use crate::ids::DropId;
use crate::time::Timestamp;

/// Figures of a drop are complete so long after its orders should be through, in ms: metrics come minutes late.
pub const SETTLES_MS: i64 = 600_000;
/// A drop whose figures have not come so long after that is not learned from, in ms.
pub const FORGETS_AFTER_MS: i64 = 6 * 3_600_000;

/// What one drop taught. Kept twice: before the profile is changed, and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// The drop.
    pub drop: DropId,
    /// When this was kept.
    pub at: Timestamp,
    /// Who ran.
    pub run: String,
    /// What it caused.
    pub measured: Measured,
    /// The plan against what came, by the profile as it was.
    pub gaps: Vec<Gap>,
    /// How far apart they are at most, as a factor; none if nothing can be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<f64>,
    /// What was changed, by the profile as it was.
    pub changes: Vec<Change>,
    /// Whether the profile has been changed.
    pub written: bool,
}

/// The drops that may be learned from at `now`, oldest first: they took place, their time is over, and their figures have
/// come.
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
