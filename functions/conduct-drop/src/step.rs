//! Makes one step for one drop: lease, survey, returns, cancellation, publication, and the check whether the drop is
//! over.

use std::collections::BTreeSet;

use domain::drops::{Drop, DropState};
use domain::ids::{DropId, OrderId};
use domain::limits::LATE_MS;
use domain::time::Timestamp;
use ports::StoreError;
use ports::drops::{HoldLease, ListDrops, ReadDrop, ReadStatus, StoreDrop, WriteStatus};
use ports::orders::{AdvanceOrder, ReadOrder};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use ports::stock::{AllocateStock, Consistency, CountLapse, GiveBackStock, SurveyStock};

use crate::calendar::{Calendar, is_final};
use crate::cancellation::{CancelRequests, end_orders};
use crate::lease;
use crate::publication::{Publication, Published};
use crate::returns::{Returned, SeenKey, count_lapses, give_back};
use crate::survey::{Survey, is_gone};

/// The ports through which the conductor lists, reads and stores drops.
pub trait Drops: ReadDrop + ListDrops + StoreDrop + 'static {}
impl<T: ReadDrop + ListDrops + StoreDrop + 'static> Drops for T {}

/// The ports through which the conductor reads, creates and changes shards.
pub trait Stock: SurveyStock + GiveBackStock + CountLapse + AllocateStock + 'static {}
impl<T: SurveyStock + GiveBackStock + CountLapse + AllocateStock + 'static> Stock for T {}

/// The ports through which the conductor reads orders and requests their end.
pub trait Orders: ReadOrder + AdvanceOrder + 'static {}
impl<T: ReadOrder + AdvanceOrder + 'static> Orders for T {}

/// The ports through which the conductor reads and writes statuses, and takes leases.
pub trait Statuses: ReadStatus + WriteStatus + HoldLease + 'static {}
impl<T: ReadStatus + WriteStatus + HoldLease + 'static> Statuses for T {}

/// The ports with which a step is made: drops, shards, orders, statuses, and the clock.
pub struct Ports<D, S, O, T, R> {
    pub(crate) drops: D,
    pub(crate) stock: S,
    pub(crate) orders: O,
    pub(crate) statuses: T,
    /// The clock, and the source of random numbers.
    pub(crate) runtime: R,
}

/// The state that a run keeps of a drop between its steps. A run without this state only writes more often than needed.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    fencing: Option<u64>,
    publication: Publication,
    clean_since: Option<Timestamp>,
    asked: BTreeSet<OrderId>,
    lapsed: BTreeSet<SeenKey>,
}

impl Memory {
    /// Whether the run held the lease after its last step.
    #[must_use]
    pub const fn holds_lease(&self) -> bool {
        self.fencing.is_some()
    }
}

/// The results of one step: the numbers of shards, holds and orders that it read or changed, and whether it wrote the
/// status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    pub shards: usize,
    /// Created shards, which an interrupted restock had not created.
    pub healed: usize,
    /// Expired unused holds that were counted.
    pub lapsed: usize,
    /// The returned holds, and those that could not be returned.
    pub returned: Returned,
    /// The orders of a cancelled drop whose end was requested, and those whose request failed.
    pub asked: CancelRequests,
    pub written: bool,
}

/// Whether this run conducts the drop, and what its step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// Another run conducts the drop.
    Standby,
    /// The step is done, and the drop may still change.
    Conducted(Report),
    /// The step is done, and the drop cannot change any more.
    Over(Report),
}

/// A step failed. Completed writes stay, and the next step begins anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not {doing}: {error}")]
pub struct StepError {
    /// The action that failed.
    pub doing: &'static str,
    pub error: StoreError,
}

fn at(doing: &'static str) -> impl Fn(StoreError) -> StepError {
    move |error| StepError { doing, error }
}

impl<D: Drops, S: Stock, O: Orders, T: Statuses, R: Runtime> Ports<D, S, O, T, R> {
    /// Makes one step for the drop `id` as `holder`.
    ///
    /// # Errors
    /// [`StepError`].
    pub async fn step(
        &self,
        calendar: &Calendar,
        id: &DropId,
        holder: &str,
        memory: &mut Memory,
    ) -> Result<StepOutcome, StepError> {
        let held = lease::hold(&self.statuses, &self.runtime, id, holder).await;
        let Some(lease) = held.map_err(at("take the lease"))? else {
            *memory = Memory::default();
            return Ok(StepOutcome::Standby);
        };
        if memory.fencing != Some(lease.fencing) {
            *memory = Memory {
                fencing: Some(lease.fencing),
                ..Memory::default()
            };
        }
        let found = retry(&self.runtime, IN_REQUEST, || self.drops.drop(id)).await;
        let mut report = Report::default();
        let Some(drop) = found.map_err(at("read the drop"))? else {
            return Ok(StepOutcome::Over(report));
        };
        match drop.state {
            DropState::Scheduled | DropState::Cancelling => {}
            DropState::Draft | DropState::Publishing | DropState::Cancelled => {
                calendar.note_over(&drop);
                return Ok(StepOutcome::Over(report));
            }
        }
        let mut survey = self.survey(&drop, memory).await.map_err(at("read the shards"))?;
        report.shards = survey.found();
        if drop.state == DropState::Scheduled && !survey.is_complete() {
            let healed = survey.repair(&self.stock, &self.runtime).await;
            report.healed = healed.map_err(at("make the missing shards"))?;
        }
        // Not for a cancelled drop, whose holds are returned although they have not expired.
        if drop.state == DropState::Scheduled {
            report.lapsed = count_lapses(&self.stock, &self.runtime, &survey, &mut memory.lapsed).await;
        }
        let returned = give_back(&self.stock, &self.runtime, &drop, &mut survey).await;
        report.returned = returned.map_err(at("look for holds to return"))?;
        if drop.state == DropState::Cancelling {
            let ordered = survey.ordered();
            report.asked = end_orders(&self.orders, &self.runtime, &ordered, &mut memory.asked).await;
        }
        let last_word = survey.as_of >= drop.ends_at.plus_millis(LATE_MS) && survey.is_drained();
        let (statuses, runtime, fencing) = (&self.statuses, &self.runtime, lease.fencing);
        let publication = &mut memory.publication;
        let published = publication
            .publish(statuses, runtime, &drop, &survey, fencing, last_word)
            .await;
        match published.map_err(at("write the status"))? {
            Published::Written => report.written = true,
            Published::Unchanged => {}
            Published::Fenced => {
                *memory = Memory::default();
                return Ok(StepOutcome::Standby);
            }
        }
        let over = self.is_over(&drop, &survey, memory).await;
        if over.map_err(at("finish the cancellation"))? {
            calendar.note_over(&drop);
            return Ok(StepOutcome::Over(report));
        }
        Ok(StepOutcome::Conducted(report))
    }

    /// Reads the shards eventually consistently. Reads them again consistently before a statement that must not be
    /// wrong: that a SKU is gone, or that an ended drop has no units left.
    async fn survey(&self, drop: &Drop, memory: &Memory) -> Result<Survey, StoreError> {
        let survey = Survey::take(&self.stock, &self.runtime, drop, Consistency::Eventual).await?;
        let cancelled = drop.state == DropState::Cancelling;
        let ended = cancelled || survey.as_of >= drop.ends_at.plus_millis(LATE_MS);
        let last_word = ended && survey.drains(cancelled, survey.as_of);
        if last_word || self.says_gone(drop, &survey, memory) {
            return Survey::take(&self.stock, &self.runtime, drop, Consistency::Strong).await;
        }
        Ok(survey)
    }

    /// Whether the survey reports a SKU as gone that the last written status does not.
    fn says_gone(&self, drop: &Drop, survey: &Survey, memory: &Memory) -> bool {
        let said = memory.publication.status();
        drop.skus.iter().zip(survey.counts(drop)).any(|(sku, counts)| {
            let said = said.and_then(|status| status.of(&sku.sku));
            is_gone(&counts, sku) && !said.is_some_and(|counts| is_gone(counts, sku))
        })
    }

    /// Whether the drop cannot change any more. A cancelled drop is over once it has had no claims for as long as a
    /// request from before the cancellation may still be in progress.
    async fn is_over(&self, drop: &Drop, survey: &Survey, memory: &mut Memory) -> Result<bool, StoreError> {
        if drop.state == DropState::Scheduled {
            let status = memory.publication.status();
            return Ok(status.is_some_and(|status| is_final(status, drop)));
        }
        let clean = survey.is_drained() && survey.consistency == Consistency::Strong;
        if !clean {
            memory.clean_since = None;
            return Ok(false);
        }
        let since = *memory.clean_since.get_or_insert(survey.as_of);
        if survey.as_of.millis_since(since) < LATE_MS {
            return Ok(false);
        }
        let Ok(cancelled) = drop.finish_cancelling() else {
            return Ok(false);
        };
        // A refused write means that another run has finished the drop, or that an earlier write of this run was done
        // without an answer. The next step reads the drop's state.
        let stored = retry(&self.runtime, IN_REQUEST, || self.drops.store(&cancelled)).await?;
        Ok(stored.is_done())
    }
}
