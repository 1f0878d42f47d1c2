//! Combines all declared documents in one value, so that they are checked together.

use serde::{Deserialize, Serialize};

use domain::drops::FieldError;
use domain::ids::DropId;

use super::baseline::Baseline;
use super::calendar::CalendarDrop;
use super::mistakes::Mistakes;
use super::prices::Prices;
use super::profile::CapacityProfile;
use super::quotas::{Budget, Quotas};

/// The largest number of drops on one calendar.
pub const MAX_CALENDAR: usize = 64;

/// The documents from which a plan follows: profile, baseline, budget, prices and calendar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// The load that shoppers and units cause.
    pub profile: CapacityProfile,
    /// The capacity of all resources between drops.
    pub baseline: Baseline,
    /// The largest allowed cost.
    pub budget: Budget,
    /// The list prices of AWS.
    pub prices: Prices,
    /// The drops on the calendar.
    pub calendar: Vec<CalendarDrop>,
}

impl Documents {
    /// All mistakes in each document and between the documents. The documents can be used if the list
    /// is empty.
    #[must_use]
    pub fn mistakes(&self, quotas: &Quotas) -> Vec<FieldError> {
        let mut m = Mistakes::default();
        self.profile.check(&mut m);
        self.baseline.check(&mut m);
        self.budget.check(&mut m);
        self.prices.check(&mut m);
        quotas.check(&mut m);
        m.check(
            self.calendar.len() <= MAX_CALENDAR,
            "calendar",
            format!("at most {MAX_CALENDAR} drops"),
        );
        for (n, drop) in self.calendar.iter().enumerate().take(MAX_CALENDAR) {
            let at = format!("calendar[{n}]");
            let twice = self.calendar.iter().take(n).any(|other| other.id == drop.id);
            m.check(!twice, format!("{at}.id"), "each drop once");
            drop.check(&mut m, &at);
        }
        self.check_names(&mut m);
        self.check_baseline_fits(&mut m, quotas);
        m.found()
    }

    /// The calendar's entry for one drop; `None` if the calendar does not contain the drop.
    #[must_use]
    pub fn drop(&self, id: &DropId) -> Option<&CalendarDrop> {
        self.calendar.iter().find(|drop| drop.id == *id)
    }

    fn check_names(&self, m: &mut Mistakes) {
        for (n, group) in self.profile.groups.iter().enumerate() {
            for (k, share) in group.functions.iter().enumerate() {
                let at = format!("profile.group[{n}].functions[{k}].function");
                m.check(
                    self.baseline.function(&share.function).is_some(),
                    at,
                    "names a function of the baseline",
                );
            }
        }
        for (n, table) in self.profile.tables.iter().enumerate() {
            let known = self.baseline.tables.iter().any(|t| t.table == table.table);
            m.check(
                known,
                format!("profile.table[{n}].table"),
                "names a table of the baseline",
            );
        }
        for (n, queue) in self.profile.queues.iter().enumerate() {
            let known = self.baseline.queues.iter().any(|q| q.source == queue.source);
            m.check(
                known,
                format!("profile.queue[{n}].source"),
                "names a queue of the baseline",
            );
        }
    }

    fn check_baseline_fits(&self, m: &mut Mistakes, quotas: &Quotas) {
        let taken = self.baseline.capacity().concurrency_taken();
        let most = quotas.concurrency_for_us();
        m.check(
            taken <= u64::from(most),
            "baseline.function",
            format!("takes {taken} units of concurrency; the account has {most} for it"),
        );
    }
}
