//! Defines the answers about drops for shoppers.

use domain::drops::{Drop, Phase};
use domain::ids::{DropId, SkuId};
use domain::limits::STALE_MS;
use domain::money::Money;
use domain::status::{Availability, DropStatus, next_poll_seconds};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// A SKU of a published drop with its price and its allocated units, for shoppers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SkuView {
    /// The SKU's identifier within the drop.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,16}$")]
    pub sku: SkuId,
    /// The displayed name.
    pub title: String,
    /// The price of one unit.
    #[schema(value_type = crate::orders::MoneySchema)]
    pub price: Money,
    /// The number of all allocated units, sold units included.
    pub allocated: u32,
}

/// The phase, times, limits and SKUs of a published drop, for shoppers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DropView {
    /// The drop's identifier.
    #[schema(value_type = String, pattern = "^[a-z0-9-]{1,20}$")]
    pub drop_id: DropId,
    /// The displayed name.
    pub title: String,
    /// The drop's phase at the time of the answer.
    #[schema(value_type = PhaseSchema)]
    pub phase: Phase,
    /// The time at which reservations begin.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
    /// The time at which reservations end.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
    /// How long a reservation holds its units, in seconds.
    pub hold_seconds: u32,
    /// The time limit for an action that the payment requires of the shopper, in seconds.
    pub payment_seconds: u32,
    /// The time limit for all other cards after the first decline, in seconds.
    pub retry_seconds: u32,
    /// The largest number of units that one shopper may buy.
    pub per_shopper_limit: u32,
    /// The SKUs on sale.
    pub skus: Vec<SkuView>,
}

impl DropView {
    /// The drop as shoppers see it at `now`; `None` while the drop is not published.
    #[must_use]
    pub fn of(drop: &Drop, now: Timestamp) -> Option<Self> {
        let phase = drop.phase(now)?;
        let view = |sku: &domain::drops::Sku| SkuView {
            sku: sku.sku.clone(),
            title: sku.title.clone(),
            price: drop.price(sku),
            allocated: sku.plan.units(),
        };
        Some(Self {
            drop_id: drop.id.clone(),
            title: drop.title.clone(),
            phase,
            starts_at: drop.starts_at.into(),
            ends_at: drop.ends_at.into(),
            hold_seconds: drop.hold_seconds,
            payment_seconds: drop.payment_seconds,
            retry_seconds: drop.retry_seconds,
            per_shopper_limit: drop.per_shopper_limit,
            skus: drop.skus.iter().map(view).collect(),
        })
    }
}

/// The title, phase and times of a drop in the list of drops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DropSummary {
    /// The drop's identifier.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The displayed name.
    pub title: String,
    /// The drop's phase at the time of the answer.
    #[schema(value_type = PhaseSchema)]
    pub phase: Phase,
    /// The time at which reservations begin.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
    /// The time at which reservations end.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
}

/// A page of drops, latest start first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DropList {
    /// The drops of this page.
    pub drops: Vec<DropSummary>,
    /// The `cursor` of the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

/// The availability of a SKU, with its free units and its units in payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SkuStatusView {
    /// The SKU's identifier.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// Whether units are free, may return, or are sold.
    #[schema(value_type = AvailabilitySchema)]
    pub availability: Availability,
    /// The free units in the last count.
    pub free: u32,
    /// The units in unpaid orders in the last count. Units return when their order ends unpaid.
    pub in_payment: u32,
}

/// The public status of a drop, cached for a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusView {
    /// The drop's identifier.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The drop's phase at the time of the answer.
    #[schema(value_type = PhaseSchema)]
    pub phase: Phase,
    /// The time at which the units were counted.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Moment,
    /// The server's time at the answer, with which a client corrects a wrong clock.
    #[schema(value_type = String, format = DateTime)]
    pub server_time: Moment,
    /// The time at which reservations begin.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
    /// The time at which reservations end.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
    /// The availability and the counts of each SKU.
    pub skus: Vec<SkuStatusView>,
    /// The operator's message to waiting shoppers, if there is one.
    pub message: Option<String>,
    /// The number of seconds until the next request for the status; `null` when the status will not change any more.
    pub next_poll_seconds: Option<u32>,
}

impl StatusView {
    /// The status at `now`, from the drop and the last survey; `None` while the drop is not published.
    ///
    /// Without a survey, or with an outdated survey, all allocated units count as available: a wrong *available* causes
    /// requests, but a wrong *gone* would make shoppers leave. With a stale copy of a drop that is not over, *gone* is
    /// not answered, since units may have been added.
    #[must_use]
    pub fn of(drop: &Drop, drop_is_stale: bool, status: Option<&DropStatus>, now: Timestamp) -> Option<Self> {
        let phase = drop.phase(now)?;
        let over = matches!(phase, Phase::Closed | Phase::Cancelled);
        let fresh = status.filter(|s| now.millis_since(s.as_of) <= STALE_MS || s.is_sold_out());
        let view = |sku: &domain::drops::Sku| {
            let counts = fresh
                .and_then(|s| s.of(&sku.sku))
                .filter(|c| c.allocated == sku.plan.units());
            let (free, counted) = match counts {
                Some(counts) => (counts.free, Availability::of(&counts.tally())),
                None => (sku.plan.units(), Availability::Available),
            };
            let (free, availability) = match counted {
                _ if over => (0, Availability::Gone),
                Availability::Gone if drop_is_stale => (free, Availability::AllHeld),
                counted => (free, counted),
            };
            SkuStatusView {
                sku: sku.sku.clone(),
                availability,
                free,
                in_payment: status
                    .and_then(|s| s.of(&sku.sku))
                    .map_or(0, |counts| counts.ordered),
            }
        };
        let skus: Vec<_> = drop.skus.iter().map(view).collect();
        let gone = skus.iter().all(|s| s.availability == Availability::Gone);
        let stale = phase == Phase::Open && status.is_some() && fresh.is_none();
        Some(Self {
            drop_id: drop.id.clone(),
            phase,
            as_of: status.map_or(now, |s| s.as_of).into(),
            server_time: now.into(),
            starts_at: drop.starts_at.into(),
            ends_at: drop.ends_at.into(),
            skus,
            message: (drop.message.clone())
                .or_else(|| stale.then(|| "The count is late; reservations go on.".to_owned())),
            next_poll_seconds: next_poll_seconds(phase, drop.starts_at, gone, now),
        })
    }
}

schema_of_names! {
    /// The phase of a published drop, which says whether reservations are possible.
    PhaseSchema = "Phase", Phase
}

schema_of_names! {
    /// Whether units of a SKU are free, may return, or are all sold.
    AvailabilitySchema = "Availability", Availability
}
