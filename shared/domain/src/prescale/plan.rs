//! The plan of one drop, for people: what will be changed when, what it costs, and which limits it meets.

use serde::Serialize;

use crate::ids::DropId;
use crate::time::Timestamp;

use super::cost::{Cost, cost, step_usd};
use super::documents::Documents;
use super::fit::LimitMet;
use super::lead::{Window, window};
use super::numbers::Share;
use super::observed::Observed;
use super::quotas::Quotas;
use super::steps::{Step, steps};
use super::target::{Target, Warning, target};
use super::wanted::wanted;

/// The admission rate that the plan can serve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Admission {
    /// Shoppers a second who are expected at the opening.
    pub expected_shoppers_per_second: f64,
    /// Shoppers a second whom the capacity serves.
    pub served_shoppers_per_second: f64,
    /// The share of the expected requests that is served.
    pub share: Share,
}

/// A step with its moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStep {
    /// What is changed.
    #[serde(flatten)]
    pub step: Step,
    /// From when on, in ms since 1970.
    pub at: Timestamp,
    /// What it adds to each hour, in US dollars by the list; negative on the way back.
    pub usd_per_hour: f64,
    /// What it costs once; none if the list has no price for it.
    pub usd_once: Option<f64>,
    /// Whether it can never be undone.
    pub one_way: bool,
    /// Whether the next step waits for it.
    pub waited_for: bool,
}

/// The plan of one drop.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Which drop.
    pub drop: DropId,
    /// When capacity is held. A window that has begun in the past is a drop that was published too late.
    pub window: Window,
    /// How much later than needed preparing begins, in seconds; 0 if in time.
    pub late_seconds: u32,
    /// The steps before the drop.
    pub up: Vec<PlannedStep>,
    /// The steps after it, when no other drop wants more and two runs agree.
    pub down: Vec<PlannedStep>,
    /// Limits that the whole demand exceeds.
    pub limits: Vec<LimitMet>,
    /// What people should know.
    pub warnings: Vec<Warning>,
    /// Whom the plan serves.
    pub admission: Admission,
    /// What it costs. Beside other drops: what all that is held in its window costs.
    pub cost: Cost,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The calendar does not have it.
    #[error("drop {} is not on the calendar", .0.as_str())]
    Unknown(DropId),
    /// It is cancelled or drained.
    #[error("drop {} is cancelled or over: nothing is held for it", .0.as_str())]
    Off(DropId),
    /// Its time has passed.
    #[error("drop {} should have drained already: nothing is held for it any more", .0.as_str())]
    Past(DropId),
}

/// The plan of the drop `id` as of `now`, from what is there, beside the other drops on the calendar.
///
/// # Errors
/// [`PlanError`] when nothing will be held for it.
pub fn plan(
    docs: &Documents,
    quotas: &Quotas,
    observed: &Observed,
    id: &DropId,
    now: Timestamp,
) -> Result<Plan, PlanError> {
    let drop = docs.drop(id).ok_or_else(|| PlanError::Unknown(id.clone()))?;
    if !drop.is_on() {
        return Err(PlanError::Off(id.clone()));
    }
    let window = window(docs, quotas, drop);
    let begins_at = window.begins_at.max(now);
    let late_ms = now.millis_since(window.begins_at).max(0);
    let wanted = wanted(docs, quotas, begins_at);
    let Some(mine) = wanted.drops.iter().find(|d| d.drop == *id) else {
        return Err(PlanError::Past(id.clone()));
    };
    let (goal, warnings) = target(docs, quotas, &wanted, observed, None, begins_at);
    let up = steps(observed, &goal);
    let there = up.iter().fold(observed.clone(), Observed::after);
    let baseline = docs.baseline.capacity();
    let back = Target {
        functions: baseline.functions,
        database: Some(baseline.database),
        tables: there.tables.clone(),
        queues: baseline.queues,
    };
    let down = steps(&there, &back);
    let planned = |steps: Vec<Step>, at: Timestamp| -> Vec<PlannedStep> {
        let with_moment = |step: Step| {
            let (usd_per_hour, usd_once) = step_usd(docs, &step);
            PlannedStep {
                at,
                usd_per_hour,
                usd_once,
                one_way: step.is_one_way(),
                waited_for: step.is_waited_for(),
                step,
            }
        };
        steps.into_iter().map(with_moment).collect()
    };
    let pace = drop.opening_pace(&docs.profile.groups);
    Ok(Plan {
        drop: id.clone(),
        late_seconds: u32::try_from(late_ms / 1000).unwrap_or(u32::MAX),
        up: planned(up, begins_at),
        down: planned(down, window.released_at),
        limits: mine.limits.clone(),
        warnings,
        admission: Admission {
            expected_shoppers_per_second: pace.shoppers_per_second,
            served_shoppers_per_second: mine.shoppers_per_second,
            share: mine.share,
        },
        cost: cost(docs, drop, &window, &wanted.capacity),
        window,
    })
}
