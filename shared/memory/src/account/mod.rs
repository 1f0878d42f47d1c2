//! Simulates an account in memory, with control planes whose changes take time and can be made to fail.
//!
//! The account has the rules that pre-scaling depends on: provisioned concurrency is prepared, then allocated at a rate
//! counted over all functions; a function's reservation includes its provisioned concurrency; the account's concurrency
//! is limited; the database accepts one change at a time and reaches a size some time after it is set; warm throughput
//! is never lowered. Every change is stored with its time, so that a test can check the whole history.

mod changes;
mod control_planes;
mod keeping;

use std::collections::{BTreeMap, BTreeSet};

use capacity::amounts::{Polling, WarmThroughput};
use capacity::documents::Documents;
use capacity::learn::Lesson;
use capacity::measured::Measured;
use capacity::observed::{Allocation, Observed, ObservedDatabase, ObservedFunction};
use capacity::profile::CapacityProfile;
use capacity::quotas::Quotas;
use capacity::readiness::{Readiness, Seen};
use capacity::steps::Step;
use capacity::target::Record;
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::StoreError;
use ports::drops::Lease;
use ports::prescale::{Audited, ControlError};
use ports::runtime::Clock as _;

use crate::TestRuntime;
use crate::shared::Shared;
use crate::yielding::yield_now;

/// How a call of a port fails. A fault is planned for a call by the call's number among all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountFault {
    /// The call is throttled and not done.
    Busy,
    /// The call is not done, since another change is in progress. Stores have no such state and answer *busy*.
    InProgress,
    /// The call is not done, and its outcome is unknown to the caller.
    UnknownBefore,
    /// The call is done, and its outcome is unknown to the caller.
    UnknownAfter,
    /// The call is not done, and a repeat fails again.
    Broken,
    /// The caller's process dies before the effect.
    DiesBefore,
    /// The caller's process dies after the effect.
    DiesAfter,
    /// The call waits until [`MemoryAccount::resume`], and is done then.
    Hangs,
}

impl AccountFault {
    /// The faults that return an error to the caller.
    pub const ANSWERED: [Self; 5] = [
        Self::Busy,
        Self::InProgress,
        Self::UnknownBefore,
        Self::UnknownAfter,
        Self::Broken,
    ];
}

impl From<AccountFault> for ControlError {
    fn from(fault: AccountFault) -> Self {
        match fault {
            AccountFault::Busy => Self::Busy,
            AccountFault::InProgress => Self::InProgress,
            AccountFault::Broken => Self::Broken("a fault on purpose".to_owned()),
            _ => Self::Unknown,
        }
    }
}

impl From<AccountFault> for StoreError {
    fn from(fault: AccountFault) -> Self {
        match fault {
            AccountFault::Busy | AccountFault::InProgress => Self::Busy,
            AccountFault::Broken => Self::Broken("a fault on purpose".to_owned()),
            _ => Self::Unknown,
        }
    }
}

/// The durations of the account's changes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time before the first unit of a request is allocated, in seconds.
    pub preparation_seconds: u32,
    /// The number of units allocated in a second, over all functions.
    pub units_per_second: u32,
    /// The time from a new minimum ACU until the cluster runs with it, in seconds.
    pub acu_seconds: u32,
    /// The time to change an instance's class, in seconds.
    pub class_seconds: u32,
    /// The time to fail over, in seconds.
    pub failover_seconds: u32,
    /// The time to warm a table, in seconds.
    pub table_seconds: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            preparation_seconds: 75,
            units_per_second: 100,
            acu_seconds: 45,
            class_seconds: 200,
            failover_seconds: 90,
            table_seconds: 150,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Function {
    pub(crate) there: ObservedFunction,
    /// The time from which units of the newest request are allocated.
    pub(crate) allocates_from: Option<Timestamp>,
    /// The number of units at which an allocation fails, if it is to fail.
    pub(crate) fails_at: Option<u32>,
}

/// A change of the database or a table that is not complete yet.
#[derive(Debug, Clone)]
pub(crate) struct UnderWay {
    pub(crate) step: Step,
    pub(crate) until: Timestamp,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) documents: Documents,
    pub(crate) mistakes: Vec<domain::drops::FieldError>,
    pub(crate) quotas: Quotas,
    pub(crate) pace: Pace,
    pub(crate) functions: BTreeMap<String, Function>,
    pub(crate) database: ObservedDatabase,
    pub(crate) reached_acu: f64,
    pub(crate) database_change: Option<UnderWay>,
    pub(crate) tables: BTreeMap<String, WarmThroughput>,
    pub(crate) table_changes: BTreeMap<String, UnderWay>,
    pub(crate) queues: BTreeMap<String, Polling>,
    pub(crate) inactive_sources: BTreeSet<String>,
    pub(crate) draining: bool,
    pub(crate) silent: BTreeSet<String>,
    pub(crate) spill_over: BTreeMap<String, u64>,
    pub(crate) fail_allocation: u32,
    pub(crate) settled_at: Timestamp,
    pub(crate) changes: Vec<(Timestamp, Step)>,
    pub(crate) lease: Option<Lease>,
    pub(crate) record: Option<Record>,
    pub(crate) audit: BTreeMap<(u64, u32), Audited>,
    pub(crate) readiness: BTreeMap<DropId, (u64, Readiness)>,
    pub(crate) demand: Option<Measured>,
    pub(crate) profile_version: u64,
    pub(crate) lessons: BTreeMap<DropId, (u64, Lesson)>,
    calls: u64,
    faults: BTreeMap<u64, AccountFault>,
    injected: Vec<(u64, &'static str)>,
    dead: bool,
    hanging: bool,
}

/// Every port of pre-scaling, in memory. Clones share the state. The time is `TestRuntime`'s.
#[derive(Debug, Clone)]
pub struct MemoryAccount {
    pub(crate) state: Shared<State>,
    pub(crate) runtime: TestRuntime,
}

impl MemoryAccount {
    /// An account at the declared baseline.
    #[must_use]
    pub fn at_baseline(documents: Documents, quotas: Quotas, runtime: TestRuntime) -> Self {
        let there = Observed::at_baseline(&documents.baseline);
        let function = |there: ObservedFunction| Function {
            there,
            ..Function::default()
        };
        let reached_acu = match &there.database {
            ObservedDatabase::Serverless { minimum_acu } => *minimum_acu,
            ObservedDatabase::Provisioned { .. } => 0.0,
        };
        let state = State {
            documents,
            mistakes: Vec::new(),
            quotas,
            pace: Pace::default(),
            functions: (there.functions.into_iter())
                .map(|(name, there)| (name, function(there)))
                .collect(),
            database: there.database,
            reached_acu,
            database_change: None,
            tables: there.tables,
            table_changes: BTreeMap::new(),
            queues: there.queues,
            inactive_sources: BTreeSet::new(),
            draining: false,
            silent: BTreeSet::new(),
            spill_over: BTreeMap::new(),
            fail_allocation: 0,
            settled_at: runtime.now(),
            changes: Vec::new(),
            lease: None,
            record: None,
            audit: BTreeMap::new(),
            readiness: BTreeMap::new(),
            demand: None,
            profile_version: 1,
            lessons: BTreeMap::new(),
            calls: 0,
            faults: BTreeMap::new(),
            injected: Vec::new(),
            dead: false,
            hanging: false,
        };
        Self {
            state: Shared::new(state),
            runtime,
        }
    }

    /// Changes the declared documents, as their owners may do at any time.
    pub fn declare(&self, change: impl FnOnce(&mut Documents)) {
        let mut state = self.state.lock();
        change(&mut state.documents);
        state.profile_version += 1;
    }

    /// Makes the documents unreadable with these `mistakes`; an empty list makes the documents readable again.
    pub fn set_mistakes(&self, mistakes: Vec<domain::drops::FieldError>) {
        self.state.lock().mistakes = mistakes;
    }

    /// Sets the durations of changes from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.state.lock().pace = pace;
    }

    /// Sets whether orders are still in progress to the ledger.
    pub fn set_draining(&self, draining: bool) {
        self.state.lock().draining = draining;
    }

    /// Sets whether a function does not answer.
    pub fn set_silent(&self, function: &str, silent: bool) {
        let mut state = self.state.lock();
        if silent {
            state.silent.insert(function.to_owned());
        } else {
            state.silent.remove(function);
        }
    }

    /// Sets the number of invocations a minute beyond a function's provisioned concurrency.
    pub fn set_spill_over(&self, function: &str, invocations: u64) {
        self.state
            .lock()
            .spill_over
            .insert(function.to_owned(), invocations);
    }

    /// Makes the next `times` raised allocations fail half-way.
    pub fn fail_allocations(&self, times: u32) {
        self.state.lock().fail_allocation = times;
    }

    /// Changes the account outside of pre-scaling, immediately and permanently.
    pub fn change_by_others(&self, step: &Step) {
        let now = self.runtime.now();
        let mut state = self.state.lock();
        state.settle(now);
        state.change_by_others(step);
    }

    /// Makes the `nth` call of any port from now on fail; 1 is the next.
    pub fn fail_nth(&self, nth: u64, fault: AccountFault) {
        let mut state = self.state.lock();
        let at = state.calls + nth.max(1);
        state.faults.insert(at, fault);
    }

    /// Removes the planned faults. New processes may make calls again.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.dead = false;
        state.hanging = false;
    }

    /// Continues the call that waits because of [`AccountFault::Hangs`].
    pub fn resume(&self) {
        self.state.lock().hanging = false;
    }

    /// Whether the calling process has died, so that the test must drop the future of its call.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// Whether a call waits for [`MemoryAccount::resume`].
    #[must_use]
    pub fn is_hanging(&self) -> bool {
        self.state.lock().hanging
    }

    /// The number of calls of all ports.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The calls with an injected fault: the number of each call among all calls, and its method.
    #[must_use]
    pub fn injected(&self) -> Vec<(u64, &'static str)> {
        self.state.lock().injected.clone()
    }

    /// The current state of the account, read without a call of a port.
    #[must_use]
    pub fn look(&self) -> Seen {
        let now = self.runtime.now();
        let mut state = self.state.lock();
        state.settle(now);
        state.seen()
    }

    /// Every change that was carried out, with its time.
    #[must_use]
    pub fn changes(&self) -> Vec<(Timestamp, Step)> {
        self.state.lock().changes.clone()
    }

    /// The audit record of changes.
    #[must_use]
    pub fn audited(&self) -> Vec<Audited> {
        self.state.lock().audit.values().cloned().collect()
    }

    /// Sets the load of the next drops; with `None` the metrics have no figures.
    pub fn set_demand(&self, demand: Option<Measured>) {
        self.state.lock().demand = demand;
    }

    /// The currently declared profile.
    #[must_use]
    pub fn declared_profile(&self) -> CapacityProfile {
        self.state.lock().documents.profile.clone()
    }

    /// The last stored lesson of a drop.
    #[must_use]
    pub fn lesson_of(&self, drop: &DropId) -> Option<Lesson> {
        self.state
            .lock()
            .lessons
            .get(drop)
            .map(|(_, lesson)| lesson.clone())
    }

    /// The last stored readiness of a drop.
    #[must_use]
    pub fn readiness_of(&self, drop: &DropId) -> Option<Readiness> {
        self.state.lock().readiness.get(drop).map(|(_, r)| r.clone())
    }

    /// One call of a port: other tasks run first; then the fault or the effect happens in one step.
    pub(crate) async fn call<T, X: From<AccountFault>>(
        &self,
        method: &'static str,
        act: impl FnOnce(&mut State, Timestamp) -> Result<T, X>,
    ) -> Result<T, X> {
        yield_now().await;
        let fault = {
            let mut state = self.state.lock();
            state.calls += 1;
            let number = state.calls;
            let fault = state.faults.remove(&number);
            if fault.is_some() {
                state.injected.push((number, method));
            }
            fault
        };
        if fault == Some(AccountFault::Hangs) {
            self.state.lock().hanging = true;
            while self.is_hanging() {
                yield_now().await;
            }
        }
        let act = |state: &mut State| {
            let now = self.runtime.now();
            state.settle(now);
            act(state, now)
        };
        match fault {
            None | Some(AccountFault::Hangs) => act(&mut self.state.lock()),
            Some(AccountFault::DiesBefore) => self.die().await,
            Some(AccountFault::DiesAfter) => {
                act(&mut self.state.lock()).ok();
                self.die().await
            }
            Some(fault) => {
                if fault == AccountFault::UnknownAfter {
                    act(&mut self.state.lock()).ok();
                }
                Err(X::from(fault))
            }
        }
    }

    /// Marks the caller's process as dead, and never returns.
    async fn die<T>(&self) -> T {
        self.state.lock().dead = true;
        std::future::pending().await
    }
}

impl State {
    /// The state of the account, as one read shows it.
    pub(crate) fn seen(&self) -> Seen {
        let available = match &self.database_change {
            Some(change) => matches!(change.step, Step::SetMinimumAcu { .. }),
            None => true,
        };
        let database = match &self.database {
            ObservedDatabase::Provisioned { instances, .. } => ObservedDatabase::Provisioned {
                instances: instances.clone(),
                available,
            },
            serverless @ ObservedDatabase::Serverless { .. } => serverless.clone(),
        };
        Seen {
            observed: Observed {
                functions: self.functions.iter().map(|(n, f)| (n.clone(), f.there)).collect(),
                database,
                tables: self.tables.clone(),
                queues: self.queues.clone(),
                orders_draining: self.draining,
            },
            database_available: available,
            inactive_tables: self.table_changes.keys().cloned().collect(),
            inactive_sources: self.inactive_sources.clone(),
        }
    }

    /// Completes the changes that are due at `now`.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        while self.settled_at < now {
            let second = self.settled_at.plus_seconds(1);
            self.settled_at = second.min(now);
            if second <= now {
                self.allocate(second);
            }
        }
        if let Some(change) = self.database_change.take_if(|change| change.until <= now) {
            self.complete_database(&change.step);
        }
        let done: Vec<Step> = (self.table_changes.values())
            .filter(|change| change.until <= now)
            .map(|change| change.step.clone())
            .collect();
        self.table_changes.retain(|_, change| change.until > now);
        for step in done {
            if let Step::Warm { table, to, .. } = step {
                self.tables.insert(table, to);
            }
        }
    }

    fn allocate(&mut self, second: Timestamp) {
        let mut left = self.pace.units_per_second;
        for function in self.functions.values_mut() {
            if function.there.allocation != Allocation::InProgress
                || function.allocates_from.is_none_or(|from| from >= second)
            {
                continue;
            }
            let end = function.fails_at.unwrap_or(function.there.asked.provisioned);
            let more = end.saturating_sub(function.there.allocated).min(left);
            function.there.allocated += more;
            left -= more;
            if function.there.allocated >= end {
                function.there.allocation = match function.fails_at.take() {
                    Some(_) => Allocation::Failed,
                    None => Allocation::Ready,
                };
                function.allocates_from = None;
            }
        }
    }

    fn complete_database(&mut self, step: &Step) {
        match (&mut self.database, step) {
            (_, Step::SetMinimumAcu { to, .. }) => self.reached_acu = *to,
            (ObservedDatabase::Provisioned { instances, .. }, Step::ChangeClass { instance, to, .. }) => {
                for changed in instances.iter_mut().filter(|i| i.name == *instance) {
                    changed.class.clone_from(to);
                }
            }
            (ObservedDatabase::Provisioned { instances, .. }, Step::FailOver { to, .. }) => {
                for instance in instances {
                    instance.writer = instance.name == *to;
                }
            }
            _ => {}
        }
    }
}
