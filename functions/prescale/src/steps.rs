//! Carries out the decided steps in order. Each step has an audit record, which is written before and after the step.

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
            // Later steps on the same resource must wait: the database takes one change at a time, and a function's
            // reserved concurrency must be raised before the provisioned concurrency within it.
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
            tracing::info!(
                ?step,
                ?why,
                "a step that reduces capacity or interrupts the database was skipped"
            );
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
        // Shoppers cannot wait for the record, so an increase continues without it. A reduction waits for the next run.
        if !self.audit(&change).await && certain {
            return StepResult::Skipped(Skipped::NoAudit);
        }
        // No repeat begins after this run's end, since only the next run may decide on later changes.
        let carry_out = || async {
            if self.runtime.now() >= run.until {
                return Err(ControlError::Unknown);
            }
            self.account.carry_out(step).await
        };
        // A reduction is tried only once, since lease or calendar may change before a repeat.
        let outcome = if certain {
            carry_out().await
        } else {
            retry(&self.runtime, IN_WORKER, carry_out).await
        };
        match &outcome {
            Ok(carried) => tracing::info!(?step, %carried, number = change.number, "capacity step accepted"),
            Err(error) => {
                tracing::warn!(?step, %error, number = change.number, "the capacity step failed, or its outcome is unknown; the next run reads the capacity and decides again")
            }
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
        let seen = &read.seen.observed;
        let again = reconcile(&docs, &read.quotas, seen, previous, self.runtime.now());
        if !again.steps.contains(step) {
            return Err(Skipped::NotWanted);
        }
        // The lease is read last: a run that was suspended during the reads above has lost the lease.
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
            tracing::error!(number = change.number, step = ?change.step, %error, "the audit record of a capacity step could not be written, so the step or its outcome is missing in the audit");
        }
        written.is_ok()
    }
}
