//! Shows a reservation, and releases it when its shopper requests this.

use std::sync::Arc;

use domain::claim::{Claim, ClaimState};
use domain::ids::{DropId, ReservationId, ShopperId};
use domain::search::Reserved;
use domain::survey::SeenClaim;
use ports::StoreError;
use ports::cached::{CachedDrops, Known};
use ports::drops::ReadDrop;
use ports::retry::{Attempt, IN_REQUEST, Policy, retry, retry_on_conflict};
use ports::runtime::Runtime;
use ports::stock::{GiveBackStock, ReadClaim};

/// How often a release reads again when the claim has changed since the first read.
const ATTEMPTS: Policy = Policy::at_once(2);

/// Why a reservation cannot be shown or released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReservation {
    /// The shopper has no such reservation: it never existed, or was released, replaced, expired and returned, or
    /// settled.
    #[error("no such reservation")]
    Unknown,
    #[error("already ordered")]
    Ordered,
    /// The reservation keeps changing.
    #[error("changed again and again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Shows and releases existing reservations.
pub struct Reservations<D, S, R> {
    /// The drops, for prices.
    pub drops: Arc<CachedDrops<D, R>>,
    pub stock: S,
    /// The clock, and the source of random numbers.
    pub runtime: R,
}

impl<D: ReadDrop, S: ReadClaim + GiveBackStock, R: Runtime> Reservations<D, S, R> {
    /// The shopper's live reservation `id` in `drop`.
    ///
    /// # Errors
    /// [`NoReservation`].
    pub async fn show(
        &self,
        drop: &DropId,
        id: &ReservationId,
        shopper: &ShopperId,
    ) -> Result<Reserved, NoReservation> {
        let claim = self.find(drop, id, shopper).await?;
        let Known { drop, .. } = self.drops.get(drop).await?.ok_or(NoReservation::Unknown)?;
        let sku = drop.sku(&id.shard.sku).ok_or(NoReservation::Unknown)?;
        if !claim.is_live(self.runtime.now()) {
            return Err(NoReservation::Unknown);
        }
        Ok(Reserved {
            id: id.clone(),
            claim,
            price: drop.price(sku),
        })
    }

    /// Releases the shopper's reservation, also after its expiry.
    ///
    /// # Errors
    /// [`NoReservation`].
    pub async fn release(
        &self,
        drop: &DropId,
        id: &ReservationId,
        shopper: &ShopperId,
    ) -> Result<(), NoReservation> {
        let attempt = |before| async move {
            let claim = match self.find(drop, id, shopper).await {
                // An earlier attempt of this call has released the reservation, although the write was not confirmed.
                Err(NoReservation::Unknown) if before > 0 => return Ok(Attempt::Done(())),
                found => found?,
            };
            if claim.state == ClaimState::Ordered {
                return Err(NoReservation::Ordered);
            }
            let seen = SeenClaim {
                shard: id.shard.clone(),
                shopper: shopper.clone(),
                claim,
            };
            let returned = retry(&self.runtime, IN_REQUEST, || self.stock.give_back(&seen)).await?;
            Ok(Attempt::of(returned, ()))
        };
        let done: Result<_, NoReservation> = retry_on_conflict(&self.runtime, ATTEMPTS, attempt).await;
        done?.ok_or(NoReservation::Contended)
    }

    async fn find(
        &self,
        drop: &DropId,
        id: &ReservationId,
        shopper: &ShopperId,
    ) -> Result<Claim, NoReservation> {
        if id.shard.drop != *drop {
            return Err(NoReservation::Unknown);
        }
        let read = || self.stock.read_claim(&id.shard, shopper);
        let claim = retry(&self.runtime, IN_REQUEST, read).await?;
        let claim = claim.filter(|claim| claim.nonce == id.nonce);
        claim.ok_or(NoReservation::Unknown)
    }
}
