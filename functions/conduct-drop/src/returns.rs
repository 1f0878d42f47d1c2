//! Returns the holds that must go back: expired holds, surplus holds, and holds of a cancelled drop.

use std::collections::BTreeSet;

use domain::drops::{Drop, DropState};
use domain::ids::{Nonce, ShardKey, ShopperId};
use domain::lapse::has_lapsed;
use domain::survey::{ReturnReason, SeenClaim, holds_to_return};
use futures_util::{StreamExt as _, stream};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use ports::stock::{Consistency, CountLapse, GiveBackStock, SurveyStock};
use ports::{Conditional, StoreError};

use crate::bounds::{MOST_WRITES, WRITES_AT_ONCE};
use crate::survey::Survey;

/// The identity of a hold: its shard and its nonce.
pub type SeenKey = (ShardKey, Nonce);

/// The numbers of holds that one step returned, or could not return.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returned {
    /// Holds that were returned because they had expired.
    pub expired: usize,
    /// Holds that were returned because their shopper had newer claims.
    pub surplus: usize,
    /// Holds that were returned because the drop was cancelled.
    pub cancelled: usize,
    /// Holds that were not returned, since they changed after the read: released, ordered or replaced.
    pub changed: usize,
    /// Holds whose write failed. The next step reads them again.
    pub failed: usize,
}

impl Returned {
    /// The number of returned holds.
    #[must_use]
    pub const fn done(&self) -> usize {
        self.expired + self.surplus + self.cancelled
    }

    fn count(&mut self, reason: ReturnReason) {
        match reason {
            ReturnReason::Expired => self.expired += 1,
            ReturnReason::Surplus => self.surplus += 1,
            ReturnReason::DropCancelled => self.cancelled += 1,
        }
    }
}

/// Counts the holds that expired unused, before other shoppers may take their units. `counted` has the holds that this
/// run has already counted. A failed count is tried again at the next step, until the hold has been returned. An
/// uncounted hold causes its shopper no waiting time.
pub async fn count_lapses<S, R>(
    stock: &S,
    runtime: &R,
    survey: &Survey,
    counted: &mut BTreeSet<SeenKey>,
) -> usize
where
    S: CountLapse,
    R: Runtime,
{
    let now = runtime.now();
    let key = |seen: &SeenClaim| (seen.shard.clone(), seen.claim.nonce.clone());
    let mut lapsed = survey.claims();
    lapsed.retain(|seen| has_lapsed(&seen.claim, now));
    let still_there: BTreeSet<SeenKey> = lapsed.iter().map(key).collect();
    counted.retain(|known| still_there.contains(known));
    lapsed.retain(|seen| !counted.contains(&key(seen)));
    // A count with a later deadline supersedes a count with an earlier deadline, so counts are written in this
    // order.
    lapsed.sort_by_key(|seen| seen.claim.deadline);
    let outcomes: Vec<_> = stream::iter(lapsed.into_iter().take(MOST_WRITES))
        .map(|seen| async move {
            let outcome = retry(runtime, IN_REQUEST, || stock.count_lapse(&seen)).await;
            (seen, outcome)
        })
        .buffer_unordered(WRITES_AT_ONCE)
        .collect()
        .await;
    let mut done = 0;
    for (seen, outcome) in outcomes {
        match outcome {
            Ok(conditional) => {
                done += usize::from(conditional.is_done());
                counted.insert(key(&seen));
            }
            Err(error) => {
                tracing::debug!(shard = %seen.shard, %error, "an expired hold could not be counted; the next step tries again")
            }
        }
    }
    done
}

/// Returns the holds that must go back, and updates `survey`.
///
/// # Errors
/// [`StoreError`] when the second read, which confirms surplus holds, failed. Then no hold was returned.
pub async fn give_back<S, R>(
    stock: &S,
    runtime: &R,
    drop: &Drop,
    survey: &mut Survey,
) -> Result<Returned, StoreError>
where
    S: GiveBackStock + SurveyStock,
    R: Runtime,
{
    let back = holds_that_must_go(stock, runtime, drop, survey).await?;
    let outcomes: Vec<_> = stream::iter(back.into_iter().take(MOST_WRITES))
        .map(|(seen, reason)| async move {
            let outcome = retry(runtime, IN_REQUEST, || stock.give_back(&seen)).await;
            (seen, reason, outcome)
        })
        .buffer_unordered(WRITES_AT_ONCE)
        .collect()
        .await;
    let mut returned = Returned::default();
    for (seen, reason, outcome) in outcomes {
        match outcome {
            Ok(Conditional::Done) => {
                survey.note_returned(&seen);
                returned.count(reason);
            }
            Ok(Conditional::Refused(())) => returned.changed += 1,
            Err(error) => {
                returned.failed += 1;
                tracing::debug!(shard = %seen.shard, %error, "a hold could not be returned; the next step tries again");
            }
        }
    }
    Ok(returned)
}

/// The holds that must be returned. An expired hold may come from any read, since the write is conditional on it. A
/// *surplus* hold is certain only while the newer claim exists, and an eventually consistent read may show a newer
/// claim that is already gone. So those shoppers' shards are read again consistently.
async fn holds_that_must_go<S: SurveyStock, R: Runtime>(
    stock: &S,
    runtime: &R,
    drop: &Drop,
    survey: &mut Survey,
) -> Result<Vec<(SeenClaim, ReturnReason)>, StoreError> {
    let cancelled = drop.state == DropState::Cancelling;
    let now = runtime.now();
    let claims = survey.claims();
    let back = holds_to_return(&claims, drop.per_shopper_limit, cancelled, now);
    let doubtful: BTreeSet<&ShopperId> = back
        .iter()
        .filter(|(_, reason)| *reason == ReturnReason::Surplus)
        .map(|(seen, _)| &seen.shopper)
        .collect();
    if doubtful.is_empty() || survey.consistency == Consistency::Strong {
        return Ok(back);
    }
    let theirs: BTreeSet<ShardKey> = claims
        .iter()
        .filter(|seen| doubtful.contains(&seen.shopper))
        .map(|seen| seen.shard.clone())
        .collect();
    let theirs: Vec<ShardKey> = theirs.into_iter().collect();
    survey.read(stock, runtime, &theirs, Consistency::Strong).await?;
    let mut back = holds_to_return(&survey.claims(), drop.per_shopper_limit, cancelled, now);
    back.retain(|(seen, reason)| *reason != ReturnReason::Surplus || doubtful.contains(&seen.shopper));
    Ok(back)
}
