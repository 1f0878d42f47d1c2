//! How long, how often, how many: the conductor's own limits, and what must hold between them.

use domain::limits::{CLOCK_SKEW_MS, CONDUCTOR_PERIOD_MS, STALE_STATUS_MS};

/// How long a lease lasts, in milliseconds: what it costs at most when its holder dies.
pub const LEASE_MS: i64 = 8_000;
/// How long before its start a drop is conducted, in milliseconds: two schedules, so that a run is there in time.
pub const LEAD_MS: i64 = 120_000;
/// After how long an unchanged status is written again, in milliseconds, so that nobody takes it for stale.
pub const REFRESH_MS: i64 = 4_000;
/// How often the calendar is read, in milliseconds.
pub const CALENDAR_MS: i64 = 5_000;
/// How long a run without a drop goes on looking for one, in milliseconds: until the next one has begun, so that a drop
/// published just before its start is not left alone for a minute.
pub const LINGER_MS: i64 = 60_000;
/// How long before its deadline a run begins no further step, in milliseconds.
pub const MARGIN_MS: i64 = 10_000;
/// How often a run tells its progress, in milliseconds.
pub const PROGRESS_MS: i64 = 15_000;
/// The shortest pause between two rounds, in milliseconds, when a round took longer than the period.
pub const SHORTEST_PAUSE_MS: i64 = 100;

/// The most drops of each part of the calendar (listed, unlisted) that are looked at, the latest first.
pub const MOST_DROPS: usize = 1_000;
/// Drops whose steps are made at the same time.
pub const DROPS_AT_ONCE: usize = 8;
/// Shards read before the clock of retries starts anew.
pub const SHARDS_AT_ONCE: usize = 1_000;
/// Conditional writes sent at the same time.
pub const WRITES_AT_ONCE: usize = 16;
/// The most holds returned, shards made and orders asked in one step, so that a step does not outlast its lease; the
/// next step goes on.
pub const MOST_WRITES: usize = 1_000;

const _: () = assert!(
    LEASE_MS > 2 * CONDUCTOR_PERIOD_MS + CLOCK_SKEW_MS,
    "a lease must outlive a late renewal"
);
const _: () = assert!(
    REFRESH_MS + CONDUCTOR_PERIOD_MS < STALE_STATUS_MS,
    "a conducted drop's status must never look stale"
);
const _: () = assert!(
    CALENDAR_MS < LEAD_MS && LINGER_MS < LEAD_MS,
    "a drop must be found before it starts"
);
