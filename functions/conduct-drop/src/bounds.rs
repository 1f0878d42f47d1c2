//! Defines the conductor's limits of time and number, and checks the relations between them.

use domain::limits::{CLOCK_SKEW_MS, CONDUCTOR_PERIOD_MS, STALE_MS};

/// The length of a lease, in milliseconds. When its holder dies, the drop is not conducted for at most this time.
pub const LEASE_MS: i64 = 8_000;
/// How long before a drop's start the conductor begins with the drop, in milliseconds: two periods of the schedule, so
/// that a run is active at the start.
pub const LEAD_MS: i64 = 120_000;
/// The age at which an unchanged status is written again, in milliseconds, so that it does not count as stale.
pub const REFRESH_MS: i64 = 4_000;
/// The interval of calendar reads, in milliseconds.
pub const CALENDAR_MS: i64 = 5_000;
/// How long a run without a drop waits for a drop, in milliseconds: until the next run has begun. Otherwise a drop
/// that is published just before its start would not be conducted for a minute.
pub const LINGER_MS: i64 = 60_000;
/// A run begins no round later than this before its deadline, in milliseconds, so that its last steps can end.
pub const MARGIN_MS: i64 = 10_000;
/// The interval at which a run reports its progress, in milliseconds.
pub const PROGRESS_MS: i64 = 15_000;
/// The shortest pause between two rounds, in milliseconds, when a round took longer than the period.
pub const SHORTEST_PAUSE_MS: i64 = 100;

/// The number of drops whose steps run concurrently.
pub const DROPS_AT_ONCE: usize = 8;
/// The number of shards that are read, and repeated after a failure, together.
pub const SHARDS_AT_ONCE: usize = 1_000;
/// The number of concurrent conditional writes.
pub const WRITES_AT_ONCE: usize = 16;
/// The largest number of holds returned, shards created and orders cancelled in one step, so that a step ends before
/// its lease. The next step continues.
pub const MOST_WRITES: usize = 1_000;

const _: () = assert!(
    LEASE_MS > 2 * CONDUCTOR_PERIOD_MS + CLOCK_SKEW_MS,
    "a lease must outlive a late renewal"
);
const _: () = assert!(
    REFRESH_MS + CONDUCTOR_PERIOD_MS < STALE_MS,
    "a conducted drop's status must never look stale"
);
const _: () = assert!(
    CALENDAR_MS < LEAD_MS && LINGER_MS < LEAD_MS,
    "a drop must be found before it starts"
);
