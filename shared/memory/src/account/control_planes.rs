//! Implements the ports to the control planes.

use std::collections::{BTreeMap, BTreeSet};

use capacity::baseline::Baseline;
use capacity::calendar::CalendarDrop;
use capacity::database::DatabaseBaseline;
use capacity::documents::Documents;
use capacity::measured::Measured as Demanded;
use capacity::observed::ObservedDatabase;
use capacity::profile::CapacityProfile;
use capacity::quotas::Quotas;
use capacity::readiness::Seen;
use capacity::steps::Step;
use domain::time::Timestamp;
use ports::Conditional;
use ports::prescale::{
    CallFunction, Carried, CarryOut, ControlError, Measure, MeasureDemand, Observe, ReadDocuments,
    ReadQuotas, Readable, WriteProfile,
};

use super::changes::refuse;
use super::{MemoryAccount, State};
use crate::conditions::write_if;

impl State {
    fn readable<T>(&self, value: impl FnOnce(&Documents) -> T) -> Readable<T> {
        if self.mistakes.is_empty() {
            Ok(value(&self.documents))
        } else {
            Err(self.mistakes.clone())
        }
    }

    /// The state of the account, restricted to the resources that a baseline names.
    fn seen_of(&self, baseline: &Baseline) -> Result<Seen, ControlError> {
        let mut seen = self.seen();
        let observed = &mut seen.observed;
        let named = |name: &String| baseline.function(name).is_some();
        observed.functions.retain(|name, _| named(name));
        if observed.functions.len() != baseline.functions.len() {
            return refuse("no such function");
        }
        if let (
            DatabaseBaseline::Provisioned { instances: named, .. },
            ObservedDatabase::Provisioned { instances, .. },
        ) = (&baseline.database, &observed.database)
            && !named.iter().all(|name| instances.iter().any(|i| i.name == *name))
        {
            return refuse("no such instance");
        }
        let tables: BTreeSet<&String> = baseline.tables.iter().map(|t| &t.table).collect();
        let sources: BTreeSet<&String> = baseline.queues.iter().map(|q| &q.source).collect();
        restrict(&mut observed.tables, &mut seen.inactive_tables, &tables);
        restrict(&mut observed.queues, &mut seen.inactive_sources, &sources);
        Ok(seen)
    }
}

/// Removes the resources that are not `named`. Named resources that do not exist become inactive.
fn restrict<V>(there: &mut BTreeMap<String, V>, inactive: &mut BTreeSet<String>, named: &BTreeSet<&String>) {
    there.retain(|name, _| named.contains(name));
    inactive.retain(|name| named.contains(name));
    let missing = named.iter().filter(|name| !there.contains_key(**name));
    inactive.extend(missing.map(|name| (*name).clone()));
}

impl ReadDocuments for MemoryAccount {
    async fn documents(&self) -> Result<Readable<Documents>, ControlError> {
        self.call("documents", |state, _| Ok(state.readable(Documents::clone)))
            .await
    }

    async fn calendar(&self) -> Result<Readable<Vec<CalendarDrop>>, ControlError> {
        self.call("calendar", |state, _| {
            Ok(state.readable(|docs| docs.calendar.clone()))
        })
        .await
    }
}

impl ReadQuotas for MemoryAccount {
    async fn quotas(&self, _baseline: &Baseline) -> Result<Readable<Quotas>, ControlError> {
        self.call("quotas", |state, _| Ok(Ok(state.quotas))).await
    }
}

impl Observe for MemoryAccount {
    async fn observe(&self, baseline: &Baseline) -> Result<Seen, ControlError> {
        self.call("observe", |state, _| state.seen_of(baseline)).await
    }
}

impl CarryOut for MemoryAccount {
    async fn carry_out(&self, step: &Step) -> Result<Carried, ControlError> {
        self.call("carry_out", |state, now| state.carry_out(step, now))
            .await
    }
}

impl Measure for MemoryAccount {
    async fn reached_acu(&self, _now: Timestamp) -> Result<Option<f64>, ControlError> {
        self.call("reached_acu", |state, _| {
            let serverless = matches!(state.database, ObservedDatabase::Serverless { .. });
            Ok(serverless.then_some(state.reached_acu))
        })
        .await
    }

    async fn spill_over(
        &self,
        function: &str,
        _since: Timestamp,
        _until: Timestamp,
    ) -> Result<u64, ControlError> {
        self.call("spill_over", |state, _| {
            Ok(state.spill_over.get(function).copied().unwrap_or(0))
        })
        .await
    }
}

impl MeasureDemand for MemoryAccount {
    /// Every drop has the load of [`MemoryAccount::set_demand`].
    async fn demand(
        &self,
        _baseline: &Baseline,
        drop: &CalendarDrop,
    ) -> Result<Option<Demanded>, ControlError> {
        self.call("demand", |state, _| {
            let demand = state.demand.clone();
            Ok(demand.map(|demand| Demanded {
                drop: drop.id.clone(),
                ..demand
            }))
        })
        .await
    }
}

impl WriteProfile for MemoryAccount {
    async fn profile(&self) -> Result<Readable<(CapacityProfile, u64)>, ControlError> {
        self.call("profile", |state, _| {
            Ok(state.readable(|docs| (docs.profile.clone(), state.profile_version)))
        })
        .await
    }

    async fn write_profile(
        &self,
        profile: &CapacityProfile,
        version: u64,
    ) -> Result<Conditional<()>, ControlError> {
        self.call("write_profile", |state, _| {
            Ok(write_if(state.profile_version == version, || {
                state.documents.profile = profile.clone();
                state.profile_version += 1;
            }))
        })
        .await
    }
}

impl CallFunction for MemoryAccount {
    async fn answers(&self, function: &str) -> Result<bool, ControlError> {
        self.call("answers", |state, _| {
            if !state.functions.contains_key(function) {
                return refuse("no such function");
            }
            Ok(!state.silent.contains(function))
        })
        .await
    }
}
