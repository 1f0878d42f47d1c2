//! The acts that change the document and nothing else.

use domain::drops::Drop;
use domain::ids::DropId;
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::edge::Edge;
use ports::retry::{IN_REQUEST, retry};

use crate::NotDone;
use crate::change::change;

/// The drop as it is.
///
/// # Errors
/// [`NotDone::Unknown`], [`NotDone::Store`].
pub async fn show<D: ReadDrop, E: Edge>(drops: &D, edge: &E, id: &DropId) -> Result<Drop, NotDone> {
    let found = retry(edge, IN_REQUEST, || drops.drop(id)).await?;
    found.ok_or(NotDone::Unknown)
}

/// Stops reservations, or takes them up again; holds, orders and payments go on.
///
/// # Errors
/// [`NotDone`].
pub async fn set_paused<D, E>(drops: &D, edge: &E, id: &DropId, paused: bool) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    change(drops, edge, id, |drop, _| drop.set_paused(paused)).await
}

/// Moves the end to later.
///
/// # Errors
/// [`NotDone`].
pub async fn extend<D, E>(drops: &D, edge: &E, id: &DropId, ends_at: Timestamp) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    change(drops, edge, id, |drop, now| drop.extend(ends_at, now)).await
}

/// Calls the drop off. The conductor undoes holds and open orders afterwards.
///
/// # Errors
/// [`NotDone`].
pub async fn cancel<D, E>(drops: &D, edge: &E, id: &DropId) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    change(drops, edge, id, |drop, _| drop.cancel()).await
}
