//! Computes when the preparation of a drop must begin: at the time of the first arrivals, less the duration
//! of all its parts.

use super::amounts::{Capacity, DatabaseSize};
use super::calendar::CalendarDrop;
use super::documents::Documents;
use super::fit::fit;
use super::numbers::units_up;
use super::observed::Observed;
use super::quotas::Quotas;
use super::steps::{Step, database_steps};
use super::window::{LeadPart, Window};

/// The window of one drop, computed as if no other drop took place and all capacity were at the baseline.
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

/// The parts of the preparation from the baseline to `capacity`. A part in which nothing changes is omitted.
fn parts(docs: &Documents, quotas: &Quotas, capacity: &Capacity) -> Vec<LeadPart> {
    let lead = &docs.profile.lead;
    let baseline = docs.baseline.capacity();
    let raised = (capacity.functions.iter())
        .map(|(name, wanted)| (wanted.provisioned).saturating_sub(baseline.function(name).provisioned))
        .fold(0, u32::saturating_add);
    let database = database_seconds(docs, &Observed::at_baseline(&docs.baseline), &capacity.database);
    let if_any = |any: bool, seconds: u32| if any { seconds } else { 0 };
    let changes = *capacity != baseline;
    let tables = if_any(capacity.tables != baseline.tables, lead.table_seconds);
    let prepares = if_any(raised > 0, lead.preparation_seconds);
    let allocates = allocation_seconds(quotas, raised);
    [
        ("next run notices", if_any(changes, lead.schedule_seconds)),
        ("database", database),
        ("tables", tables),
        ("provisioned concurrency prepares", prepares),
        ("provisioned concurrency allocates", allocates),
        ("verification", if_any(changes, lead.verification_seconds)),
        ("margin", if_any(changes, lead.margin_seconds)),
    ]
    .into_iter()
    .filter(|(_, seconds)| *seconds > 0)
    .map(|(part, seconds)| LeadPart { part, seconds })
    .collect()
}

/// The time that Lambda takes to allocate `units` of provisioned concurrency, in seconds.
#[must_use]
pub fn allocation_seconds(quotas: &Quotas, units: u32) -> u32 {
    units_up(f64::from(units) * 60.0 / f64::from(quotas.provisioned_per_minute.max(1)))
}

/// The time that the database takes from its observed state to `size`, in seconds.
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
