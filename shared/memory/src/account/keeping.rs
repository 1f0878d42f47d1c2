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

impl State {
    fn is_current(&self, lease: &Lease) -> bool {
        let current = self.lease.as_ref();
        current.is_some_and(|current| current.fencing == lease.fencing)
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
            let fencing = match &state.lease {
                Some(theirs) if theirs.holder != holder && theirs.until > now => {
                    return Ok(Err(theirs.clone()));
                }
                Some(mine) if mine.holder == holder => mine.fencing,
                before => before.as_ref().map_or(0, |lease| lease.fencing) + 1,
            };
            let holder = holder.to_owned();
            let lease = Lease {
                holder,
                fencing,
                until,
            };
            state.lease = Some(lease.clone());
            let record = state.record.clone();
            Ok(Ok(Held { lease, record }))
        })
        .await
    }

    async fn lease(&self) -> Result<Option<Lease>, StoreError> {
        self.call("lease", |state, _| Ok(state.lease.clone())).await
    }

    async fn leave(&self, lease: &Lease, record: &Record) -> Result<Conditional<()>, StoreError> {
        self.call("leave", |state, _| {
            if !state.is_current(lease) {
                return Ok(Conditional::Refused(()));
            }
            state.record = Some(record.clone());
            Ok(Conditional::Done)
        })
        .await
    }

    async fn release(&self, lease: &Lease, now: Timestamp) -> Result<Conditional<()>, StoreError> {
        self.call("release", |state, _| {
            if !state.is_current(lease) {
                return Ok(Conditional::Refused(()));
            }
            if let Some(mine) = &mut state.lease {
                mine.until = now;
            }
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
            let newer = |(stored, was): &(u64, Readiness)| (*stored, was.at) > (fencing, readiness.at);
            if state.readiness.get(&readiness.drop).is_some_and(newer) {
                return Ok(Conditional::Refused(()));
            }
            let drop = readiness.drop.clone();
            state.readiness.insert(drop, (fencing, readiness.clone()));
            Ok(Conditional::Done)
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
            let newer = |(kept, was): &(u64, Lesson)| (*kept, was.at) > (fencing, lesson.at);
            if state.lessons.get(&lesson.drop).is_some_and(newer) {
                return Ok(Conditional::Refused(()));
            }
            state
                .lessons
                .insert(lesson.drop.clone(), (fencing, lesson.clone()));
            Ok(Conditional::Done)
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
