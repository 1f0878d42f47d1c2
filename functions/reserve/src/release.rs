//! Showing a reservation, and giving it back before its time.

use std::sync::Arc;

use domain::claim::{Claim, ClaimState};
use domain::ids::{DropId, ReservationId, ShopperId};
use domain::search::Reserved;
use domain::survey::SeenClaim;
use ports::StoreError;
use ports::cached::CachedDrops;
use ports::drops::ReadDrop;
use ports::edge::Edge;
use ports::retry::{IN_REQUEST, Look, Policy, look_again, retry};
use ports::stock::{GiveBackStock, ReadClaim};

/// Further looks of a release when the claim changed since it was read.
const LOOKS: Policy = Policy::at_once(2);

/// Why there is nothing to show or release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReservation {
    /// None of this shopper's: never was, released, replaced, expired and returned, or settled.
    #[error("no such reservation")]
    Unknown,
    /// It has become an order.
    #[error("already ordered")]
    Ordered,
    /// It keeps changing.
    #[error("changed again and again")]
    Contended,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use cases, with their ports.
pub struct Held<D, S, E> {
    /// The drops, for prices.
    pub drops: Arc<CachedDrops<D, E>>,
    /// The stock.
    pub stock: S,
    /// Clock and chance.
    pub edge: E,
}

impl<D: ReadDrop, S: ReadClaim + GiveBackStock, E: Edge> Held<D, S, E> {
    /// The shopper's reservation of that id in that drop.
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
        let drop = self.drops.get(drop).await?.ok_or(NoReservation::Unknown)?;
        let sku = drop.sku(&id.shard.sku).ok_or(NoReservation::Unknown)?;
        if !claim.is_live(self.edge.now()) {
            return Err(NoReservation::Unknown);
        }
        Ok(Reserved {
            id: id.clone(),
            claim,
            price: drop.price(sku),
        })
    }

    /// Gives the shopper's reservation back, also after its time.
    ///
    /// # Errors
    /// [`NoReservation`].
    pub async fn release(
        &self,
        drop: &DropId,
        id: &ReservationId,
        shopper: &ShopperId,
    ) -> Result<(), NoReservation> {
        let look = |before| async move {
            let claim = match self.find(drop, id, shopper).await {
                // Ours was the write that an earlier look could not confirm.
                Err(NoReservation::Unknown) if before > 0 => return Ok(Look::Done(())),
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
            let returned = retry(&self.edge, IN_REQUEST, || self.stock.give_back(&seen)).await?;
            Ok(Look::of(returned, ()))
        };
        let done: Result<_, NoReservation> = look_again(&self.edge, LOOKS, look).await;
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
        let claim = retry(&self.edge, IN_REQUEST, || {
            self.stock.read_claim(&id.shard, shopper)
        })
        .await?;
        claim
            .filter(|claim| claim.nonce == id.nonce)
            .ok_or(NoReservation::Unknown)
    }
}
