//! Counts how often each fault was injected.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::lock;
use stack_api::Struck;
use stack_api::faults::{Fault, FaultPlan};

/// Counts faults. Planned faults that did not happen are listed with 0.
#[derive(Debug, Default)]
pub(super) struct Strikes(Mutex<BTreeMap<Fault, Struck>>);

impl Strikes {
    pub(super) fn of(plan: &FaultPlan) -> Self {
        let none = plan.iter().map(|fault| (fault, Struck::default()));
        Self(Mutex::new(none.collect()))
    }

    pub(super) fn add(&self, fault: Fault, kind: &'static str, count: u64) {
        let mut all = lock(&self.0);
        let struck = all.entry(fault).or_default();
        struck.strikes += count;
        *struck.kinds.entry(kind.to_owned()).or_default() += count;
    }

    pub(super) fn report(&self) -> BTreeMap<&'static str, Struck> {
        let all = lock(&self.0);
        let all = all.iter().map(|(fault, struck)| (fault.name(), struck.clone()));
        all.collect()
    }
}
