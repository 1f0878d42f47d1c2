//! Computes the capacity that all drops on the calendar need at a given time.

use serde::Serialize;

use domain::ids::DropId;
use domain::time::Timestamp;

use super::amounts::Capacity;
use super::calendar::CalendarDrop;
use super::demand::Demand;
use super::documents::Documents;
use super::fit::{LimitMet, fit};
use super::lead::window;
use super::numbers::Share;
use super::quotas::Quotas;
use super::window::Window;

/// One drop that needs capacity at the given time, and the capacity that it gets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WantedDrop {
    /// The drop that needs the capacity.
    pub drop: DropId,
    /// The time in which capacity is held for the drop.
    pub window: Window,
    /// The share of the drop's demand that the capacity serves. The drop's admission rate must be lowered to
    /// this share.
    pub share: Share,
    /// The number of shoppers a second that the capacity serves at the opening.
    pub shoppers_per_second: f64,
    /// The limits that the drop's whole demand exceeds.
    pub limits: Vec<LimitMet>,
    /// The capacity for this drop and for the drops whose preparation begins before its own.
    #[serde(skip)]
    pub capacity: Capacity,
}

/// The capacity that all drops need together at a given time, and the drops that need it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wanted {
    /// The capacity, never below the baseline.
    pub capacity: Capacity,
    /// The drops that need the capacity, in the order in which their preparation begins.
    pub drops: Vec<WantedDrop>,
}

/// The capacity needed at `now`: the largest over all drops whose window is open, and the sum where surges
/// overlap. It is within limits and budget, and never below the baseline.
///
/// Until a drop's window ends, the capacity only grows: a drop that is fitted later never reduces one that was fitted
/// before.
#[must_use]
pub fn wanted(docs: &Documents, quotas: &Quotas, now: Timestamp) -> Wanted {
    let mut live: Vec<(Window, &CalendarDrop)> = (docs.calendar.iter())
        .filter(|drop| drop.is_on())
        .map(|drop| (window(docs, quotas, drop), drop))
        .filter(|(window, _)| window.holds(now))
        .collect();
    live.sort_by(|(a, x), (b, y)| (a.begins_at, &x.id).cmp(&(b.begins_at, &y.id)));

    let mut capacity = docs.baseline.capacity();
    let mut fitted: Vec<(&CalendarDrop, Demand)> = Vec::new();
    let mut drops = Vec::new();
    for (window, drop) in live {
        let hours = f64::from(window.held_seconds()) / 3600.0;
        let fit = fit(docs, quotas, &fitted, drop, hours);
        let pace = drop.opening_pace(&docs.profile.groups);
        capacity.clone_from(&fit.capacity);
        fitted.push((drop, Demand::at(docs, drop, fit.share)));
        drops.push(WantedDrop {
            drop: drop.id.clone(),
            window,
            share: fit.share,
            shoppers_per_second: pace.shoppers_per_second * fit.share.factor(),
            limits: fit.limits,
            capacity: fit.capacity,
        });
    }
    Wanted { capacity, drops }
}
