//! Implements the ports of the stored state of runs.

use capacity::learn::Lesson;
use capacity::readiness::Readiness;
use capacity::target::Record;
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::drops::Lease;
use ports::prescale::{Audited, Held, KeepLessons, KeepRun, ReadReadiness, StoreReadiness, WriteAudit};
use ports::{Conditional, StoreError};

use super::{MemoryAccount, State};
use crate::conditions::{granted, may_replace, write_if};

impl State {
    /// The stored lease, if no other run has taken it since `lease`.
    fn current(&mut self, lease: &Lease) -> Option<&mut Lease> {
        let current = self.lease.as_mut();
        current.filter(|current| current.fencing == lease.fencing)
    }
}

impl KeepRun for MemoryAccount {
    async fn take(
        &self,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Result<Held, Lease>, StoreError> {
        self.call("take", |state, _| {
            let granted = granted(state.lease.as_ref(), holder, now, until);
            Ok(granted.map(|lease| {
                state.lease = Some(lease.clone());
                let record = state.record.clone();
                Held { lease, record }
            }))
        })
        .await
    }

    async fn lease(&self) -> Result<Option<Lease>, StoreError> {
        self.call("lease", |state, _| Ok(state.lease.clone())).await
    }

    async fn leave(&self, lease: &Lease, record: &Record) -> Result<Conditional<()>, StoreError> {
        self.call("leave", |state, _| {
            Ok(write_if(state.current(lease).is_some(), || {
                state.record = Some(record.clone());
            }))
        })
        .await
    }

    async fn release(&self, lease: &Lease, now: Timestamp) -> Result<Conditional<()>, StoreError> {
        self.call("release", |state, _| {
            let Some(mine) = state.current(lease) else {
                return Ok(Conditional::Refused(()));
            };
            mine.until = now;
            Ok(Conditional::Done)
        })
        .await
    }
}

impl WriteAudit for MemoryAccount {
    async fn audit(&self, change: &Audited) -> Result<(), StoreError> {
        self.call("audit", |state, _| {
            let name = (change.fencing, change.number);
            let known = |audited: &Audited| audited.outcome.is_some();
            if change.outcome.is_some() || !state.audit.get(&name).is_some_and(known) {
                state.audit.insert(name, change.clone());
            }
            Ok(())
        })
        .await
    }
}

impl StoreReadiness for MemoryAccount {
    async fn store_readiness(
        &self,
        fencing: u64,
        readiness: &Readiness,
    ) -> Result<Conditional<()>, StoreError> {
        self.call("store_readiness", |state, _| {
            let drop = &readiness.drop;
            let stored = state.readiness.get(drop).map(|(fencing, was)| (*fencing, was.at));
            Ok(write_if(may_replace(stored, fencing, readiness.at), || {
                let kept = (fencing, readiness.clone());
                state.readiness.insert(drop.clone(), kept);
            }))
        })
        .await
    }
}

impl KeepLessons for MemoryAccount {
    async fn lesson(&self, drop: &DropId) -> Result<Option<Lesson>, StoreError> {
        self.call("lesson", |state, _| {
            Ok(state.lessons.get(drop).map(|(_, lesson)| lesson.clone()))
        })
        .await
    }

    async fn keep_lesson(&self, fencing: u64, lesson: &Lesson) -> Result<Conditional<()>, StoreError> {
        self.call("keep_lesson", |state, _| {
            let drop = &lesson.drop;
            let kept = state.lessons.get(drop).map(|(fencing, was)| (*fencing, was.at));
            Ok(write_if(may_replace(kept, fencing, lesson.at), || {
                state.lessons.insert(drop.clone(), (fencing, lesson.clone()));
            }))
        })
        .await
    }
}

impl ReadReadiness for MemoryAccount {
    async fn readiness(&self, drop: &DropId) -> Result<Option<Readiness>, StoreError> {
        self.call("readiness", |state, _| {
            Ok(state.readiness.get(drop).map(|(_, r)| r.clone()))
        })
        .await
    }
}
