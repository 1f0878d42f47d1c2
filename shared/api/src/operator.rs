//! Defines the bodies of operators' requests and answers.

use capacity::readiness::{Part, PartKind, Readiness, Ruling};
use domain::drops::{self, Drop, DropDraft, DropState, Sku};
use domain::ids::{DropId, OrderId, SkuId};
use domain::money::{Currency, Money};
use domain::order::{EndReason, Order, OrderStatus};
use domain::plan::ShardPlan;
use domain::rate::CallRate;
use domain::saga::Cause;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::orders::{EndReasonSchema, MoneySchema, OrderStatusSchema};

/// A SKU of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkuBody {
    /// The SKU's identifier within the drop.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,16}$")]
    pub sku: SkuId,
    /// The displayed name: 1 to 120 bytes.
    #[schema(min_length = 1, max_length = 120)]
    pub title: String,
    /// The price of one unit, in minor units. Each currency has a smallest price; some need a multiple of 10 or 100.
    #[schema(minimum = 1, maximum = 99_999_999)]
    pub price_minor: i64,
    /// The number of units on sale.
    #[schema(minimum = 1)]
    pub units: u32,
}

/// The draft of a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropBody {
    /// The displayed name: 1 to 120 bytes.
    #[schema(min_length = 1, max_length = 120)]
    pub title: String,
    /// The currency of all prices, by its code in ISO 4217. The payment gateway must accept the currency.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    pub currency: Currency,
    /// The time at which reservations begin.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
    /// The time at which reservations end.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
    /// How long a reservation holds its units, in seconds.
    #[schema(minimum = 15, maximum = 3_600)]
    pub hold_seconds: u32,
    /// The time limit for an action that the payment requires of the shopper, in seconds.
    #[schema(minimum = 15, maximum = 86_400)]
    pub payment_seconds: u32,
    /// The time limit for all other cards after the first decline, in seconds; 60 by default.
    #[serde(default = "drops::retry_seconds")]
    #[schema(minimum = 15, maximum = 86_400)]
    pub retry_seconds: u32,
    /// How long an order waits for the payment gateway before an operator must decide, in seconds; 7200 by default.
    #[serde(default = "drops::gateway_wait_seconds")]
    #[schema(minimum = 60, maximum = 86_400)]
    pub gateway_wait_seconds: u32,
    /// The largest number of units that one shopper may buy.
    #[schema(minimum = 1, maximum = 12)]
    pub per_shopper_limit: u32,
    /// The expected number of shoppers. It determines the number of shards of a small allocation, and how often each process may read the shards: an estimate that is too low causes throttled keys, and an estimate that is too high makes shoppers wait longer between two requests.
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub expected_shoppers: u32,
    /// Whether `GET /drops` shows the drop; true by default. An unlisted drop can be found only by its id, and is sold like any other drop.
    #[serde(default = "drops::listed")]
    pub listed: bool,
    /// Whether `starts_at` may be in the past, so that the drop opens when it is published; false by default.
    #[serde(default)]
    pub start_may_be_past: bool,
    /// The SKUs on sale.
    #[schema(min_items = 1, max_items = 40)]
    pub skus: Vec<SkuBody>,
}

impl From<DropBody> for DropDraft {
    fn from(body: DropBody) -> Self {
        let sku = |s: SkuBody| Sku {
            sku: s.sku,
            title: s.title,
            price_minor: s.price_minor,
            units: s.units,
            plan: ShardPlan::default(),
        };
        Self {
            title: body.title,
            currency: body.currency,
            starts_at: body.starts_at.0,
            ends_at: body.ends_at.0,
            hold_seconds: body.hold_seconds,
            payment_seconds: body.payment_seconds,
            retry_seconds: body.retry_seconds,
            gateway_wait_seconds: body.gateway_wait_seconds,
            per_shopper_limit: body.per_shopper_limit,
            expected_shoppers: body.expected_shoppers,
            listed: body.listed,
            skus: body.skus.into_iter().map(sku).collect(),
        }
    }
}

/// The body of a request that moves the drop's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendBody {
    /// The new end of the drop: not before the current end.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
}

/// The body of a request that moves the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RescheduleBody {
    /// The new start of the drop: not before the current start. The end moves by the same time.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
}

/// The body of a request that changes the message to shoppers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageBody {
    /// The message to waiting shoppers in the status, 1 to 280 bytes; `null` removes it.
    #[schema(min_length = 1, max_length = 280)]
    pub message: Option<String>,
}

/// The body of a request that adds units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestockBody {
    /// The SKU that gets the units.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,16}$")]
    pub sku: SkuId,
    /// The number of additional units.
    #[schema(minimum = 1)]
    pub units: u32,
}

/// A SKU of a drop with its allocated units and its shards, for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorSkuView {
    /// The SKU's identifier within the drop.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// The displayed name.
    pub title: String,
    /// The price of one unit, in minor units.
    pub price_minor: i64,
    /// The allocated units, including restocks; in a draft, the units to be allocated.
    pub units: u32,
    /// The number of shards that have the units; 0 in a draft.
    pub shards: u16,
}

/// The state, settings, SKUs and warnings of a drop, for operators. Drafts are included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorDropView {
    /// The drop's identifier.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The version of the drop, which grows with every change.
    pub version: u64,
    /// The drop's progress from draft to publication or cancellation.
    #[schema(value_type = DropStateSchema)]
    pub state: DropState,
    /// Whether reservations are paused.
    pub paused: bool,
    /// The displayed name.
    pub title: String,
    /// The currency of all prices.
    #[schema(value_type = String)]
    pub currency: Currency,
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
    /// How long an order waits for the payment gateway before an operator must decide, in seconds.
    pub gateway_wait_seconds: u32,
    /// The largest number of units that one shopper may buy.
    pub per_shopper_limit: u32,
    /// The expected number of shoppers, from the draft.
    pub expected_shoppers: u32,
    /// Whether `GET /drops` shows the drop once it is published.
    pub listed: bool,
    /// The SKUs on sale.
    pub skus: Vec<OperatorSkuView>,
    /// Settings that are allowed but may be mistakes, each with the change to make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<WarningView>,
}

/// A warning that an allowed setting of a drop may be a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WarningView {
    /// The kind of the warning: `gateway_rate`.
    pub code: String,
    /// The effect of the setting, and the change to make.
    pub detail: String,
}

/// The warnings about `drop` at the payment gateway's call rate.
fn warnings(drop: &Drop, rate: CallRate) -> Vec<WarningView> {
    let of_rate = drop.slow_payments(rate).map(|slow| WarningView {
        code: "gateway_rate".to_owned(),
        detail: slow.to_string(),
    });
    of_rate.into_iter().collect()
}

impl OperatorDropView {
    /// The drop as operators see it. `rate` is the payment gateway's call rate, from which the warnings follow.
    #[must_use]
    pub fn of(drop: &Drop, rate: CallRate) -> Self {
        let view = |s: &Sku| OperatorSkuView {
            sku: s.sku.clone(),
            title: s.title.clone(),
            price_minor: s.price_minor,
            units: if s.plan.shards() == 0 {
                s.units
            } else {
                s.plan.units()
            },
            shards: s.plan.shards(),
        };
        Self {
            drop_id: drop.id.clone(),
            version: drop.version,
            state: drop.state,
            paused: drop.paused,
            title: drop.title.clone(),
            currency: drop.currency,
            starts_at: drop.starts_at.into(),
            ends_at: drop.ends_at.into(),
            hold_seconds: drop.hold_seconds,
            payment_seconds: drop.payment_seconds,
            retry_seconds: drop.retry_seconds,
            gateway_wait_seconds: drop.gateway_wait_seconds,
            per_shopper_limit: drop.per_shopper_limit,
            expected_shoppers: drop.expected_shoppers,
            listed: drop.listed,
            skus: drop.skus.iter().map(view).collect(),
            warnings: warnings(drop, rate),
        }
    }
}

/// The body of a request to let an order wait longer for the payment gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepBody {
    /// How long the order waits, in seconds from now, before an operator must decide again.
    #[schema(minimum = 60, maximum = 86_400)]
    pub seconds: u32,
}

/// The body of a request to end an order that waits for the payment gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndBody {
    /// Whether the operator states that the gateway does not have the order's payment and never will have it. A look-up that finds no payment then ends the order.
    pub not_at_gateway: bool,
}

/// The state of an order, and since when it waits for the payment gateway, for operators. The shopper is not named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorOrderView {
    /// The order's identifier.
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// The identifier of the order's drop.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The ordered SKU.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// The number of ordered units.
    pub quantity: u32,
    /// The price of all units.
    #[schema(value_type = MoneySchema)]
    pub amount: Money,
    /// The order's status.
    #[schema(value_type = OrderStatusSchema)]
    pub status: OrderStatus,
    /// The reason why the order ended without payment; `null` otherwise.
    #[schema(value_type = Option<EndReasonSchema>)]
    pub reason: Option<EndReason>,
    /// The reason why the open order ends unpaid once the gateway confirms that no money has moved; else `null`.
    #[schema(value_type = Option<EndReasonSchema>)]
    pub cancel_requested: Option<EndReason>,
    /// The gateway's id of the payment; `null` until the gateway has answered with an id.
    pub payment_id: Option<String>,
    /// Whether the gateway or the shop must act next; otherwise the shopper must, or the order has ended.
    pub waits_for_gateway: bool,
    /// The time since which the order waits for the gateway; `null` while it does not wait.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waiting_since: Option<Moment>,
    /// The time from which an operator must decide; `null` while the order does not wait for the gateway.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub late_from: Option<Moment>,
    /// Whether the time `late_from` has passed.
    pub late: bool,
    /// The number of times that an operator has let the order wait longer.
    pub kept: u32,
    /// Whether an operator has stated that the gateway does not have the order's payment.
    pub not_at_gateway: bool,
    /// The order's version, which grows with every change.
    pub version: u32,
    /// The time at which the order was placed.
    #[schema(value_type = String, format = DateTime)]
    pub placed_at: Moment,
    /// The time of the order's last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Moment,
}

impl OperatorOrderView {
    /// The order as operators see it at `now`.
    #[must_use]
    pub fn of(order: &Order, now: Timestamp) -> Self {
        let shard = &order.reservation.shard;
        let wait = order.gateway_wait();
        Self {
            order_id: order.id.clone(),
            drop_id: shard.drop.clone(),
            sku: shard.sku.clone(),
            quantity: order.units,
            amount: order.amount,
            status: order.status,
            reason: order.reason,
            cancel_requested: order.cancel_requested.filter(|_| order.status.is_open()),
            payment_id: order.payment_id.as_ref().map(ToString::to_string),
            waits_for_gateway: order.waits_for_gateway(),
            waiting_since: wait.map(|(since, _)| since.into()),
            late_from: wait.map(|(_, until)| until.into()),
            late: wait.is_some_and(|(_, until)| until <= now),
            kept: u32::try_from(order.history.count(Cause::Kept)).unwrap_or(u32::MAX),
            not_at_gateway: order.is_not_at_gateway(),
            version: order.version,
            placed_at: order.placed_at.into(),
            updated_at: order.updated_at.into(),
        }
    }
}

/// A page of open orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorOrderList {
    /// The orders, in an arbitrary sequence. A page may have fewer orders than `limit`, or none, although a further page follows.
    pub orders: Vec<OperatorOrderView>,
    /// The `cursor` of the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

schema_of_names! {
    /// The progress of a drop from draft to publication or cancellation.
    DropStateSchema = "DropState", DropState
}

/// One part of a drop's capacity, such as a function's provisioned concurrency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartView {
    /// The kind of the part.
    #[schema(value_type = PartKindSchema)]
    pub kind: PartKind,
    /// The name of the function, database, table or event source.
    pub name: String,
    /// The needed amount, in the unit of the kind: units of provisioned concurrency, ACU or instances, write units, concurrent invocations, or one answer.
    pub wanted: f64,
    /// The existing amount, in the same unit as `wanted`.
    pub there: f64,
    /// Whether the amount suffices and no change is in progress.
    pub ready: bool,
}

/// The effect of the capacity's readiness on the drop's opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RulingView {
    /// The drop opens at the announced time, for as many shoppers as its plan serves.
    AsPlanned,
    /// The drop opens at the announced time, for fewer shoppers than its plan serves.
    AdmitFewer,
    /// Move the drop's start to `move_start_to`, in the drop and in the calendar.
    MoveStart,
}

/// The readiness of a drop's capacity, in the last run of pre-scaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReadinessView {
    /// The drop's identifier.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The time of the last run; pre-scaling runs every minute.
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Moment,
    /// Whether all parts were ready at the time of the last run.
    pub ready: bool,
    /// The time at which all parts must be ready.
    #[schema(value_type = String, format = DateTime)]
    pub ready_by: Moment,
    /// The estimated time at which all parts will be ready; `checked_at` if all parts are ready.
    #[schema(value_type = String, format = DateTime)]
    pub estimated_ready_at: Moment,
    /// Whether all parts are estimated to be ready by `ready_by`.
    pub on_course: bool,
    /// The parts of the capacity.
    pub parts: Vec<PartView>,
    /// The effect on the drop's opening.
    pub ruling: RulingView,
    /// The start to which the drop must be moved; present only with the ruling `move_start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub move_start_to: Option<Moment>,
    /// The share of the expected demand that may be admitted, from 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub share: f64,
    /// The number of shoppers a second who may be admitted at the opening.
    pub shoppers_per_second: f64,
    /// The number of invocations beyond provisioned concurrency in the minute before the last run.
    pub spill_over: u64,
    /// Settings that are allowed but may be mistakes, each with the change to make. More capacity does not help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<WarningView>,
}

impl ReadinessView {
    /// The readiness of `drop`. `rate` is the payment gateway's call rate, from which the warnings follow.
    #[must_use]
    pub fn of(readiness: Readiness, drop: &Drop, rate: CallRate) -> Self {
        let (ruling, to) = match readiness.ruling {
            Ruling::AsPlanned => (RulingView::AsPlanned, None),
            Ruling::AdmitFewer => (RulingView::AdmitFewer, None),
            Ruling::MoveStart { to } => (RulingView::MoveStart, Some(to)),
        };
        let part = |part: Part| PartView {
            kind: part.kind,
            name: part.name,
            wanted: part.wanted,
            there: part.there,
            ready: part.ready,
        };
        Self {
            drop_id: readiness.drop,
            checked_at: readiness.at.into(),
            ready: readiness.ready,
            ready_by: readiness.ready_by.into(),
            estimated_ready_at: readiness.estimated_at.into(),
            on_course: readiness.on_course,
            parts: readiness.parts.into_iter().map(part).collect(),
            ruling,
            move_start_to: to.map(Moment::from),
            share: readiness.share.factor(),
            shoppers_per_second: readiness.shoppers_per_second,
            spill_over: readiness.spill_over,
            warnings: warnings(drop, rate),
        }
    }
}

/// The kind of a part of a drop's capacity, which determines the unit of its amounts.
#[derive(utoipa::ToSchema)]
#[schema(as = PartKind, rename_all = "snake_case")]
#[allow(dead_code, missing_docs)]
pub enum PartKindSchema {
    Function,
    Database,
    Table,
    Source,
    Answer,
}
