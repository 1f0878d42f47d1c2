//! Reservations.

use domain::claim::{Claim, ClaimState};
use domain::ids::{DropId, ReservationId, SkuId};
use domain::money::Money;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// The body of a reservation request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReserveBody {
    /// A SKU of the drop.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,16}$")]
    pub sku: SkuId,
    /// The number of units: from 1 to the drop's limit per shopper.
    #[schema(minimum = 1, maximum = 12)]
    pub quantity: u32,
}

/// Whether a reservation still waits to be checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReservationState {
    /// Check out before `expires_at`.
    Held,
    /// The reservation was checked out; its order exists.
    Ordered,
}

/// A reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReservationView {
    /// Its identifier, for checkout.
    #[schema(value_type = String)]
    pub reservation_id: ReservationId,
    /// The drop.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The SKU.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// The number of units.
    pub quantity: u32,
    /// Whether it still waits to be checked out.
    pub status: ReservationState,
    /// The time until which it can be checked out; once ordered, the time until which the order must be paid.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Moment,
    /// The price of one unit.
    #[schema(value_type = crate::orders::MoneySchema)]
    pub price: Money,
    /// The price of all units, to which the checkout requires consent.
    #[schema(value_type = crate::orders::MoneySchema)]
    pub amount: Money,
}

impl ReservationView {
    /// The reservation that `claim` is; `price` is that of one unit. `None` when the amount cannot be represented.
    #[must_use]
    pub fn of(id: ReservationId, claim: &Claim, price: Money) -> Option<Self> {
        Some(Self {
            drop_id: id.shard.drop.clone(),
            sku: id.shard.sku.clone(),
            reservation_id: id,
            quantity: claim.units,
            status: match claim.state {
                ClaimState::Held => ReservationState::Held,
                ClaimState::Ordered => ReservationState::Ordered,
            },
            expires_at: claim.deadline.into(),
            price,
            amount: price.times(claim.units)?,
        })
    }
}
