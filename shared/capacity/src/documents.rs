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
        m.part("profile", |m| self.profile.check(m));
        m.part("baseline", |m| self.baseline.check(m));
        m.part("budget", |m| self.budget.check(m));
        m.part("prices", |m| self.prices.check(m));
        m.part("quotas", |m| quotas.check(m));
        let rule = format!("at most {MAX_CALENDAR} drops");
        m.check(self.calendar.len() <= MAX_CALENDAR, "calendar", rule);
        for (n, drop) in self.calendar.iter().enumerate().take(MAX_CALENDAR) {
            m.part(format!("calendar[{n}]"), |m| {
                let twice = self.calendar.iter().take(n).any(|other| other.id == drop.id);
                m.check(!twice, "id", "each drop once");
                drop.check(m);
            });
        }
        m.part("profile", |m| self.check_names(m));
        let taken = self.baseline.capacity().concurrency_taken();
        let most = quotas.concurrency_for_us();
        m.check(
            taken <= u64::from(most),
            "baseline.function",
            format!("takes {taken} units of concurrency; the account has {most} for it"),
        );
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
                let known = self.baseline.function(&share.function).is_some();
                let at = format!("group[{n}].functions[{k}].function");
                m.check(known, at, "names a function of the baseline");
            }
        }
        for (n, used) in self.profile.tables.iter().enumerate() {
            let known = self.baseline.tables.iter().any(|t| t.table == used.table);
            let at = format!("table[{n}].table");
            m.check(known, at, "names a table of the baseline");
        }
        for (n, used) in self.profile.queues.iter().enumerate() {
            let known = self.baseline.queues.iter().any(|q| q.source == used.source);
            let at = format!("queue[{n}].source");
            m.check(known, at, "names a queue of the baseline");
        }
    }
}
