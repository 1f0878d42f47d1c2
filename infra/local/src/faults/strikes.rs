//! Counts how often each fault was injected.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stack_api::Struck;
use stack_api::faults::{Fault, FaultPlan};

/// Counts faults. Planned faults that did not happen are listed with 0.
#[derive(Debug, Default)]
pub(super) struct Strikes(Mutex<BTreeMap<Fault, Struck>>);

impl Strikes {
    pub(super) fn of(plan: &FaultPlan) -> Self {
        Self(Mutex::new(
            plan.iter().map(|fault| (fault, Struck::default())).collect(),
        ))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Fault, Struck>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, fault: Fault, kind: &'static str) {
        self.add_many(fault, kind, 1);
    }

    pub(super) fn add_many(&self, fault: Fault, kind: &'static str, count: u64) {
        let mut all = self.all();
        let struck = all.entry(fault).or_default();
        struck.strikes += count;
        *struck.kinds.entry(kind.to_owned()).or_default() += count;
    }

    pub(super) fn report(&self) -> BTreeMap<&'static str, Struck> {
        self.all()
            .iter()
            .map(|(fault, struck)| (fault.name(), struck.clone()))
            .collect()
    }
}
