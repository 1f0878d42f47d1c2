//! Looking at a drop, and the acts that change its document and nothing else.

use capacity::readiness::Readiness;
use domain::drops::Drop;
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::edge::Edge;
use ports::prescale::ReadReadiness;
use ports::retry::{IN_REQUEST, retry};

use crate::NotDone;
use crate::change::{Asked, change};

/// The drop as it is.
///
/// # Errors
/// [`NotDone::Unknown`], [`NotDone::OutOfScope`], [`NotDone::Store`].
pub async fn show<D: ReadDrop, E: Edge>(drops: &D, edge: &E, of: &Asked) -> Result<Drop, NotDone> {
    let found = retry(edge, IN_REQUEST, || drops.drop(&of.id)).await?;
    let drop = found.ok_or(NotDone::Unknown)?;
    of.check(drop.listed)?;
    Ok(drop)
}

/// The drop, and how ready its capacity is, by the last run of pre-scaling that looked.
///
/// # Errors
/// [`NotDone::Unknown`], [`NotDone::OutOfScope`], [`NotDone::NotPrepared`], [`NotDone::Store`].
pub async fn readiness<D, R, E>(
    drops: &D,
    readiness: &R,
    edge: &E,
    of: &Asked,
) -> Result<(Drop, Readiness), NotDone>
where
    D: ReadDrop,
    R: ReadReadiness,
    E: Edge,
{
    let drop = show(drops, edge, of).await?;
    let found = retry(edge, IN_REQUEST, || readiness.readiness(&of.id)).await?;
    Ok((drop, found.ok_or(NotDone::NotPrepared)?))
}

/// Stops reservations, or takes them up again; holds, orders and payments go on.
///
/// # Errors
/// [`NotDone`].
pub async fn set_paused<D, E>(drops: &D, edge: &E, of: &Asked, paused: bool) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    change(drops, edge, of, |drop, _| drop.set_paused(paused)).await
}

/// Moves the end to later.
///
/// # Errors
/// [`NotDone`].
pub async fn extend<D, E>(drops: &D, edge: &E, of: &Asked, ends_at: Timestamp) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    change(drops, edge, of, |drop, now| drop.extend(ends_at, now)).await
}

/// Moves the start, and with it the end, to later.
///
/// # Errors
/// [`NotDone`].
pub async fn reschedule<D, E>(drops: &D, edge: &E, of: &Asked, starts_at: Timestamp) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    change(drops, edge, of, |drop, now| drop.reschedule(starts_at, now)).await
}

/// Tells those who wait something, or nothing any more.
///
/// # Errors
/// [`NotDone`].
pub async fn tell<D, E>(drops: &D, edge: &E, of: &Asked, message: Option<&str>) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    change(drops, edge, of, |drop, _| {
        drop.announce(message.map(str::to_owned))
    })
    .await
}

/// Calls the drop off. The conductor undoes holds and open orders afterwards.
///
/// # Errors
/// [`NotDone`].
pub async fn cancel<D, E>(drops: &D, edge: &E, of: &Asked) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    E: Edge,
{
    change(drops, edge, of, |drop, _| drop.cancel()).await
}
