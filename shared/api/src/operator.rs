//! What operators say and see.

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

/// A SKU as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkuBody {
    /// Its identifier within the drop.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,16}$")]
    pub sku: SkuId,
    /// What people call it: 1 to 120 bytes.
    #[schema(min_length = 1, max_length = 120)]
    pub title: String,
    /// The price of one unit, in minor units. Each currency has a smallest amount, about a dollar, and some a step.
    #[schema(minimum = 1, maximum = 99_999_999)]
    pub price_minor: i64,
    /// How many units are sold.
    #[schema(minimum = 1)]
    pub units: u32,
}

/// A drop as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropBody {
    /// What people call it: 1 to 120 bytes.
    #[schema(min_length = 1, max_length = 120)]
    pub title: String,
    /// The currency of all prices, by its code in ISO 4217; one of those that the payment gateway takes.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    pub currency: Currency,
    /// From when on reservations are taken.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
    /// From when on they no longer are.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
    /// How long a reservation holds its units.
    #[schema(minimum = 15, maximum = 3_600)]
    pub hold_seconds: u32,
    /// How long a shopper may take for what the payment asks of them.
    #[schema(minimum = 15, maximum = 86_400)]
    pub payment_seconds: u32,
    /// How long a shopper may take in all for other cards after the first decline; 60 if not said.
    #[serde(default = "retry_seconds")]
    #[schema(minimum = 15, maximum = 86_400)]
    pub retry_seconds: u32,
    /// How long an order waits for the payment gateway before it ends unpaid; 7200 if not said.
    #[serde(default = "gateway_wait_seconds")]
    #[schema(minimum = 60, maximum = 86_400)]
    pub gateway_wait_seconds: u32,
    /// The most units one shopper may buy.
    #[schema(minimum = 1, maximum = 12)]
    pub per_shopper_limit: u32,
    /// How many shoppers are expected. Into how many shards a small allocation is cut follows from it, and how often each process may
    /// look at them: an estimate that is too low makes hot keys, one that is too high makes shoppers wait longer between two requests.
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub expected_shoppers: u32,
    /// Whether `GET /drops` shows the drop; true if not said. One that it does not show is found by its id alone, and is sold
    /// as any other.
    #[serde(default = "listed")]
    pub listed: bool,
    /// Whether `starts_at` may be in the past; false if not said. Such a drop opens as soon as it is published.
    #[serde(default)]
    pub start_may_be_past: bool,
    /// What is sold.
    #[schema(min_items = 1, max_items = 40)]
    pub skus: Vec<SkuBody>,
}

/// What a body means that does not say.
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
    /// The new end: not before the present one.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
}

/// The body of a move of the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RescheduleBody {
    /// The new start: not before the present one. The end moves by the same time.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
}

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageBody {
    /// What the status tells those who wait, 1 to 280 bytes; `null` for nothing any more.
    #[schema(min_length = 1, max_length = 280)]
    pub message: Option<String>,
}

/// The body of a restock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestockBody {
    /// Which SKU.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,16}$")]
    pub sku: SkuId,
    /// How many units more.
    #[schema(minimum = 1)]
    pub units: u32,
}

/// A SKU as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorSkuView {
    /// Its identifier within the drop.
    #[schema(value_type = String)]
    pub sku: SkuId,
    /// What people call it.
    pub title: String,
    /// The price of one unit, in minor units.
    pub price_minor: i64,
    /// Units allocated, restocks included; those to be allocated while it is a draft.
    pub units: u32,
    /// Into how many shards they are cut; 0 while it is a draft.
    pub shards: u16,
}

/// A drop as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorDropView {
    /// Its identifier.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// Grows with every change.
    pub version: u64,
    /// How far it has come.
    #[schema(value_type = DropStateSchema)]
    pub state: DropState,
    /// Whether reservations are stopped for the moment.
    pub paused: bool,
    /// What people call it.
    pub title: String,
    /// The currency of all prices.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// From when on reservations are taken.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
    /// From when on they no longer are.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
    /// How long a reservation holds its units.
    pub hold_seconds: u32,
    /// How long a shopper may take for what the payment asks of them.
    pub payment_seconds: u32,
    /// How long a shopper may take in all for other cards after the first decline.
    pub retry_seconds: u32,
    /// How long an order waits for the payment gateway before it ends unpaid.
    pub gateway_wait_seconds: u32,
    /// The most units one shopper may buy.
    pub per_shopper_limit: u32,
    /// How many shoppers are expected.
    pub expected_shoppers: u32,
    /// Whether `GET /drops` shows the drop once it is published.
    pub listed: bool,
    /// What is sold.
    pub skus: Vec<OperatorSkuView>,
    /// What may go slower than its operator expects, with what to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<WarningView>,
}

/// Something that is allowed, and may not be meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WarningView {
    /// What it is about: `gateway_rate`.
    pub code: String,
    /// What it comes to, and what to change.
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
    /// The drop as an operator sees it where the payment gateway is called at `rate`.
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

/// How long an order is kept waiting for the payment gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepBody {
    /// How long it waits from now on before an alarm asks for another decision.
    #[schema(minimum = 60, maximum = 86_400)]
    pub seconds: u32,
}

/// How an order that waits for the payment gateway is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndBody {
    /// Whether the operator states that the gateway does not know the order's payment, and never will: a look-up that finds nothing then ends the order.
    pub not_at_gateway: bool,
}

/// An order as operators see it.
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
    /// How many units.
    pub quantity: u32,
    /// For how much.
    #[schema(value_type = MoneySchema)]
    pub amount: Money,
    /// Where it stands.
    #[schema(value_type = OrderStatusSchema)]
    pub status: OrderStatus,
    /// Why it ended without payment.
    #[schema(value_type = Option<EndReasonSchema>)]
    pub reason: Option<EndReason>,
    /// Why it is to end unpaid, once the gateway says that no money has moved.
    #[schema(value_type = Option<EndReasonSchema>)]
    pub cancel_requested: Option<EndReason>,
    /// The gateway's id of the payment, once it has one.
    pub payment_id: Option<String>,
    /// Whether the gateway, or we, have to do the next thing; otherwise the shopper has, or the order has ended.
    pub waits_for_gateway: bool,
    /// Since when it waits for the gateway.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waiting_since: Option<Moment>,
    /// From when on an operator is asked to decide.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub late_from: Option<Moment>,
    /// Whether that has passed.
    pub late: bool,
    /// How often an operator has kept it.
    pub kept: u32,
    /// Whether an operator has stated that the gateway does not know its payment.
    pub not_at_gateway: bool,
    /// Its version.
    pub version: u32,
    /// When it was placed.
    #[schema(value_type = String, format = DateTime)]
    pub placed_at: Moment,
    /// When it last changed.
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
    /// The orders, in no order that means anything. A page may have fewer than asked for, or none, and still be followed by another.
    pub orders: Vec<OperatorOrderView>,
    /// What to pass as `cursor` for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// How a drop's state is written.
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
    /// What it is.
    #[schema(value_type = PartKindSchema)]
    pub kind: PartKind,
    /// Which one.
    pub name: String,
    /// How much is wanted: units of provisioned concurrency, ACU or instances, write units, invocations at a time, or one
    /// answer.
    pub wanted: f64,
    /// How much is there.
    pub there: f64,
    /// Whether that is enough, and at rest.
    pub ready: bool,
}

/// What follows from a drop's readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RulingView {
    /// It opens as announced, for as many as its plan serves.
    AsPlanned,
    /// It opens as announced, for fewer than its plan would serve.
    AdmitFewer,
    /// Move its start to `move_start_to`, in the drop and in the calendar.
    MoveStart,
}

/// How ready a drop's capacity is, by the last run of pre-scaling that looked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReadinessView {
    /// Which drop.
    #[schema(value_type = String)]
    pub drop_id: DropId,
    /// When a run last looked; runs come every minute.
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Moment,
    /// Whether all parts were ready then.
    pub ready: bool,
    /// When all must be there.
    #[schema(value_type = String, format = DateTime)]
    pub ready_by: Moment,
    /// When all will be there, as far as can be told; `checked_at` if it was.
    #[schema(value_type = String, format = DateTime)]
    pub estimated_ready_at: Moment,
    /// Whether that is in time.
    pub on_course: bool,
    /// Each part.
    pub parts: Vec<PartView>,
    /// What follows.
    pub ruling: RulingView,
    /// With `move_start`: to when.
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
    /// What may go slower than its operator expects, with what to change. Capacity does not help against it.
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
    /// How ready `drop` is, where the payment gateway is called at `rate`.
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

/// How a part's kind is written.
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
