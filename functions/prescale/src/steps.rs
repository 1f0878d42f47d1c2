//! Carries out each difference once, in order, with an audit record before and after.

use std::collections::BTreeSet;

use capacity::reconcile::{Decision, reconcile};
use capacity::steps::Step;
use capacity::target::Record;
use domain::time::Timestamp;
use ports::prescale::{Audited, Carried, ControlError};
use ports::retry::{IN_WORKER, retry};
use ports::runtime::Runtime;

use crate::outcome::{Skipped, StepResult, Taken};
use crate::{Account, Drops, Prescaler, Read, Run, RunStore};

impl<A: Account, S: RunStore, D: Drops, R: Runtime> Prescaler<A, S, D, R> {
    /// Carries out the decided steps. A failed step on one resource does not stop the others. The next run finds the
    /// remaining differences.
    pub(crate) async fn carry_out_all(
        &self,
        run: &mut Run,
        read: &Read,
        decision: &Decision,
        previous: Option<&Record>,
    ) -> Vec<Taken> {
        let mut stuck: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut all = Vec::new();
        for step in &decision.steps {
            let went = if stuck.contains(&step.thing()) {
                StepResult::Skipped(Skipped::Waits)
            } else if self.runtime.now() >= run.until {
                StepResult::Skipped(Skipped::OutOfTime)
            } else {
                self.one(run, read, decision, previous, step).await
            };
            let complete = matches!(went, StepResult::Carried(Carried::Done | Carried::AlreadySo));
            // The database takes one change at a time, and a reservation must exist before the provisioned concurrency
            // within it.
            if !complete && (step.thing().0 == "database" || !matches!(went, StepResult::Carried(_))) {
                stuck.insert(step.thing());
            }
            all.push(Taken {
                step: step.clone(),
                went,
            });
        }
        all
    }

    async fn one(
        &self,
        run: &mut Run,
        read: &Read,
        decision: &Decision,
        previous: Option<&Record>,
        step: &Step,
    ) -> StepResult {
        let certain = step.needs_certainty(&read.docs.baseline.database);
        if certain && let Err(why) = self.make_certain(run, read, previous, step).await {
            tracing::info!(?step, ?why, "capacity left unchanged");
            return StepResult::Skipped(why);
        }
        run.changes += 1;
        let mut change = Audited {
            fencing: run.lease.fencing,
            number: run.changes,
            at: self.runtime.now(),
            run: run.lease.holder.clone(),
            mode: run.mode.name().to_owned(),
            drops: decision.wanted.drops.iter().map(|d| d.drop.clone()).collect(),
            step: step.clone(),
            outcome: None,
        };
        // Shoppers cannot wait for the record, so increases continue without it. Reductions can wait a minute.
        if !self.audit(&change).await && certain {
            return StepResult::Skipped(Skipped::NoAudit);
        }
        // Repeats stop at this run's end: a later change is for another run to decide.
        let carry_out = || async {
            if self.runtime.now() >= run.until {
                return Err(ControlError::Unknown);
            }
            self.account.carry_out(step).await
        };
        // A reduction is not repeated blindly: the confirmed state may have changed in the meantime.
        let outcome = if certain {
            carry_out().await
        } else {
            retry(&self.runtime, IN_WORKER, carry_out).await
        };
        match &outcome {
            Ok(carried) => tracing::info!(?step, ?carried, number = change.number, "capacity changed"),
            Err(error) => tracing::warn!(?step, %error, number = change.number, "capacity not changed"),
        }
        change.outcome = Some(outcome.clone());
        self.audit(&change).await;
        match outcome {
            Ok(carried) => StepResult::Carried(carried),
            Err(error) => StepResult::Failed(error),
        }
    }

    /// Reads lease and calendar again, and checks that this run still holds the lease and would still decide the same.
    async fn make_certain(
        &self,
        run: &Run,
        read: &Read,
        previous: Option<&Record>,
        step: &Step,
    ) -> Result<(), Skipped> {
        let Some(calendar) = self.calendar().await else {
            return Err(Skipped::Uncertain);
        };
        let mut docs = read.docs.clone();
        docs.calendar = calendar;
        if !docs.mistakes(&read.quotas).is_empty() {
            return Err(Skipped::Uncertain);
        }
        let again = reconcile(
            &docs,
            &read.quotas,
            &read.seen.observed,
            previous,
            self.runtime.now(),
        );
        if !again.steps.contains(step) {
            return Err(Skipped::NotWanted);
        }
        // Read last, since a suspended run would have lost the lease.
        let lease = retry(&self.runtime, IN_WORKER, || self.store.lease()).await;
        let now: Timestamp = self.runtime.now();
        match lease {
            Ok(Some(lease)) if lease == run.lease && now < run.until => Ok(()),
            Ok(_) => Err(Skipped::Superseded),
            Err(_) => Err(Skipped::Uncertain),
        }
    }

    async fn audit(&self, change: &Audited) -> bool {
        let written = retry(&self.runtime, IN_WORKER, || self.store.audit(change)).await;
        if let Err(error) = &written {
            tracing::error!(number = change.number, step = ?change.step, %error, "a change could not be recorded");
        }
        written.is_ok()
    }
}
