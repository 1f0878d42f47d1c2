//! Defines a drop: the SKUs it sells, its times, and the operator's actions on it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::crowd::EXPECTED_SHOPPERS;
use crate::ids::{DropId, ShardKey, SkuId};
use crate::limits::{
    DEFAULT_GATEWAY_WAIT_SECONDS, DEFAULT_RETRY_SECONDS, LATE_MS, MAX_CARDS, MAX_GATEWAY_WAIT_SECONDS,
    MAX_HOLD_SECONDS, MAX_MESSAGE_BYTES, MAX_ORDER_MINOR, MAX_PAYMENT_SECONDS, MAX_PER_SHOPPER, MAX_SKUS,
    MAX_START_AHEAD_SECONDS, MAX_TITLE_BYTES, MIN_GATEWAY_WAIT_SECONDS, MIN_HOLD_SECONDS,
    MIN_PAYMENT_SECONDS, RESCHEDULE_BEFORE_MS,
};
use crate::money::{Currency, Money};
use crate::named;
use crate::plan::{PlanError, ShardPlan};
use crate::rate::{CallRate, SlowPayments};
use crate::saga::Terms;
use crate::text::is_text;
use crate::time::Timestamp;

named! {
    /// The progress of a drop; it never goes back to an earlier state.
    pub enum DropState {
        /// An operator edits the drop; shoppers do not see it.
        Draft = "draft",
        /// The shard plan is frozen, and the shards are being written.
        Publishing = "publishing",
        /// The shards have been written and add up to the plan. From now on the clock determines the phase.
        Scheduled = "scheduled",
        /// The drop is cancelled, and its holds and open orders are being ended.
        Cancelling = "cancelling",
        /// The drop is cancelled, and no hold or open order is left.
        Cancelled = "cancelled",
    }
}

named! {
    /// The phase of a published drop at a given time, as shoppers see it.
    pub enum Phase {
        /// The start has not come, so reservations are not accepted yet.
        Upcoming = "upcoming",
        /// Reservations are accepted.
        Open = "open",
        /// An operator has paused reservations; holds, orders and payments continue.
        Paused = "paused",
        /// The end has passed, so reservations are no longer accepted.
        Closed = "closed",
        /// An operator has cancelled the drop.
        Cancelled = "cancelled",
    }
}

/// One SKU of a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sku {
    /// The SKU's identifier within the drop.
    pub sku: SkuId,
    /// The name that shoppers see.
    pub title: String,
    /// The price of one unit, in minor units of the drop's currency.
    pub price_minor: i64,
    /// The number of units to allocate when the drop is published.
    pub units: u32,
    /// The shards of the SKU; empty until the drop is published.
    #[serde(default)]
    pub plan: ShardPlan,
}

/// The contents of a drop that an operator edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropDraft {
    /// The name that shoppers see.
    pub title: String,
    /// The currency of all prices of the drop.
    pub currency: Currency,
    /// The time at which reservations begin.
    pub starts_at: Timestamp,
    /// The time at which reservations end.
    pub ends_at: Timestamp,
    /// How long a reservation holds its units, in seconds.
    pub hold_seconds: u32,
    /// The shopper's time for actions that the first card's payment requires, in seconds.
    pub payment_seconds: u32,
    /// The shopper's time for other cards after the first decline, in seconds.
    pub retry_seconds: u32,
    /// How long an order waits for the payment gateway before the operator must decide, in seconds.
    pub gateway_wait_seconds: u32,
    /// The largest number of units that one shopper may buy.
    pub per_shopper_limit: u32,
    /// The number of shoppers that the operator expects. The number of shards and the budgets of looks follow
    /// from it.
    pub expected_shoppers: u32,
    /// Whether lists show the drop once it is published.
    pub listed: bool,
    /// The SKUs that the drop sells. Their plans are ignored.
    pub skus: Vec<Sku>,
}

/// A mistake in an operator's draft, for the answer to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the wrong field in the request, for example `skus[2].units`.
    pub field: String,
    /// The rule that the field must follow.
    pub message: String,
}

impl FieldError {
    fn new(field: &str, message: impl Into<String>) -> Self {
        let (field, message) = (field.to_owned(), message.into());
        Self { field, message }
    }
}

/// A drop as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// The drop's identifier.
    pub id: DropId,
    /// The drop's version, which grows with every change. Each write is conditional on the version that
    /// it replaces.
    pub version: u64,
    /// The progress of the drop.
    pub state: DropState,
    /// Whether an operator has paused reservations.
    pub paused: bool,
    /// The name that shoppers see.
    pub title: String,
    /// The currency of all prices of the drop.
    pub currency: Currency,
    /// The time at which reservations begin.
    pub starts_at: Timestamp,
    /// The time at which reservations end.
    pub ends_at: Timestamp,
    /// How long a reservation holds its units, in seconds.
    pub hold_seconds: u32,
    /// The shopper's time for actions that the first card's payment requires, in seconds.
    pub payment_seconds: u32,
    /// The shopper's time for other cards after the first decline, in seconds.
    #[serde(default = "retry_seconds")]
    pub retry_seconds: u32,
    /// How long an order waits for the payment gateway before the operator must decide, in seconds.
    #[serde(default = "gateway_wait_seconds")]
    pub gateway_wait_seconds: u32,
    /// The largest number of units that one shopper may buy.
    pub per_shopper_limit: u32,
    /// The number of shoppers that the operator expects. The number of shards and the budgets of looks follow
    /// from it.
    pub expected_shoppers: u32,
    /// Whether lists show the drop once it is published. An unlisted drop is found only by its id, and sells
    /// like any other drop.
    #[serde(default = "listed")]
    pub listed: bool,
    /// The operator's message to shoppers; `None` if there is no message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The SKUs that the drop sells.
    pub skus: Vec<Sku>,
}

/// The entry of a drop in the list of drops: what the list shows of the drop, and what decides whether the drop's
/// document is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedDrop {
    /// The drop's id.
    pub id: DropId,
    /// The version of the drop's document.
    pub version: u64,
    /// The drop's state; never a draft's in the list.
    pub state: DropState,
    /// Whether the drop is paused.
    pub paused: bool,
    /// The drop's title.
    pub title: String,
    /// The time from which on units can be reserved.
    pub starts_at: Timestamp,
    /// The time from which on no unit can be reserved.
    pub ends_at: Timestamp,
}

impl ListedDrop {
    /// The phase of the drop at `now`; `None` while the drop is not published.
    #[must_use]
    pub fn phase(&self, now: Timestamp) -> Option<Phase> {
        phase(self.state, self.paused, self.starts_at..self.ends_at, now)
    }

    /// The position in the list, which begins with the latest position.
    #[must_use]
    pub fn position(&self) -> (Timestamp, &DropId) {
        (self.starts_at, &self.id)
    }
}

fn phase(state: DropState, paused: bool, open: Range<Timestamp>, now: Timestamp) -> Option<Phase> {
    match state {
        DropState::Draft | DropState::Publishing => None,
        DropState::Cancelling | DropState::Cancelled => Some(Phase::Cancelled),
        DropState::Scheduled if now >= open.end => Some(Phase::Closed),
        DropState::Scheduled if paused => Some(Phase::Paused),
        DropState::Scheduled if now < open.start => Some(Phase::Upcoming),
        DropState::Scheduled => Some(Phase::Open),
    }
}

/// The value of [`Drop::listed`] in a request without this member, and in a drop that was stored before unlisted drops
/// existed.
#[must_use]
pub const fn listed() -> bool {
    true
}

/// The value of [`Drop::retry_seconds`] in a request or a stored drop without this member.
#[must_use]
pub const fn retry_seconds() -> u32 {
    DEFAULT_RETRY_SECONDS
}

/// The value of [`Drop::gateway_wait_seconds`] in a request or a stored drop without this member.
#[must_use]
pub const fn gateway_wait_seconds() -> u32 {
    DEFAULT_GATEWAY_WAIT_SECONDS
}

/// The error for an operator's action that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DropError {
    /// The action is not possible in the drop's current state, which is contained.
    #[error("not possible while the drop is {0:?}")]
    WrongState(DropState),
    /// The end of the drop has passed, so it can no longer be published, extended or restocked.
    #[error("the drop has ended")]
    Ended,
    /// The new end is before the present end. An end can only be moved later.
    #[error("the end can only be moved to later")]
    NotLater,
    /// The new start is before the present start, or more than a year from now.
    #[error("the start can only be moved to later, within a year from now")]
    StartNotLater,
    /// The start is too close to be moved: a process may still open the drop at the old start.
    #[error("the start can no longer be moved")]
    TooLateToMove,
    /// The message is too long, empty, or contains control characters.
    #[error("the message is none")]
    BadMessage,
    /// The restock names a SKU that is not in the drop.
    #[error("the drop has no such SKU")]
    UnknownSku,
    /// The SKU's shard plan cannot be extended by the restock.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The same idempotency key was used for another number of units or another SKU.
    #[error("the same request was made before with other contents")]
    OtherRequest,
}

impl DropDraft {
    /// The mistake in the draft's start at `now`, the time of the edit; `None` if there is no mistake. A
    /// stored start that has passed since its edit is not a mistake. A start in the past opens the drop as
    /// soon as it is published, so the caller must allow it explicitly.
    #[must_use]
    pub fn mistimed(&self, now: Timestamp, start_may_be_past: bool) -> Option<FieldError> {
        let message = if self.starts_at > now.plus_seconds(MAX_START_AHEAD_SECONDS) {
            "within a year from now"
        } else if self.starts_at < now && !start_may_be_past {
            "not in the past, unless start_may_be_past is true"
        } else {
            return None;
        };
        Some(FieldError::new("starts_at", message))
    }

    /// All mistakes in the draft, apart from its times at the time of the edit. The draft can be stored if
    /// the list is empty.
    #[must_use]
    pub fn mistakes(&self) -> Vec<FieldError> {
        let mut found = Vec::new();
        let mut check = |ok: bool, field: &str, message: String| {
            if !ok {
                found.push(FieldError::new(field, message));
            }
        };
        let title_rule = format!("1 to {MAX_TITLE_BYTES} bytes, without control characters");
        check(is_title(&self.title), "title", title_rule.clone());
        let ends_later = self.starts_at < self.ends_at;
        check(ends_later, "ends_at", "after starts_at".to_owned());
        let pay = MIN_PAYMENT_SECONDS..=MAX_PAYMENT_SECONDS;
        let wait = MIN_GATEWAY_WAIT_SECONDS..=MAX_GATEWAY_WAIT_SECONDS;
        for (field, number, range) in [
            (
                "hold_seconds",
                self.hold_seconds,
                MIN_HOLD_SECONDS..=MAX_HOLD_SECONDS,
            ),
            ("payment_seconds", self.payment_seconds, pay.clone()),
            ("retry_seconds", self.retry_seconds, pay),
            ("gateway_wait_seconds", self.gateway_wait_seconds, wait),
            ("per_shopper_limit", self.per_shopper_limit, 1..=MAX_PER_SHOPPER),
            ("expected_shoppers", self.expected_shoppers, EXPECTED_SHOPPERS),
        ] {
            let rule = format!("{} to {}", range.start(), range.end());
            check(range.contains(&number), field, rule);
        }
        let has_skus = (1..=MAX_SKUS).contains(&self.skus.len());
        check(has_skus, "skus", format!("1 to {MAX_SKUS}"));
        for (n, sku) in self.skus.iter().enumerate().take(MAX_SKUS) {
            let mut check = |ok, field: &str, rule| check(ok, &format!("skus[{n}].{field}"), rule);
            let twice = self.skus.iter().take(n).any(|other| other.sku == sku.sku);
            check(!twice, "sku", "each SKU once".to_owned());
            check(is_title(&sku.title), "title", title_rule.clone());
            let price = sku.price_minor;
            check(self.currency.takes(price), "price_minor", self.currency.rule());
            let limit = self.per_shopper_limit.clamp(1, MAX_PER_SHOPPER);
            let most = format!("at most {MAX_ORDER_MINOR} for as many units as one shopper may have");
            let fits = price.saturating_mul(i64::from(limit)) <= MAX_ORDER_MINOR;
            check(fits, "price_minor", most);
            if let Err(error) = ShardPlan::default().extend(sku.units, limit, self.expected_shoppers, None) {
                check(false, "units", error.to_string());
            }
        }
        found
    }
}

fn is_title(text: &str) -> bool {
    is_text(text, MAX_TITLE_BYTES)
}

impl Drop {
    /// A new drop at version 1, made from a draft. The caller must have checked [`DropDraft::mistakes`].
    #[must_use]
    pub fn draft(id: DropId, draft: DropDraft) -> Self {
        let mut skus = draft.skus;
        skus.iter_mut().for_each(|sku| sku.plan = ShardPlan::default());
        Self {
            id,
            version: 1,
            state: DropState::Draft,
            paused: false,
            title: draft.title,
            currency: draft.currency,
            starts_at: draft.starts_at,
            ends_at: draft.ends_at,
            hold_seconds: draft.hold_seconds,
            payment_seconds: draft.payment_seconds,
            retry_seconds: draft.retry_seconds,
            gateway_wait_seconds: draft.gateway_wait_seconds,
            per_shopper_limit: draft.per_shopper_limit,
            expected_shoppers: draft.expected_shoppers,
            listed: draft.listed,
            message: None,
            skus,
        }
    }

    /// The next version of the drop, with `draft`'s contents. After the drop has left the draft state, only
    /// the same contents are accepted, and they change nothing, so that a repeat succeeds.
    ///
    /// # Errors
    /// [`DropError::WrongState`] if the drop has left the draft state and the contents differ.
    pub fn edit(&self, draft: DropDraft) -> Result<Self, DropError> {
        let edited = Self {
            version: self.version + 1,
            ..Self::draft(self.id.clone(), draft)
        };
        if self.state == DropState::Draft {
            return Ok(edited);
        }
        let mut contents = self.clone();
        contents
            .skus
            .iter_mut()
            .for_each(|sku| sku.plan = ShardPlan::default());
        let with_contents = Self {
            version: self.version,
            state: self.state,
            paused: self.paused,
            message: self.message.clone(),
            ..edited
        };
        if contents == with_contents {
            Ok(self.clone())
        } else {
            Err(DropError::WrongState(self.state))
        }
    }

    /// The phase of the drop at `now`; `None` while the drop is not published.
    #[must_use]
    pub fn phase(&self, now: Timestamp) -> Option<Phase> {
        phase(self.state, self.paused, self.starts_at..self.ends_at, now)
    }

    /// The drop's entry in the list of drops.
    #[must_use]
    pub fn entry(&self) -> ListedDrop {
        ListedDrop {
            id: self.id.clone(),
            version: self.version,
            state: self.state,
            paused: self.paused,
            title: self.title.clone(),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
        }
    }

    /// Whether shoppers see the drop.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        matches!(
            self.state,
            DropState::Scheduled | DropState::Cancelling | DropState::Cancelled
        )
    }

    /// Whether a newer document may contradict the drop's phase at `now`, since the drop may have been
    /// published or extended since. A process with an outdated copy of the drop must not answer with such
    /// a phase.
    #[must_use]
    pub fn needs_the_newest(&self, now: Timestamp) -> bool {
        matches!(self.phase(now), None | Some(Phase::Closed | Phase::Cancelled))
    }

    /// When the last hold of this drop has expired on every clock. Requests may still claim units shortly
    /// after the drop's end.
    #[must_use]
    pub fn last_hold_ends_at(&self) -> Timestamp {
        self.ends_at.plus_seconds(self.hold_seconds).plus_millis(LATE_MS)
    }

    /// The time limits and the number of cards of a shopper's first order in the drop.
    #[must_use]
    pub const fn terms(&self) -> Terms {
        Terms {
            payment_seconds: self.payment_seconds,
            retry_seconds: self.retry_seconds,
            gateway_wait_seconds: self.gateway_wait_seconds,
            cards: MAX_CARDS,
        }
    }

    /// The SKU with this identifier; `None` if the drop does not sell it.
    #[must_use]
    pub fn sku(&self, sku: &SkuId) -> Option<&Sku> {
        self.skus.iter().find(|s| s.sku == *sku)
    }

    /// The price of one unit of `sku`.
    #[must_use]
    pub fn price(&self, sku: &Sku) -> Money {
        Money {
            amount_minor: sku.price_minor,
            currency: self.currency,
        }
    }

    /// A warning for the operator that the drop's payments take longer at the gateway's `rate` than shoppers
    /// have to pay; `None` if the rate suffices.
    #[must_use]
    pub fn slow_payments(&self, rate: CallRate) -> Option<SlowPayments> {
        let units = |sku: &Sku| u64::from(sku.units.max(sku.plan.units()));
        SlowPayments::of(self.skus.iter().map(units).sum(), self.payment_seconds, rate)
    }

    /// Every shard of the drop and its allocation.
    pub fn allocations(&self) -> impl Iterator<Item = (ShardKey, u32)> + '_ {
        self.skus.iter().flat_map(move |sku| {
            let key = move |index| ShardKey::of(&self.id, &sku.sku, index);
            let allocations = sku.plan.allocations();
            allocations.map(move |(index, units)| (key(index), units))
        })
    }

    /// The first half of publishing: freezes the shard plan. A repeat after publishing changes nothing.
    ///
    /// # Errors
    /// [`DropError::WrongState`] when the drop is cancelled, [`DropError::Ended`] when its end has passed,
    /// [`DropError::Plan`] when its units do not fit into shards.
    pub fn start_publishing(&self, now: Timestamp) -> Result<Self, DropError> {
        match self.state {
            DropState::Publishing | DropState::Scheduled => return Ok(self.clone()),
            DropState::Cancelling | DropState::Cancelled => return Err(DropError::WrongState(self.state)),
            DropState::Draft => {}
        }
        if now >= self.ends_at {
            return Err(DropError::Ended);
        }
        let mut next = self.next(DropState::Publishing);
        for sku in &mut next.skus {
            sku.plan = ShardPlan::default();
            sku.plan
                .extend(sku.units, self.per_shopper_limit, self.expected_shoppers, None)?;
        }
        Ok(next)
    }

    /// The second half of publishing. The caller must have read all shards back and found that they add up to
    /// the plan.
    ///
    /// # Errors
    /// [`DropError::WrongState`] unless publishing has started.
    pub fn finish_publishing(&self) -> Result<Self, DropError> {
        match self.state {
            DropState::Scheduled => Ok(self.clone()),
            DropState::Publishing => Ok(self.next(DropState::Scheduled)),
            other => Err(DropError::WrongState(other)),
        }
    }

    /// Pauses or resumes reservations. Holds, orders and payments continue.
    ///
    /// # Errors
    /// [`DropError::WrongState`] unless the drop is scheduled.
    pub fn set_paused(&self, paused: bool) -> Result<Self, DropError> {
        self.scheduled()?;
        if self.paused == paused {
            return Ok(self.clone());
        }
        Ok(Self {
            paused,
            ..self.next(self.state)
        })
    }

    /// Moves the end of the drop later. The present end is accepted and changes nothing.
    ///
    /// # Errors
    /// [`DropError::NotLater`] for an earlier end, [`DropError::Ended`] once the end has passed,
    /// [`DropError::WrongState`] unless the drop is scheduled.
    pub fn extend(&self, ends_at: Timestamp, now: Timestamp) -> Result<Self, DropError> {
        self.scheduled()?;
        if ends_at == self.ends_at {
            return Ok(self.clone());
        }
        if now >= self.ends_at {
            return Err(DropError::Ended);
        }
        if ends_at < self.ends_at {
            return Err(DropError::NotLater);
        }
        Ok(Self {
            ends_at,
            ..self.next(self.state)
        })
    }

    /// Moves the start later, and the end by the same time. The present start is accepted and
    /// changes nothing.
    ///
    /// # Errors
    /// [`DropError::TooLateToMove`] from [`RESCHEDULE_BEFORE_MS`] before the start on,
    /// [`DropError::StartNotLater`] for an earlier start or one more than a year from now,
    /// [`DropError::WrongState`] unless the drop is scheduled.
    pub fn reschedule(&self, starts_at: Timestamp, now: Timestamp) -> Result<Self, DropError> {
        self.scheduled()?;
        if starts_at == self.starts_at {
            return Ok(self.clone());
        }
        if now >= self.starts_at.plus_millis(-RESCHEDULE_BEFORE_MS) {
            return Err(DropError::TooLateToMove);
        }
        if starts_at < self.starts_at || starts_at > now.plus_seconds(MAX_START_AHEAD_SECONDS) {
            return Err(DropError::StartNotLater);
        }
        Ok(Self {
            starts_at,
            ends_at: self.ends_at.plus_millis(starts_at.millis_since(self.starts_at)),
            ..self.next(self.state)
        })
    }

    /// Sets the message to shoppers, or removes it with `None`.
    ///
    /// # Errors
    /// [`DropError::BadMessage`] for a text that is empty, too long or contains control characters,
    /// [`DropError::WrongState`] unless the drop is scheduled.
    pub fn announce(&self, message: Option<String>) -> Result<Self, DropError> {
        self.scheduled()?;
        let fits = |text: &String| is_text(text, MAX_MESSAGE_BYTES);
        if !message.as_ref().is_none_or(fits) {
            return Err(DropError::BadMessage);
        }
        if message == self.message {
            return Ok(self.clone());
        }
        Ok(Self {
            message,
            ..self.next(self.state)
        })
    }

    /// Adds `units` to `sku`. `request` is a hash of the idempotency key; a repeat with the same hash
    /// changes nothing.
    ///
    /// # Errors
    /// [`DropError`] when the drop is not scheduled or has ended, does not sell the SKU, or a limit of the
    /// plan would be exceeded, and when `request` was used for another restock.
    pub fn restock(&self, sku: &SkuId, units: u32, request: &str, now: Timestamp) -> Result<Self, DropError> {
        self.scheduled()?;
        let earlier = self
            .skus
            .iter()
            .find_map(|s| s.plan.added_by(request).map(|segment| (&s.sku, segment.units)));
        match earlier {
            Some(done) if done == (sku, units) => return Ok(self.clone()),
            Some(_) => return Err(DropError::OtherRequest),
            None => {}
        }
        if now >= self.ends_at {
            return Err(DropError::Ended);
        }
        let mut next = self.next(self.state);
        let found = next
            .skus
            .iter_mut()
            .find(|s| s.sku == *sku)
            .ok_or(DropError::UnknownSku)?;
        found.plan.extend(
            units,
            self.per_shopper_limit,
            self.expected_shoppers,
            Some(request.to_owned()),
        )?;
        Ok(next)
    }

    /// Cancels the drop. A drop that was never visible is cancelled immediately. For a visible drop, holds
    /// and open orders must be ended first ([`Drop::finish_cancelling`]).
    ///
    /// # Errors
    /// None at present. A second cancellation is accepted and changes nothing.
    pub fn cancel(&self) -> Result<Self, DropError> {
        Ok(match self.state {
            DropState::Draft | DropState::Publishing => self.next(DropState::Cancelled),
            DropState::Scheduled => self.next(DropState::Cancelling),
            DropState::Cancelling | DropState::Cancelled => self.clone(),
        })
    }

    /// Completes a cancellation. The caller must have found that no claim is left.
    ///
    /// # Errors
    /// [`DropError::WrongState`] unless the drop is being cancelled.
    pub fn finish_cancelling(&self) -> Result<Self, DropError> {
        match self.state {
            DropState::Cancelled => Ok(self.clone()),
            DropState::Cancelling => Ok(self.next(DropState::Cancelled)),
            other => Err(DropError::WrongState(other)),
        }
    }

    fn scheduled(&self) -> Result<(), DropError> {
        if self.state == DropState::Scheduled {
            Ok(())
        } else {
            Err(DropError::WrongState(self.state))
        }
    }

    fn next(&self, state: DropState) -> Self {
        Self {
            version: self.version + 1,
            state,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u32) -> Timestamp {
        Timestamp::from_millis(0).plus_seconds(s)
    }

    fn draft() -> DropDraft {
        DropDraft {
            title: "Autumn".into(),
            currency: "EUR".parse().unwrap(),
            starts_at: at(100),
            ends_at: at(200),
            hold_seconds: 60,
            payment_seconds: 60,
            retry_seconds: 60,
            gateway_wait_seconds: 7_200,
            per_shopper_limit: 2,
            expected_shoppers: 1_000,
            listed: true,
            skus: vec![Sku {
                sku: "TEE-M".parse().unwrap(),
                title: "Tee".into(),
                price_minor: 4900,
                units: 25,
                plan: ShardPlan::default(),
            }],
        }
    }

    fn scheduled() -> Drop {
        let drop = Drop::draft("d".parse().unwrap(), draft());
        drop.start_publishing(at(0)).unwrap().finish_publishing().unwrap()
    }

    #[test]
    fn no_order_can_cost_more_than_a_gateway_takes() {
        let mut dear = draft();
        dear.skus[0].price_minor = MAX_ORDER_MINOR / 2;
        assert_eq!(dear.mistakes(), vec![]);
        dear.skus[0].price_minor += 1;
        let fields: Vec<_> = dear.mistakes().into_iter().map(|m| m.field).collect();
        assert_eq!(fields, ["skus[0].price_minor"]);
    }

    #[test]
    fn all_mistakes_are_named_together() {
        assert_eq!(draft().mistakes(), vec![]);
        let mut bad = draft();
        bad.title = " ".into();
        bad.ends_at = bad.starts_at;
        bad.hold_seconds = 1;
        bad.payment_seconds = 0;
        bad.retry_seconds = 0;
        bad.gateway_wait_seconds = 0;
        bad.per_shopper_limit = 0;
        bad.expected_shoppers = 0;
        let twin = Sku {
            price_minor: 0,
            units: 0,
            title: "\u{7}".into(),
            ..bad.skus[0].clone()
        };
        bad.skus.push(twin);
        let fields: Vec<_> = bad.mistakes().into_iter().map(|m| m.field).collect();
        assert_eq!(
            fields,
            [
                "title",
                "ends_at",
                "hold_seconds",
                "payment_seconds",
                "retry_seconds",
                "gateway_wait_seconds",
                "per_shopper_limit",
                "expected_shoppers",
                "skus[1].sku",
                "skus[1].title",
                "skus[1].price_minor",
                "skus[1].units"
            ]
        );
    }

    #[test]
    fn phases_follow_the_clock() {
        let drop = scheduled();
        assert_eq!(Drop::draft("d".parse().unwrap(), draft()).phase(at(150)), None);
        assert_eq!(drop.phase(at(99)), Some(Phase::Upcoming));
        assert_eq!(drop.phase(at(100)), Some(Phase::Open));
        assert_eq!(drop.phase(at(200)), Some(Phase::Closed));
        let paused = drop.set_paused(true).unwrap();
        assert_eq!(paused.phase(at(150)), Some(Phase::Paused));
        assert_eq!(paused.phase(at(200)), Some(Phase::Closed));
        assert_eq!(drop.cancel().unwrap().phase(at(150)), Some(Phase::Cancelled));
    }

    #[test]
    fn publishing_freezes_the_plan_and_repeats_change_nothing() {
        let drop = scheduled();
        assert_eq!(drop.allocations().map(|(_, u)| u).collect::<Vec<_>>(), [24, 1]);
        assert_eq!(drop.start_publishing(at(0)).unwrap(), drop);
        assert_eq!(drop.finish_publishing().unwrap(), drop);
        assert_eq!(drop.edit(draft()).unwrap(), drop, "the same contents again");
        let other = DropDraft {
            title: "Winter".into(),
            ..draft()
        };
        assert_eq!(drop.edit(other), Err(DropError::WrongState(DropState::Scheduled)));
        let unlisted = DropDraft {
            listed: false,
            ..draft()
        };
        assert_eq!(
            drop.edit(unlisted.clone()),
            Err(DropError::WrongState(DropState::Scheduled))
        );
        let edited = Drop::draft(drop.id.clone(), draft()).edit(unlisted);
        assert!(!edited.unwrap().listed, "a draft can still change");
        assert_eq!(
            Drop::draft("d".parse().unwrap(), draft()).start_publishing(at(200)),
            Err(DropError::Ended)
        );
    }

    #[test]
    fn a_restock_is_done_once() {
        let drop = scheduled();
        let sku: SkuId = "TEE-M".parse().unwrap();
        let more = drop.restock(&sku, 10, "key", at(150)).unwrap();
        assert_eq!(more.allocations().map(|(_, u)| u).sum::<u32>(), 35);
        assert_eq!(more.restock(&sku, 10, "key", at(150)).unwrap(), more);
        assert_eq!(
            more.restock(&sku, 11, "key", at(150)),
            Err(DropError::OtherRequest)
        );
        assert_eq!(
            drop.restock(&"NO".parse().unwrap(), 1, "k", at(150)),
            Err(DropError::UnknownSku)
        );
        assert_eq!(drop.restock(&sku, 1, "k", at(200)), Err(DropError::Ended));
    }

    #[test]
    fn an_end_moves_later_only_and_only_in_time() {
        let drop = scheduled();
        assert_eq!(drop.extend(at(300), at(150)).unwrap().ends_at, at(300));
        assert_eq!(drop.extend(at(199), at(150)), Err(DropError::NotLater));
        assert_eq!(drop.extend(at(300), at(200)), Err(DropError::Ended));
        assert_eq!(drop.extend(at(200), at(900)).unwrap(), drop);
    }

    #[test]
    fn cancelling_ends_once() {
        let drop = scheduled();
        let cancelled = drop.cancel().unwrap().finish_cancelling().unwrap();
        assert_eq!(cancelled.state, DropState::Cancelled);
        assert_eq!(cancelled.cancel().unwrap(), cancelled);
        let unseen = Drop::draft("d".parse().unwrap(), draft())
            .start_publishing(at(0))
            .unwrap();
        let unseen = unseen.cancel().unwrap();
        assert_eq!(unseen.state, DropState::Cancelled, "nobody can have a claim yet");
        assert!(unseen.finish_publishing().is_err());
        assert!(cancelled.set_paused(true).is_err() && cancelled.start_publishing(at(0)).is_err());
        assert!(drop.finish_cancelling().is_err());
    }

    #[test]
    fn a_start_moves_later_with_its_end_until_shortly_before_it() {
        let drop = scheduled();
        let moved = drop.reschedule(at(130), at(0)).unwrap();
        assert_eq!(moved.starts_at, at(130));
        assert_eq!(moved.ends_at, at(230));
        assert_eq!(moved.version, drop.version + 1);
        assert_eq!(moved.reschedule(at(130), at(129)), Ok(moved.clone()), "a repeat");
        assert_eq!(drop.reschedule(at(99), at(0)), Err(DropError::StartNotLater));
        let far = at(1 + MAX_START_AHEAD_SECONDS);
        assert_eq!(drop.reschedule(far, at(0)), Err(DropError::StartNotLater));
        let last = drop.starts_at.plus_millis(-RESCHEDULE_BEFORE_MS);
        assert!(drop.reschedule(at(130), last.plus_millis(-1)).is_ok());
        assert_eq!(drop.reschedule(at(130), last), Err(DropError::TooLateToMove));
        let draft = Drop::draft("d".parse().unwrap(), draft());
        assert_eq!(
            draft.reschedule(at(130), at(0)),
            Err(DropError::WrongState(DropState::Draft))
        );
    }

    #[test]
    fn a_message_is_told_until_it_is_taken_back() {
        let drop = scheduled();
        let told = drop.announce(Some("Five minutes more.".into())).unwrap();
        assert_eq!(told.message.as_deref(), Some("Five minutes more."));
        assert_eq!(told.announce(told.message.clone()), Ok(told.clone()));
        assert_eq!(told.announce(None).unwrap().message, None);
        for bad in ["", " ", "a\nb", &"x".repeat(MAX_MESSAGE_BYTES + 1)] {
            assert_eq!(
                drop.announce(Some(bad.into())),
                Err(DropError::BadMessage),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_start_in_the_past_must_be_meant() {
        let draft = draft();
        assert_eq!(draft.mistimed(at(100), false), None);
        assert_eq!(draft.mistimed(at(101), true), None);
        assert_eq!(draft.mistimed(at(101), false).unwrap().field, "starts_at");
        let far = Timestamp::from_millis(-1_000 * i64::from(MAX_START_AHEAD_SECONDS));
        assert_eq!(draft.mistimed(far, true).unwrap().field, "starts_at");
    }
}
