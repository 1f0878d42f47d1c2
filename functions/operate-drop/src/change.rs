//! One change of a drop's document: read, apply, store over the version read, and again when somebody came first.

use domain::drops::{Drop, DropError};
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::edge::Edge;
use ports::retry::{IN_REQUEST, Look, Policy, look_again, retry};
use tokens::Scope;

use crate::NotDone;

/// Further looks of a change when another came first. Operators are few: more than this is a fault. The pauses are random,
/// so that two operators do not keep colliding.
pub(crate) const LOOKS: Policy = Policy::new(7, 20, 20);

/// The drop that a request names, and which drops its token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The drop.
    pub id: DropId,
    /// The token's scope.
    pub scope: Scope,
}

impl Asked {
    /// Refuses a drop that the token is not good for.
    pub(crate) fn check(&self, listed: bool) -> Result<(), NotDone> {
        if self.scope.covers(listed) {
            Ok(())
        } else {
            Err(NotDone::OutOfScope)
        }
    }
}

/// The drop after `apply`, stored. `apply` gets the drop as it is and the present moment, and answers the drop as it
/// was (the same version) when nothing needs to change: that is how a repeat, and a store whose answer was lost, end.
///
/// # Errors
/// [`NotDone`]: what `apply` refuses, no such drop, others coming first again and again, or the database.
pub async fn change<D, E>(
    drops: &D,
    edge: &E,
    of: &Asked,
    apply: impl Fn(&Drop, Timestamp) -> Result<Drop, DropError> + Send + Sync,
) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    let look = |_| async {
        let found = retry(edge, IN_REQUEST, || drops.drop(&of.id)).await?;
        let drop = found.ok_or(NotDone::Unknown)?;
        of.check(drop.listed)?;
        let next = apply(&drop, edge.now())?;
        if next.version == drop.version {
            return Ok(Look::Done(next));
        }
        let stored = retry(edge, IN_REQUEST, || drops.store(&next)).await?;
        Ok(Look::of(stored, next))
    };
    let done: Result<_, NotDone> = look_again(edge, LOOKS, look).await;
    done?.ok_or(NotDone::Conflict)
}
