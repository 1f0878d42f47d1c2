//! Defines the time in which capacity is held for a drop, and the parts of its preparation.

use domain::time::Timestamp;
use serde::Serialize;

/// One part of a drop's preparation, with its duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LeadPart {
    /// The part's name in plans, such as `database` or `margin`.
    pub part: &'static str,
    /// The part's duration, in seconds.
    pub seconds: u32,
}

/// The time in which capacity is held for a drop. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The time at which the preparation must begin.
    pub begins_at: Timestamp,
    /// The time at which all capacity must be ready, since the first shoppers arrive.
    pub ready_by: Timestamp,
    /// The time at which the drop opens.
    pub starts_at: Timestamp,
    /// The time at which the drop ends.
    pub ends_at: Timestamp,
    /// The time at which the capacity is returned, unless the drop has drained earlier.
    pub released_at: Timestamp,
    /// The parts of the preparation, in the order in which they are carried out.
    pub parts: Vec<LeadPart>,
}

impl Window {
    /// Whether `now` is within the window. The drop's state is not considered.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.begins_at <= now && now < self.released_at
    }

    /// The duration of the preparation, in seconds.
    #[must_use]
    pub fn lead_seconds(&self) -> u32 {
        self.parts.iter().map(|part| part.seconds).sum()
    }

    /// The longest time for which capacity is held, in seconds.
    #[must_use]
    pub fn held_seconds(&self) -> u32 {
        let ms = self.released_at.millis_since(self.begins_at).max(0);
        u32::try_from(ms / 1000).unwrap_or(u32::MAX)
    }
}
