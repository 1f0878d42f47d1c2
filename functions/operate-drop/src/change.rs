//! One change of a drop's document: read, apply, store over the version read, and again when somebody came first.

use domain::drops::{Drop, DropError};
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::edge::Edge;
use ports::retry::{IN_REQUEST, retry};

use crate::NotDone;

/// How often a change is applied anew because another came first. Operators are few: more than this is a fault.
const MOST_TRIES: u32 = 8;
/// The longest pause before applying it anew, in milliseconds; random, so that two operators do not keep colliding.
const PAUSE_MS: u64 = 40;

/// The drop after `apply`, stored. `apply` gets the drop as it is and the present moment, and answers the drop as it
/// was (the same version) when nothing needs to change: that is how a repeat, and a store whose answer was lost, end.
///
/// # Errors
/// [`NotDone`]: what `apply` refuses, no such drop, others coming first again and again, or the database.
pub async fn change<D, E>(
    drops: &D,
    edge: &E,
    id: &DropId,
    apply: impl Fn(&Drop, Timestamp) -> Result<Drop, DropError> + Send,
) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    for _ in 0..MOST_TRIES {
        let found = retry(edge, IN_REQUEST, || drops.drop(id)).await?;
        let drop = found.ok_or(NotDone::Unknown)?;
        let next = apply(&drop, edge.now())?;
        if next.version == drop.version || store(drops, edge, &next).await? {
            return Ok(next);
        }
        pause(edge).await;
    }
    Err(NotDone::Conflict)
}

/// Whether `drop` was stored over the version before its own.
///
/// # Errors
/// [`NotDone::Store`].
pub(crate) async fn store<D: StoreDrop, E: Edge>(drops: &D, edge: &E, drop: &Drop) -> Result<bool, NotDone> {
    Ok(retry(edge, IN_REQUEST, || drops.store(drop)).await?.is_done())
}

/// Lets whoever came first finish.
pub(crate) async fn pause<E: Edge>(edge: &E) {
    edge.sleep(1 + edge.random() % PAUSE_MS).await;
}

/// How often [`crate::edit`] tries, which is as often as any change.
pub(crate) const fn most_tries() -> u32 {
    MOST_TRIES
}
