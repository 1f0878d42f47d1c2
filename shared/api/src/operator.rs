//! The bodies of operators' requests and answers.

use capacity::readiness::{Part, PartKind, Readiness, Ruling};
use domain::drops::{Drop, DropDraft, DropState, Sku};
use domain::ids::{DropId, OrderId, SkuId};
use domain::limits::{DEFAULT_GATEWAY_WAIT_SECONDS, DEFAULT_RETRY_SECONDS};
use domain::money::{Currency, Money};
use domain::order::{EndReason, Order, OrderStatus};
use domain::plan::ShardPlan;
use domain::rate::{CallRate, SlowPayments};
use domain::saga::Cause;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::orders::{EndReasonSchema, MoneySchema, OrderStatusSchema};

/// A SKU of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkuBody {
    /// Its identifier within the drop.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,16}$")]
    pub sku: SkuId,
    /// Its name for people: 1 to 120 bytes.
    #[schema(min_length = 1, max_length = 120)]
    pub title: String,
    /// The price of one unit, in minor units. Each currency has a smallest amount, about a dollar, and some a step.
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
    /// Its name for people: 1 to 120 bytes.
    #[schema(min_length = 1, max_length = 120)]
    pub title: String,
    /// The currency of all prices, by its code in ISO 4217; one of those that the payment gateway takes.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    pub currency: Currency,
    /// The time at which reservations begin.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
    /// The time at which reservations end.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
    /// How long a reservation holds its units.
    #[schema(minimum = 15, maximum = 3_600)]
    pub hold_seconds: u32,
    /// The time limit for actions that the payment requires of the shopper.
    #[schema(minimum = 15, maximum = 86_400)]
    pub payment_seconds: u32,
    /// The time limit for all other cards after the first decline; 60 by default.
    #[serde(default = "retry_seconds")]
    #[schema(minimum = 15, maximum = 86_400)]
    pub retry_seconds: u32,
    /// How long an order waits for the payment gateway before an operator must decide; 7200 by default.
    #[serde(default = "gateway_wait_seconds")]
    #[schema(minimum = 60, maximum = 86_400)]
    pub gateway_wait_seconds: u32,
    /// The largest number of units that one shopper may buy.
    #[schema(minimum = 1, maximum = 12)]
    pub per_shopper_limit: u32,
    /// The expected number of shoppers. It determines the number of shards of a small allocation, and how often each process may read them: an estimate that is too low causes throttled keys, one that is too high makes shoppers wait longer between two requests.
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub expected_shoppers: u32,
    /// Whether `GET /drops` shows the drop; true by default. A drop that it does not show can be found only by its id, and is sold like any other.
    #[serde(default = "listed")]
    pub listed: bool,
    /// Whether `starts_at` may be in the past; false by default. Such a drop opens as soon as it is published.
    #[serde(default)]
    pub start_may_be_past: bool,
    /// The SKUs on sale.
    #[schema(min_items = 1, max_items = 40)]
    pub skus: Vec<SkuBody>,
}

/// The default of a body without the member.
const fn listed() -> bool {
    true
}

const fn retry_seconds() -> u32 {
    DEFAULT_RETRY_SECONDS
}

const fn gateway_wait_seconds() -> u32 {
    DEFAULT_GATEWAY_WAIT_SECONDS
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

/// The body of an extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendBody {
    /// The new end: not before the current one.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
}

/// The body of a move of the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RescheduleBody {
    /// The new start: not before the current one. The end moves by the same time.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
}

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageBody {
    /// The message to waiting shoppers in the status, 1 to 280 bytes; `null` removes it.
    #[schema(min_length = 1, max_length = 280)]
    pub message: Option<String>,
}

/// The body of a restock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestockBody {
    /// The SKU.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,16}$")]
    pub sku: SkuId,
    /// The number of additional units.
    #[schema(minimum = 1)]
    pub units: u32,
}

/// A SKU for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorSkuView {
    /// Its identifier within the drop.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// Its name for people.
    pub title: String,
    /// The price of one unit, in minor units.
    pub price_minor: i64,
    /// The allocated units, including restocks; in a draft, the units to be allocated.
    pub units: u32,
    /// The number of their shards; 0 in a draft.
    pub shards: u16,
}

/// A drop for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorDropView {
    /// Its identifier.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// Grows with every change.
    pub version: u64,
    /// Its progress.
    #[schema(value_type = DropStateSchema)]
    pub state: DropState,
    /// Whether reservations are paused.
    pub paused: bool,
    /// Its name for people.
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
    /// How long a reservation holds its units.
    pub hold_seconds: u32,
    /// The time limit for actions that the payment requires of the shopper.
    pub payment_seconds: u32,
    /// The time limit for all other cards after the first decline.
    pub retry_seconds: u32,
    /// How long an order waits for the payment gateway before an operator must decide.
    pub gateway_wait_seconds: u32,
    /// The largest number of units that one shopper may buy.
    pub per_shopper_limit: u32,
    /// The expected number of shoppers.
    pub expected_shoppers: u32,
    /// Whether `GET /drops` shows the drop once it is published.
    pub listed: bool,
    /// The SKUs on sale.
    pub skus: Vec<OperatorSkuView>,
    /// Settings that are allowed and may be a mistake, with the change to make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<WarningView>,
}

/// A setting that is allowed and may be a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WarningView {
    /// The kind of the warning: `gateway_rate`.
    pub code: String,
    /// The effect, and the change to make.
    pub detail: String,
}

impl From<SlowPayments> for WarningView {
    fn from(slow: SlowPayments) -> Self {
        Self {
            code: "gateway_rate".to_owned(),
            detail: slow.to_string(),
        }
    }
}

impl OperatorDropView {
    /// The drop for operators, with the payment gateway's `rate`.
    #[must_use]
    pub fn of(drop: &Drop, rate: CallRate) -> Self {
        Self {
            warnings: drop
                .slow_payments(rate)
                .map(WarningView::from)
                .into_iter()
                .collect(),
            ..Self::without_warnings(drop)
        }
    }

    fn without_warnings(drop: &Drop) -> Self {
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
            warnings: Vec::new(),
        }
    }
}

/// A decision to let an order wait longer for the payment gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepBody {
    /// How long it waits from now on before an operator must decide again.
    #[schema(minimum = 60, maximum = 86_400)]
    pub seconds: u32,
}

/// A decision to end an order that waits for the payment gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndBody {
    /// Whether the operator states that the gateway does not have the order's payment and never will: a look-up that finds nothing then ends the order.
    pub not_at_gateway: bool,
}

/// An order for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorOrderView {
    /// Its identifier.
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// The drop.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The SKU.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// The number of units.
    pub quantity: u32,
    /// The amount.
    #[schema(value_type = MoneySchema)]
    pub amount: Money,
    /// Its status.
    #[schema(value_type = OrderStatusSchema)]
    pub status: OrderStatus,
    /// The reason why it ended without payment.
    #[schema(value_type = Option<EndReasonSchema>)]
    pub reason: Option<EndReason>,
    /// The reason why it is to end unpaid, once the gateway says that no money has moved.
    #[schema(value_type = Option<EndReasonSchema>)]
    pub cancel_requested: Option<EndReason>,
    /// The gateway's id of the payment, once it has one.
    pub payment_id: Option<String>,
    /// Whether the gateway or the shop must act next; otherwise the shopper must, or the order has ended.
    pub waits_for_gateway: bool,
    /// The time since which it waits for the gateway.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waiting_since: Option<Moment>,
    /// The time from which an operator must decide.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub late_from: Option<Moment>,
    /// Whether that time has passed.
    pub late: bool,
    /// The number of times that an operator has kept it.
    pub kept: u32,
    /// Whether an operator has stated that the gateway does not know its payment.
    pub not_at_gateway: bool,
    /// Its version.
    pub version: u32,
    /// The time at which it was placed.
    #[schema(value_type = String, format = DateTime)]
    pub placed_at: Moment,
    /// The time of its last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Moment,
}

impl OperatorOrderView {
    /// The order for operators at `now`.
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
    /// The orders, in an arbitrary sequence. A page may have fewer orders than `limit`, or none, and still be followed by another.
    pub orders: Vec<OperatorOrderView>,
    /// The `cursor` of the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

/// The text of a drop's state.
#[derive(utoipa::ToSchema)]
#[schema(as = DropState, rename_all = "snake_case")]
#[allow(dead_code, missing_docs)]
pub enum DropStateSchema {
    Draft,
    Publishing,
    Scheduled,
    Cancelling,
    Cancelled,
}

/// One part of a drop's capacity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartView {
    /// Its kind.
    #[schema(value_type = PartKindSchema)]
    pub kind: PartKind,
    /// Its name.
    pub name: String,
    /// The wanted amount: units of provisioned concurrency, ACU or instances, write units, concurrent invocations, or one answer.
    pub wanted: f64,
    /// The existing amount.
    pub there: f64,
    /// Whether the amount suffices and no change is in progress.
    pub ready: bool,
}

/// The consequence of a drop's readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RulingView {
    /// It opens at the announced time, for as many shoppers as its plan serves.
    AsPlanned,
    /// It opens at the announced time, for fewer shoppers than its plan serves.
    AdmitFewer,
    /// Move its start to `move_start_to`, in the drop and in the calendar.
    MoveStart,
}

/// The readiness of a drop's capacity, by the last run of pre-scaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReadinessView {
    /// The drop.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// The time of the last run; runs come every minute.
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Moment,
    /// Whether all parts were ready at that time.
    pub ready: bool,
    /// The time at which all parts must be ready.
    #[schema(value_type = String, format = DateTime)]
    pub ready_by: Moment,
    /// The estimated time at which all parts will be ready; `checked_at` if they are.
    #[schema(value_type = String, format = DateTime)]
    pub estimated_ready_at: Moment,
    /// Whether the estimate is in time.
    pub on_course: bool,
    /// The parts.
    pub parts: Vec<PartView>,
    /// The consequence.
    pub ruling: RulingView,
    /// With `move_start`: the new start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub move_start_to: Option<Moment>,
    /// The share of the expected demand that may be admitted.
    #[schema(minimum = 0, maximum = 1)]
    pub share: f64,
    /// Shoppers a second who may be admitted at the opening.
    pub shoppers_per_second: f64,
    /// Invocations beyond provisioned concurrency in the minute before.
    pub spill_over: u64,
    /// Settings that are allowed and may be a mistake, with the change to make. More capacity does not help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<WarningView>,
}

impl From<Part> for PartView {
    fn from(part: Part) -> Self {
        Self {
            kind: part.kind,
            name: part.name,
            wanted: part.wanted,
            there: part.there,
            ready: part.ready,
        }
    }
}

impl ReadinessView {
    /// The readiness of `drop`, with the payment gateway's `rate`.
    #[must_use]
    pub fn of(readiness: Readiness, drop: &Drop, rate: CallRate) -> Self {
        let (ruling, to) = match readiness.ruling {
            Ruling::AsPlanned => (RulingView::AsPlanned, None),
            Ruling::AdmitFewer => (RulingView::AdmitFewer, None),
            Ruling::MoveStart { to } => (RulingView::MoveStart, Some(to)),
        };
        Self {
            drop_id: readiness.drop,
            checked_at: readiness.at.into(),
            ready: readiness.ready,
            ready_by: readiness.ready_by.into(),
            estimated_ready_at: readiness.estimated_at.into(),
            on_course: readiness.on_course,
            parts: readiness.parts.into_iter().map(PartView::from).collect(),
            ruling,
            move_start_to: to.map(Moment::from),
            share: readiness.share.factor(),
            shoppers_per_second: readiness.shoppers_per_second,
            spill_over: readiness.spill_over,
            warnings: drop
                .slow_payments(rate)
                .map(WarningView::from)
                .into_iter()
                .collect(),
        }
    }
}

/// The text of a part's kind.
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
