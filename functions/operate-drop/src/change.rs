//! Reads a drop's document, and changes it: reads it, applies the change, and stores the result if the version has not
//! changed since. When another change came first, all three are repeated.

use domain::drops::{Drop, DropError};
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::retry::{Attempt, IN_REQUEST, Policy, retry, retry_on_conflict};
use ports::runtime::Runtime;
use tokens::Scope;

use crate::NotDone;

/// The number of further reads when another change came first. There are few operators, so more conflicts
/// than this indicate a fault. The pauses are random, so that two operators do not collide repeatedly.
pub(crate) const ATTEMPTS: Policy = Policy::new(7, 20, 20);

/// The drop that a request names, and the drops that its token is valid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub id: DropId,
    /// The token's scope.
    pub scope: Scope,
}

impl Asked {
    /// Refuses a drop that the token is not valid for.
    pub(crate) fn check(&self, listed: bool) -> Result<(), NotDone> {
        if self.scope.covers(listed) {
            Ok(())
        } else {
            Err(NotDone::OutOfScope)
        }
    }
}

/// The drop as it is stored.
///
/// # Errors
///
/// [`NotDone::Unknown`], [`NotDone::OutOfScope`], [`NotDone::Store`].
pub async fn read<D: ReadDrop, R: Runtime>(drops: &D, runtime: &R, of: &Asked) -> Result<Drop, NotDone> {
    let found = retry(runtime, IN_REQUEST, || drops.drop(&of.id)).await?;
    let drop = found.ok_or(NotDone::Unknown)?;
    of.check(drop.listed)?;
    Ok(drop)
}

/// Stores the drop that `apply` makes of the stored drop at the present time, and returns it. When no change is
/// needed, `apply` returns the drop unchanged (the same version) and nothing is stored: this happens for a
/// repeat, and after a write whose answer was lost.
///
/// # Errors
///
/// [`NotDone`]: the refusal of `apply`, no such drop, repeated conflicts with other changes, or the database.
pub async fn change<D, R>(
    drops: &D,
    runtime: &R,
    of: &Asked,
    apply: impl Fn(&Drop, Timestamp) -> Result<Drop, DropError> + Send + Sync,
) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    R: Runtime,
{
    let attempt = |_| async {
        let drop = read(drops, runtime, of).await?;
        let next = apply(&drop, runtime.now())?;
        if next.version == drop.version {
            return Ok(Attempt::Done(next));
        }
        let stored = retry(runtime, IN_REQUEST, || drops.store(&next)).await?;
        Ok(Attempt::of(stored, next))
    };
    let done: Result<_, NotDone> = retry_on_conflict(runtime, ATTEMPTS, attempt).await;
    done?.ok_or(NotDone::Conflict)
}
