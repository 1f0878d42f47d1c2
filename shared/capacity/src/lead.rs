//! When the preparation must begin: the time of the first arrivals, less the duration of all its parts.

use serde::Serialize;

use domain::time::Timestamp;

use super::amounts::{Capacity, DatabaseSize};
use super::calendar::CalendarDrop;
use super::documents::Documents;
use super::fit::fit;
use super::numbers::units_up;
use super::observed::Observed;
use super::quotas::Quotas;
use super::steps::{Step, database_steps};

/// One part of the preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LeadPart {
    /// The name of the part.
    pub part: &'static str,
    /// The part's duration, in seconds.
    pub seconds: u32,
}

/// The time in which capacity is held for a drop. Moments are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    /// When preparing must begin.
    pub begins_at: Timestamp,
    /// When everything must be ready: the first shoppers arrive.
    pub ready_by: Timestamp,
    /// The opening.
    pub starts_at: Timestamp,
    /// The end.
    pub ends_at: Timestamp,
    /// When capacity is returned, unless the drop has drained earlier.
    pub released_at: Timestamp,
    /// The parts of the preparation, one after the other.
    pub parts: Vec<LeadPart>,
}

impl Window {
    /// Whether capacity is wanted at `now`, by time alone.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.begins_at <= now && now < self.released_at
    }

    /// The duration of the preparation, in seconds.
    #[must_use]
    pub fn lead_seconds(&self) -> u32 {
        self.parts.iter().map(|part| part.seconds).sum()
    }

    /// The longest time that capacity is held, in seconds.
    #[must_use]
    pub fn held_seconds(&self) -> u32 {
        let ms = self.released_at.millis_since(self.begins_at).max(0);
        u32::try_from(ms / 1000).unwrap_or(u32::MAX)
    }
}

/// The window of one drop, as if it were the only one and everything were at the baseline.
#[must_use]
pub fn window(docs: &Documents, quotas: &Quotas, drop: &CalendarDrop) -> Window {
    let alone = fit(docs, quotas, &[], drop, 0.0);
    let parts = parts(docs, quotas, &alone.capacity);
    let lead: u32 = parts.iter().map(|part| part.seconds).sum();
    Window {
        begins_at: drop.gathers_at().plus_millis(-i64::from(lead) * 1000),
        ready_by: drop.gathers_at(),
        starts_at: drop.starts_at,
        ends_at: drop.ends_at,
        released_at: drop.drains_by(),
        parts,
    }
}

/// The parts of the way from the baseline to `capacity`. Parts without a change take no time.
fn parts(docs: &Documents, quotas: &Quotas, capacity: &Capacity) -> Vec<LeadPart> {
    let lead = &docs.profile.lead;
    let baseline = docs.baseline.capacity();
    let raised: u64 = (capacity.functions.iter())
        .map(|(name, wanted)| {
            u64::from(
                wanted
                    .provisioned
                    .saturating_sub(baseline.function(name).provisioned),
            )
        })
        .sum();
    let raised = u32::try_from(raised).unwrap_or(u32::MAX);
    let database = database_seconds(docs, &Observed::at_baseline(&docs.baseline), &capacity.database);
    let if_any = |any: bool, seconds: u32| if any { seconds } else { 0 };
    let changes = *capacity != baseline;
    [
        ("next run notices", if_any(changes, lead.schedule_seconds)),
        ("database", database),
        (
            "tables",
            if_any(capacity.tables != baseline.tables, lead.table_seconds),
        ),
        (
            "provisioned concurrency prepares",
            if_any(raised > 0, lead.preparation_seconds),
        ),
        (
            "provisioned concurrency allocates",
            allocation_seconds(quotas, raised),
        ),
        ("verification", if_any(changes, lead.verification_seconds)),
        ("margin", if_any(changes, lead.margin_seconds)),
    ]
    .into_iter()
    .filter(|(_, seconds)| *seconds > 0)
    .map(|(part, seconds)| LeadPart { part, seconds })
    .collect()
}

/// How long Lambda takes to allocate `units`, in seconds.
#[must_use]
pub fn allocation_seconds(quotas: &Quotas, units: u32) -> u32 {
    units_up(f64::from(units) * 60.0 / f64::from(quotas.provisioned_per_minute.max(1)))
}

/// How long the database takes to reach a size, in seconds.
#[must_use]
pub fn database_seconds(docs: &Documents, observed: &Observed, size: &DatabaseSize) -> u32 {
    let lead = &docs.profile.lead;
    let seconds = |step: &Step| match step {
        Step::SetMinimumAcu { .. } => lead.acu_seconds,
        Step::ChangeClass { .. } => lead.class_seconds,
        Step::FailOver { .. } => lead.failover_seconds,
        _ => 0,
    };
    database_steps(&observed.database, size).iter().map(seconds).sum()
}
