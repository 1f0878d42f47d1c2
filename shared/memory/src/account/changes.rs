//! Applies each change to the account, or refuses it.

use capacity::observed::{Allocation, Instance, ObservedDatabase};
use capacity::quotas::ALWAYS_UNRESERVED;
use capacity::steps::Step;
use domain::time::Timestamp;
use ports::prescale::{Carried, ControlError};

use super::{Function, State, UnderWay};

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, ControlError> {
    Err(ControlError::Broken(why.into()))
}

impl State {
    pub(crate) fn carry_out(&mut self, step: &Step, now: Timestamp) -> Result<Carried, ControlError> {
        let carried = self.change(step, now)?;
        if carried != Carried::AlreadySo {
            self.changes.push((now, step.clone()));
        }
        Ok(carried)
    }

    fn change(&mut self, step: &Step, now: Timestamp) -> Result<Carried, ControlError> {
        match step {
            Step::Reserve { function, to, .. } => self.reserve(function, *to),
            Step::Provision { function, to, .. } => self.provision(function, *to, now),
            Step::SetMinimumAcu { to, .. } => {
                let seconds = self.pace.acu_seconds;
                let ObservedDatabase::Serverless { minimum_acu } = &mut self.database else {
                    return refuse("not a Serverless v2 cluster");
                };
                if *minimum_acu == *to {
                    return Ok(Carried::AlreadySo);
                }
                if self.database_change.is_some() {
                    return Err(ControlError::InProgress);
                }
                *minimum_acu = *to;
                self.begin_database(step, now, seconds)
            }
            Step::ChangeClass { instance, to, .. } => {
                if self.instance(instance)?.class == *to {
                    return Ok(Carried::AlreadySo);
                }
                self.begin_database(step, now, self.pace.class_seconds)
            }
            Step::FailOver { to, .. } => {
                if self.instance(to)?.writer {
                    return Ok(Carried::AlreadySo);
                }
                self.begin_database(step, now, self.pace.failover_seconds)
            }
            Step::Warm { table, to, .. } => {
                let Some(there) = self.tables.get(table).copied() else {
                    return refuse("no such table");
                };
                if there == *to {
                    return Ok(Carried::AlreadySo);
                }
                if there.max(*to) != *to {
                    return refuse("warm throughput is never lowered");
                }
                if self.table_changes.contains_key(table) {
                    return Err(ControlError::InProgress);
                }
                let until = now.plus_seconds(self.pace.table_seconds);
                let step = step.clone();
                self.table_changes.insert(table.clone(), UnderWay { step, until });
                Ok(Carried::Started)
            }
            Step::Poll { source, to, .. } => match self.queues.insert(source.clone(), *to) {
                Some(before) if before == *to => Ok(Carried::AlreadySo),
                Some(_) => Ok(Carried::Done),
                None => {
                    self.queues.remove(source);
                    refuse("no such event source")
                }
            },
        }
    }

    fn instance(&self, name: &str) -> Result<&Instance, ControlError> {
        let ObservedDatabase::Provisioned { instances, .. } = &self.database else {
            return refuse("a Serverless v2 cluster has no class");
        };
        let named = instances.iter().find(|instance| instance.name == name);
        named.map_or_else(|| refuse("no such instance"), Ok)
    }

    fn begin_database(&mut self, step: &Step, now: Timestamp, seconds: u32) -> Result<Carried, ControlError> {
        if self.database_change.is_some() {
            return Err(ControlError::InProgress);
        }
        let until = now.plus_seconds(seconds);
        let step = step.clone();
        self.database_change = Some(UnderWay { step, until });
        Ok(Carried::Started)
    }

    /// Whether the account's concurrency suffices when `function` takes `units`.
    fn fits(&self, function: &str, units: u32) -> bool {
        let others = self.functions.iter().filter(|(name, _)| *name != function);
        let taken: u32 = others.map(|(_, f)| f.there.asked.taken()).sum();
        let quotas = &self.quotas;
        taken + units + quotas.reserved_by_others + ALWAYS_UNRESERVED <= quotas.account_concurrency
    }

    fn function(&mut self, name: &str) -> Result<&mut Function, ControlError> {
        let function = self.functions.get_mut(name);
        function.map_or_else(|| refuse("no such function"), Ok)
    }

    fn reserve(&mut self, name: &str, to: Option<u32>) -> Result<Carried, ControlError> {
        let asked = self.function(name)?.there.asked;
        if asked.reserved == to {
            return Ok(Carried::AlreadySo);
        }
        if to.is_some_and(|to| to < asked.provisioned) {
            return refuse("less reserved than provisioned");
        }
        if !self.fits(name, to.unwrap_or(0).max(asked.provisioned)) {
            return refuse("beyond the account's concurrency");
        }
        self.function(name)?.there.asked.reserved = to;
        Ok(Carried::Done)
    }

    fn provision(&mut self, name: &str, to: u32, now: Timestamp) -> Result<Carried, ControlError> {
        let there = self.function(name)?.there;
        if there.asked.provisioned == to && there.allocation != Allocation::Failed {
            return Ok(Carried::AlreadySo);
        }
        if there.asked.reserved.is_some_and(|reserved| to > reserved) {
            return refuse("more provisioned than reserved");
        }
        if !self.fits(name, to.max(there.asked.reserved.unwrap_or(0))) {
            return refuse("beyond the account's concurrency");
        }
        let fails = to > there.allocated && self.fail_allocation > 0;
        let pace = self.pace;
        let function = self.function(name)?;
        function.there.asked.provisioned = to;
        function.fails_at = fails.then(|| there.allocated + (to - there.allocated) / 2);
        if to <= there.allocated {
            function.there.allocated = to;
            function.there.allocation = Allocation::Ready;
            function.allocates_from = None;
            return Ok(Carried::Done);
        }
        function.there.allocation = Allocation::InProgress;
        function.allocates_from = Some(now.plus_seconds(pace.preparation_seconds));
        if fails {
            self.fail_allocation -= 1;
        }
        Ok(Carried::Started)
    }

    pub(crate) fn change_by_others(&mut self, step: &Step) {
        let after = self.seen().observed.after(step);
        for (name, there) in after.functions {
            let function = self.functions.entry(name).or_default();
            function.there = there;
        }
        self.database = after.database;
        if let ObservedDatabase::Serverless { minimum_acu } = &self.database {
            self.reached_acu = *minimum_acu;
        }
        self.tables = after.tables;
        self.queues = after.queues;
    }
}
