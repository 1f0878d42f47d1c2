//! Applies the times of the drops' own documents, and moves a start when the capacity is not ready.

use capacity::calendar::{CalendarDrop, CalendarState, NotReadyPolicy};
use capacity::readiness::{Readiness, Ruling};
use domain::drops::{Drop, DropState};
use ports::drops::{ReadDrop, StoreDrop};
use ports::retry::{IN_WORKER, retry};
use ports::runtime::Runtime;
use ports::{Conditional, StoreError};

use crate::{Account, Prescaler, RunStore};

impl<A: Account, S: RunStore, D: ReadDrop + StoreDrop, R: Runtime> Prescaler<A, S, D, R> {
    /// Copies each drop's times, and its cancellation, from its document to the calendar.
    pub(crate) async fn follow_drops(&self, calendar: &mut [CalendarDrop]) -> Result<(), StoreError> {
        for entry in calendar {
            let drop = retry(&self.runtime, IN_WORKER, || self.drops.drop(&entry.id)).await?;
            if let Some(drop) = drop {
                follow(entry, &drop);
            }
        }
        Ok(())
    }

    /// Moves the starts that must be moved. If a move fails, the drop keeps its announced start, and the next run
    /// decides again.
    pub(crate) async fn move_starts(&self, all: &[Readiness]) {
        for readiness in all {
            let Ruling::MoveStart { to } = readiness.ruling else {
                continue;
            };
            let id = &readiness.drop;
            let found = retry(&self.runtime, IN_WORKER, || self.drops.drop(id)).await;
            let moved = match found {
                Ok(Some(drop)) => drop.reschedule(to, self.runtime.now()),
                Ok(None) => {
                    tracing::warn!(
                        drop = id.as_str(),
                        "a start must be moved, and there is no such drop"
                    );
                    continue;
                }
                Err(error) => {
                    tracing::error!(drop = id.as_str(), %error, "a start must be moved, and the drop cannot be read");
                    continue;
                }
            };
            let moved = match moved {
                Ok(moved) => moved,
                Err(error) => {
                    tracing::error!(drop = id.as_str(), %error, "a start must be moved, and cannot be");
                    continue;
                }
            };
            match retry(&self.runtime, IN_WORKER, || self.drops.store(&moved)).await {
                Ok(Conditional::Done) => {
                    tracing::warn!(
                        drop = id.as_str(),
                        starts_at_ms = moved.starts_at.as_millis(),
                        "the start is moved: capacity is not there in time"
                    );
                }
                Ok(Conditional::Refused(())) => {
                    tracing::warn!(
                        drop = id.as_str(),
                        "another change of the drop came first; the next run reads it again"
                    );
                }
                Err(error) => {
                    tracing::error!(drop = id.as_str(), %error, "whether the start is moved is not known");
                }
            }
        }
    }
}

fn follow(entry: &mut CalendarDrop, drop: &Drop) {
    match drop.state {
        DropState::Draft | DropState::Publishing => {}
        DropState::Cancelling | DropState::Cancelled => entry.state = CalendarState::Cancelled,
        DropState::Scheduled => {
            // Earlier moves of the start count towards the largest allowed move.
            if let NotReadyPolicy::MoveStart { at_most_seconds } = &mut entry.if_not_ready {
                let moved_ms = drop.starts_at.millis_since(entry.starts_at).max(0);
                let moved = u32::try_from(moved_ms / 1_000).unwrap_or(u32::MAX);
                *at_most_seconds = at_most_seconds.saturating_sub(moved);
            }
            (entry.starts_at, entry.ends_at) = (drop.starts_at, drop.ends_at);
        }
    }
}
