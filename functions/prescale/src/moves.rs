//! Applies the drops' own documents to the calendar, and moves a start when the capacity is not ready.

use capacity::calendar::{CalendarDrop, CalendarState, NotReadyPolicy};
use capacity::readiness::{Readiness, Ruling};
use domain::drops::{Drop, DropState, ListedDrop};
use domain::limits::MAX_LISTED;
use ports::drops::Listing;
use ports::retry::{IN_WORKER, retry};
use ports::runtime::Runtime;
use ports::{Conditional, StoreError};

use crate::{Account, Drops, Prescaler, RunStore};

/// How long after its end a listed drop stays on the calendar, in milliseconds: longer than runs may learn from it.
const KEPT_MS: i64 = 86_400_000;

impl<A: Account, S: RunStore, D: Drops, R: Runtime> Prescaler<A, S, D, R> {
    /// The calendar, read again; `None` if it cannot be read or has mistakes.
    pub(crate) async fn calendar(&self) -> Option<Vec<CalendarDrop>> {
        let mut calendar = self.account.calendar().await.ok()?.ok()?;
        self.follow_drops(&mut calendar).await.ok()?;
        Some(calendar)
    }

    /// Copies each drop's times, and its cancellation, from its document to the calendar, and adds the listed drops
    /// that the calendar does not have. The deployer's drops are unlisted, and need no capacity.
    pub(crate) async fn follow_drops(&self, calendar: &mut Vec<CalendarDrop>) -> Result<(), StoreError> {
        for entry in calendar.iter_mut() {
            let drop = retry(&self.runtime, IN_WORKER, || self.drops.drop(&entry.id)).await?;
            if let Some(drop) = drop {
                follow(entry, &drop);
            }
        }
        for listed in self.listed().await? {
            if calendar.iter().any(|entry| entry.id == listed.id) {
                continue;
            }
            let drop = retry(&self.runtime, IN_WORKER, || self.drops.drop(&listed.id)).await?;
            let Some(drop) = drop.filter(|drop| drop.state == DropState::Scheduled) else {
                continue;
            };
            match CalendarDrop::expected(&drop) {
                Ok(entry) => calendar.push(entry),
                Err(mistakes) => {
                    tracing::warn!(
                        drop = drop.id.as_str(),
                        ?mistakes,
                        "no valid calendar entry follows from the drop, so no capacity is planned for it; put an entry into the calendar"
                    );
                }
            }
        }
        Ok(())
    }

    /// The scheduled drops of the list, without those that ended more than [`KEPT_MS`] ago.
    async fn listed(&self) -> Result<Vec<ListedDrop>, StoreError> {
        let oldest_end = self.runtime.now().plus_millis(-KEPT_MS);
        let mut listed = retry(&self.runtime, IN_WORKER, || {
            self.drops.published(Listing::Listed, MAX_LISTED)
        })
        .await?;
        if listed.len() >= usize::from(MAX_LISTED) {
            tracing::warn!(
                listed = listed.len(),
                "too many listed drops: no capacity is planned for the drops that start before those read"
            );
        }
        listed.retain(|drop| drop.state == DropState::Scheduled && drop.ends_at > oldest_end);
        Ok(listed)
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
                        "the calendar has a drop that is not stored, so its start is not moved; create it or remove its entry"
                    );
                    continue;
                }
                Err(error) => {
                    tracing::error!(drop = id.as_str(), %error, "the drop cannot be read, so its start is not moved; the next run tries again");
                    continue;
                }
            };
            let moved = match moved {
                Ok(moved) => moved,
                Err(error) => {
                    tracing::error!(drop = id.as_str(), %error, "the drop's start can no longer be moved; the announced start stays");
                    continue;
                }
            };
            match retry(&self.runtime, IN_WORKER, || self.drops.store(&moved)).await {
                Ok(Conditional::Done) => {
                    tracing::warn!(
                        drop = id.as_str(),
                        starts_at_ms = moved.starts_at.as_millis(),
                        "the drop's start was moved, since its capacity is not ready in time"
                    );
                }
                Ok(Conditional::Refused(())) => {
                    tracing::warn!(
                        drop = id.as_str(),
                        "the drop was changed at the same time, so its start is not moved; the next run decides again"
                    );
                }
                Err(error) => {
                    tracing::error!(drop = id.as_str(), %error, "the drop's moved start could not be stored, or its outcome is unknown; the next run decides again");
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
            // The limit of a move counts from the calendar's start, so earlier moves use up a part of the limit.
            if let NotReadyPolicy::MoveStart { at_most_seconds } = &mut entry.if_not_ready {
                let moved_ms = drop.starts_at.millis_since(entry.starts_at).max(0);
                let moved = u32::try_from(moved_ms / 1_000).unwrap_or(u32::MAX);
                *at_most_seconds = at_most_seconds.saturating_sub(moved);
            }
            (entry.starts_at, entry.ends_at) = (drop.starts_at, drop.ends_at);
        }
    }
}
