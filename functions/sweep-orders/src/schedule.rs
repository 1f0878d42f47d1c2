//! Computes how long a run lasts, from the event and the deadline of its process.

use domain::time::Timestamp;
use serde::Deserialize;

/// The time at the end of a run that is left for the pass in progress, in milliseconds.
pub const RESERVE_MS: i64 = 6_000;
/// The longest run, in milliseconds. The schedule starts a run each minute, and the local tools allow a function
/// much more than a minute.
pub const MAX_RUN_MS: i64 = 58_000;

/// The used part of the scheduled event. The schedule sends no value; a manual invocation may request a
/// shorter run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Tick {
    /// The requested duration of the run.
    #[serde(default)]
    pub detail: Detail,
}

/// The detail of a tick: how long the run is to last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Detail {
    /// The longest duration of the run, in seconds; 0 for a single pass; `None` for [`MAX_RUN_MS`].
    #[serde(default)]
    pub run_seconds: Option<u32>,
}

/// The time until which a run that begins at `now` makes passes, when its process has time until `deadline`.
#[must_use]
pub fn until(tick: Tick, now: Timestamp, deadline: Timestamp) -> Timestamp {
    let longest = now.plus_millis(MAX_RUN_MS).min(deadline.plus_millis(-RESERVE_MS));
    let requested = tick.detail.run_seconds.map(|seconds| now.plus_seconds(seconds));
    requested.map_or(longest, |requested| requested.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_before_its_process_does() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let tick = |text| serde_json::from_str::<Tick>(text).unwrap();
        let run = |text, seconds| until(tick(text), now, now.plus_seconds(seconds)).millis_since(now);
        assert_eq!(run("{}", 60), 54_000);
        assert_eq!(run(r#"{"source":"aws.events","detail":{}}"#, 600), MAX_RUN_MS);
        assert_eq!(run(r#"{"detail":{"run_seconds":9}}"#, 60), 9_000);
        assert_eq!(run(r#"{"detail":{"run_seconds":900}}"#, 900), MAX_RUN_MS);
        assert_eq!(run(include_str!("../events/one-pass.json"), 60), 0);
    }
}
