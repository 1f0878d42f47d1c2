//! Defines the bodies of requests and answers about reservations.

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

/// Whether a reservation still waits for its checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReservationState {
    /// The units are held: check out before `expires_at`.
    Held,
    /// The reservation was checked out; its order exists.
    Ordered,
}

/// The held units, the price and the time limit of a reservation, for its shopper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReservationView {
    /// The reservation's identifier, for the checkout.
    #[schema(value_type = String)]
    pub reservation_id: ReservationId,
    /// The drop's identifier.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The reserved SKU.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// The number of reserved units.
    pub quantity: u32,
    /// Whether the reservation still waits for its checkout.
    pub status: ReservationState,
    /// The time until which the reservation can be checked out; once ordered, `payment_seconds` after the checkout.
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
    /// The view of the reservation `id` with its `claim`; `price` is the price of one unit. `None` when the total
    /// amount cannot be represented.
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
