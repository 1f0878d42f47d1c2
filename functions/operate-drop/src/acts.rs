//! Reads a drop, and does the actions that change only its document.

use capacity::readiness::Readiness;
use domain::drops::Drop;
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::prescale::ReadReadiness;
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;

use crate::NotDone;
use crate::change::{Asked, change};

/// The drop as it is stored.
///
/// # Errors
///
/// [`NotDone::Unknown`], [`NotDone::OutOfScope`], [`NotDone::Store`].
pub async fn show<D: ReadDrop, R: Runtime>(drops: &D, runtime: &R, of: &Asked) -> Result<Drop, NotDone> {
    let found = retry(runtime, IN_REQUEST, || drops.drop(&of.id)).await?;
    let drop = found.ok_or(NotDone::Unknown)?;
    of.check(drop.listed)?;
    Ok(drop)
}

/// The drop, and the readiness of its capacity as the last run of pre-scaling has computed it.
///
/// # Errors
///
/// [`NotDone::Unknown`], [`NotDone::OutOfScope`], [`NotDone::NotPrepared`], [`NotDone::Store`].
pub async fn readiness<D, P, R>(
    drops: &D,
    readiness: &P,
    runtime: &R,
    of: &Asked,
) -> Result<(Drop, Readiness), NotDone>
where
    D: ReadDrop,
    P: ReadReadiness,
    R: Runtime,
{
    let drop = show(drops, runtime, of).await?;
    let found = retry(runtime, IN_REQUEST, || readiness.readiness(&of.id)).await?;
    Ok((drop, found.ok_or(NotDone::NotPrepared)?))
}

/// Pauses or resumes reservations. Holds, orders and payments continue.
///
/// # Errors
///
/// [`NotDone`].
pub async fn set_paused<D, R>(drops: &D, runtime: &R, of: &Asked, paused: bool) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    R: Runtime,
{
    change(drops, runtime, of, |drop, _| drop.set_paused(paused)).await
}

/// Moves the drop's end later.
///
/// # Errors
///
/// [`NotDone`].
pub async fn extend<D, R>(drops: &D, runtime: &R, of: &Asked, ends_at: Timestamp) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    R: Runtime,
{
    change(drops, runtime, of, |drop, now| drop.extend(ends_at, now)).await
}

/// Moves the drop's start later, and its end by the same time.
///
/// # Errors
///
/// [`NotDone`].
pub async fn reschedule<D, R>(
    drops: &D,
    runtime: &R,
    of: &Asked,
    starts_at: Timestamp,
) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    R: Runtime,
{
    change(drops, runtime, of, |drop, now| drop.reschedule(starts_at, now)).await
}

/// Sets or removes the message to waiting shoppers.
///
/// # Errors
///
/// [`NotDone`].
pub async fn tell<D, R>(drops: &D, runtime: &R, of: &Asked, message: Option<&str>) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    R: Runtime,
{
    change(drops, runtime, of, |drop, _| {
        drop.announce(message.map(str::to_owned))
    })
    .await
}

/// Cancels the drop. Afterwards the conductor returns holds and ends open orders.
///
/// # Errors
///
/// [`NotDone`].
pub async fn cancel<D, R>(drops: &D, runtime: &R, of: &Asked) -> Result<Drop, NotDone>
where
    D: ReadDrop + StoreDrop,
    R: Runtime,
{
    change(drops, runtime, of, |drop, _| drop.cancel()).await
}
