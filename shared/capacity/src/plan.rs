//! Makes the plan of one drop for people: the changes and their times, their cost, and the limits that they meet.

use serde::Serialize;

use domain::ids::DropId;
use domain::time::Timestamp;

use super::amounts::Target;
use super::cost::{Cost, cost, step_usd};
use super::documents::Documents;
use super::fit::LimitMet;
use super::lead::window;
use super::numbers::Share;
use super::observed::Observed;
use super::quotas::Quotas;
use super::steps::{Step, steps};
use super::target::{Warning, target};
use super::wanted::wanted;
use super::window::Window;

/// The admission rate that the planned capacity serves at the opening.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Admission {
    /// The number of shoppers a second that are expected at the opening.
    pub expected_shoppers_per_second: f64,
    /// The number of shoppers a second that the capacity serves.
    pub served_shoppers_per_second: f64,
    /// The share of the expected requests that the capacity serves.
    pub share: Share,
}

/// A step of a plan, with the time at which it begins and the cost that it causes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStep {
    /// The change of the capacity.
    #[serde(flatten)]
    pub step: Step,
    /// The time at which the step begins, in ms since 1970.
    pub at: Timestamp,
    /// The change of the hourly cost by the step, in US dollars by list prices; negative for a reduction.
    pub usd_per_hour: f64,
    /// The one-time cost of the step, in US dollars; `None` if the list has no price for it.
    pub usd_once: Option<f64>,
    /// Whether the step can never be undone.
    pub one_way: bool,
    /// Whether the next step must wait until this step is complete.
    pub waited_for: bool,
}

/// The plan of one drop: the steps before and after it, their cost, and the shoppers that it serves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The drop that is planned.
    pub drop: DropId,
    /// The time in which capacity is held. A window that began in the past means that the drop was published
    /// too late.
    pub window: Window,
    /// The delay of the beginning of the preparation, in seconds; 0 if it begins in time.
    pub late_seconds: u32,
    /// The steps before the drop.
    pub up: Vec<PlannedStep>,
    /// The steps after the drop. They are carried out when no other drop needs more capacity and two
    /// runs agree.
    pub down: Vec<PlannedStep>,
    /// The limits that the drop's whole demand exceeds.
    pub limits: Vec<LimitMet>,
    /// Warnings for operators.
    pub warnings: Vec<Warning>,
    /// The admission rate that the planned capacity serves.
    pub admission: Admission,
    /// The cost of the plan. It includes the capacity that is held for other drops in the same window.
    pub cost: Cost,
}

/// Why a drop has no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The calendar does not contain the drop.
    #[error("drop {} is not on the calendar", .0.as_str())]
    Unknown(DropId),
    /// The drop is cancelled or drained.
    #[error("drop {} is cancelled or over: nothing is held for it", .0.as_str())]
    Off(DropId),
    /// The time in which capacity would be held for the drop has passed.
    #[error("drop {} should have drained already: nothing is held for it any more", .0.as_str())]
    Past(DropId),
}

/// The plan of the drop `id` at `now`, starting from the current capacity, beside the other drops on the calendar.
///
/// # Errors
/// [`PlanError`] when no capacity will be held for the drop.
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
