//! Creates a drop, and edits its draft.

use domain::drops::{Drop, DropDraft};
use ports::drops::{ReadDrop, StoreDrop};
use ports::retry::{Attempt, IN_REQUEST, retry, retry_on_conflict};
use ports::runtime::Runtime;

use crate::NotDone;
use crate::change::{ATTEMPTS, Asked};

/// The stored drop with the requested contents, and whether it is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The stored drop.
    pub drop: Drop,
    /// Whether this request created the drop.
    pub created: bool,
}

/// Creates the drop's draft or replaces it. The same contents again change nothing, also after publishing.
///
/// # Errors
///
/// [`NotDone`]: a listed drop that the token is not valid for, mistakes in the contents, a start in the past
/// unless `start_may_be_past`, other contents once the drop has left the draft, or the database.
pub async fn write_draft<D, R>(
    drops: &D,
    runtime: &R,
    of: &Asked,
    draft: DropDraft,
    start_may_be_past: bool,
) -> Result<Written, NotDone>
where
    D: ReadDrop + StoreDrop,
    R: Runtime,
{
    of.check(draft.listed)?;
    let mistakes = draft.mistakes();
    if !mistakes.is_empty() {
        return Err(NotDone::Mistakes(mistakes));
    }
    let draft = &draft;
    let attempt = |before| async move {
        let found = retry(runtime, IN_REQUEST, || drops.drop(&of.id)).await?;
        let next = match &found {
            None => Drop::draft(of.id.clone(), draft.clone()),
            Some(drop) => {
                of.check(drop.listed)?;
                drop.edit(draft.clone())?
            }
        };
        if let Some(drop) = found.filter(|drop| unchanged(drop, &next)) {
            // The stored drop is version 1 with exactly these contents, and an earlier attempt of this request
            // found no drop. So this request created the drop, and the write's answer was lost.
            let created = before > 0 && drop.version == 1;
            return Ok(Attempt::Done(Written { drop, created }));
        }
        if let Some(mistake) = draft.mistimed(runtime.now(), start_may_be_past) {
            return Err(NotDone::Mistakes(vec![mistake]));
        }
        let stored = retry(runtime, IN_REQUEST, || drops.store(&next)).await?;
        let created = next.version == 1;
        Ok(Attempt::of(stored, Written { drop: next, created }))
    };
    let done: Result<_, NotDone> = retry_on_conflict(runtime, ATTEMPTS, attempt).await;
    done?.ok_or(NotDone::Conflict)
}

/// Whether two versions have the same contents.
fn unchanged(drop: &Drop, next: &Drop) -> bool {
    *drop
        == Drop {
            version: drop.version,
            ..next.clone()
        }
}
