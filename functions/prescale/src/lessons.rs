//! Learns from drops: when a drop is over and its metrics are available, a run changes the capacity profile once, by
//! the drop's measured load.
//!
//! A run stores the measurements before it changes the profile, and the profile names the drop that changed it last.
//! So if a run dies between any two calls, the next run can see whether the change was made.

use capacity::calendar::CalendarDrop;
use capacity::learn::{Lesson, Pace, due, gaps, largest, update};
use capacity::measured::Measured;
use capacity::profile::CapacityProfile;
use capacity::reconcile::{Decision, reconcile};
use ports::Conditional;
use ports::prescale::ControlError;
use ports::retry::{IN_WORKER, retry};
use ports::runtime::Runtime;

use crate::{Account, Drops, Prescaler, Read, Run, RunStore};

impl<A: Account, S: RunStore, D: Drops, R: Runtime> Prescaler<A, S, D, R> {
    /// Learns from the oldest finished drop whose load has not changed the profile yet, and returns its lesson. `None`:
    /// no drop is to be learned from now, or an error was logged. An error must not fail the run, since capacity has
    /// priority.
    ///
    /// While a drop's time runs, the profile is not changed, since a smaller profile would reduce the drop's capacity.
    pub(crate) async fn learn(&self, run: &Run, read: &Read, decision: &Decision) -> Option<Lesson> {
        if !read.docs.profile.learns || !decision.wanted.drops.is_empty() {
            return None;
        }
        for drop in due(&read.docs.calendar, self.runtime.now()) {
            if self.runtime.now() >= run.until {
                return None;
            }
            let kept = retry(&self.runtime, IN_WORKER, || self.store.lesson(&drop.id)).await;
            let kept = match kept {
                Ok(kept) => kept,
                Err(error) => {
                    tracing::warn!(drop = drop.id.as_str(), %error, "the drop's lesson cannot be read; the next run tries again");
                    return None;
                }
            };
            if kept.as_ref().is_some_and(|lesson| lesson.written) {
                continue;
            }
            let lesson = match self.one_lesson(run, read, drop, kept).await {
                Ok(lesson) => lesson,
                Err(why) => {
                    tracing::warn!(
                        drop = drop.id.as_str(),
                        why,
                        "learning from the drop is not complete; the next run tries again"
                    );
                    return None;
                }
            };
            // A drop without usable metrics must not keep the run from learning from the next drop.
            if lesson.is_some() {
                return lesson;
            }
        }
        None
    }

    async fn one_lesson(
        &self,
        run: &Run,
        read: &Read,
        drop: &CalendarDrop,
        kept: Option<Lesson>,
    ) -> Result<Option<Lesson>, String> {
        let profile = self.account.profile().await;
        let (profile, version) = profile
            .map_err(|error| error.to_string())?
            .map_err(|_| "the profile cannot be read".to_owned())?;
        if !profile.learns {
            return Ok(None);
        }
        if let Some(lesson) = kept.clone()
            && profile.learned_from.as_ref() == Some(&drop.id)
        {
            return self.conclude_lesson(run, lesson).await.map(Some);
        }
        let measured = match kept {
            Some(lesson) => Some(lesson.measured),
            None => self.demand_of(read, drop).await?,
        };
        let Some(measured) = measured else {
            tracing::info!(
                drop = drop.id.as_str(),
                "CloudWatch has no metric of the drop, so the profile stays unchanged"
            );
            return Ok(None);
        };
        let updated = update(&profile, &measured, Pace::default());
        if updated.changes.is_empty() {
            tracing::info!(
                drop = drop.id.as_str(),
                "the drop's metrics measure no number of the profile, so the profile stays unchanged"
            );
            return Ok(None);
        }
        let gaps = gaps(&profile, drop, &measured);
        let lesson = Lesson {
            drop: drop.id.clone(),
            at: self.runtime.now(),
            run: run.lease.holder.clone(),
            largest: largest(&gaps),
            measured,
            gaps,
            changes: updated.changes,
            written: false,
        };
        self.keep(run, &lesson).await?;
        self.write(run, read, &updated.profile, version).await?;
        self.conclude_lesson(run, lesson).await.map(Some)
    }

    async fn demand_of(&self, read: &Read, drop: &CalendarDrop) -> Result<Option<Measured>, String> {
        let measured = self.account.demand(&read.docs.baseline, drop).await;
        let measured = measured.map_err(|error| error.to_string())?;
        let Some(measured) = measured else { return Ok(None) };
        match measured.mistakes().as_slice() {
            [] => Ok(Some(measured)),
            [first, ..] => Err(format!("what was measured: {}: {}", first.field, first.message)),
        }
    }

    /// Changes the profile, if this run still holds the lease and no drop's time has begun.
    async fn write(
        &self,
        run: &Run,
        read: &Read,
        profile: &CapacityProfile,
        version: u64,
    ) -> Result<(), String> {
        let Some(calendar) = self.calendar().await else {
            return Err("the calendar cannot be read again".to_owned());
        };
        let mut docs = read.docs.clone();
        docs.calendar = calendar;
        // Both profiles are checked, since with a larger profile a drop's preparation begins earlier.
        for profile in [&read.docs.profile, profile] {
            docs.profile = profile.clone();
            if !docs.mistakes(&read.quotas).is_empty() {
                return Err("the changed profile does not go with the other documents".to_owned());
            }
            let seen = &read.seen.observed;
            let again = reconcile(&docs, &read.quotas, seen, None, self.runtime.now());
            if !again.wanted.drops.is_empty() {
                return Err("a drop's time has begun".to_owned());
            }
        }
        let lease = retry(&self.runtime, IN_WORKER, || self.store.lease()).await;
        if !matches!(lease, Ok(Some(lease)) if lease == run.lease) || self.runtime.now() >= run.until {
            return Err("another run has taken over, or time is up".to_owned());
        }
        // The write is not repeated. If only its answer is lost, the next run finds the drop's id in the profile.
        match self.account.write_profile(profile, version).await {
            Ok(Conditional::Done) => Ok(()),
            Ok(Conditional::Refused(())) => Err("someone has changed the profile".to_owned()),
            Err(ControlError::Unknown) => Err("whether the profile was changed is unknown".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Marks the lesson as written, stores it and logs it. The profile must have been changed before.
    async fn conclude_lesson(&self, run: &Run, mut lesson: Lesson) -> Result<Lesson, String> {
        lesson.written = true;
        lesson.at = self.runtime.now();
        self.keep(run, &lesson).await?;
        for gap in &lesson.gaps {
            tracing::info!(
                drop = lesson.drop.as_str(),
                what = gap.what,
                planned = gap.planned,
                actual = gap.actual,
                "a figure of the drop was measured; `planned` is its value in the plan"
            );
        }
        tracing::info!(
            drop = lesson.drop.as_str(),
            largest = lesson.largest,
            changes = lesson.changes.len(),
            held_back = lesson.changes.iter().filter(|change| change.held_back).count(),
            "the profile was changed by the drop's measurements"
        );
        Ok(lesson)
    }

    async fn keep(&self, run: &Run, lesson: &Lesson) -> Result<(), String> {
        let keep = || self.store.keep_lesson(run.lease.fencing, lesson);
        match retry(&self.runtime, IN_WORKER, keep).await {
            Ok(Conditional::Done) => Ok(()),
            Ok(Conditional::Refused(())) => Err("another run has taken over".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}
