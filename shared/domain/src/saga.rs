//! Defines the saga of an order: one table of its transitions, and the history from which its state follows.
//!
//! A status determines the next *action*, and the *compensation* that must come before the order may end
//! unpaid ([`step`]). A [`Cause`] changes an order's status ([`State::after`]). A cause is refused if the
//! table has no transition for it from the current status.
//!
//! | status | whose turn | action | compensation |
//! |---|---|---|---|
//! | placed | gateway | create the payment | none: nothing was ever confirmed |
//! | paying | gateway | confirm the payment by try n | cancel the payment at the gateway |
//! | action_required | shopper | look the payment up | cancel the payment at the gateway |
//! | payment_failed | shopper | wait for another card | cancel the payment at the gateway |
//!
//! **Time.** The shopper has `shopper_left_ms` in all. This time runs only in the shopper's turn. The first
//! decline sets it to the time for other cards. After that only a long wait for the gateway adds to this time
//! ([`RETURN_MS`]), since a shopper who has waited for [`LONG_WAIT_MS`] has probably left the page. In the
//! gateway's turn the order waits without a time limit. After `gateway_wait_seconds`, the operator keeps the
//! order or ends it.

use std::fmt;
use std::str::FromStr;

use crate::limits::{LONG_WAIT_MS, MAX_CARDS, MAX_DECLINES, RETURN_MS};
use crate::order_status::{EndReason, NotPossible, OrderStatus, StockEffect};
use crate::time::Timestamp;
use crate::{named, serde_as_text};

named! {
    /// Who must act next on an open order.
    pub enum Turn {
        /// The shopper: the shopper's time for payment runs.
        Shopper = "shopper",
        /// The gateway or this system: the shopper's time is paused.
        Gateway = "gateway",
    }
}

named! {
    /// The cause of a change of an order's status, of its turn, or of the request to end it.
    pub enum Cause {
        /// The order was placed, with its first card.
        Placed = "placed",
        /// The order stored the gateway's id of its payment.
        Created = "created",
        /// The gateway requires an action of the shopper.
        ActionNeeded = "action_needed",
        /// The shopper acted, and the gateway processes the payment.
        Acted = "acted",
        /// A temporary decline, after which the system tries the same card again.
        TriedAgain = "tried_again",
        /// The gateway declined the card, and the shopper may submit another card.
        Declined = "declined",
        /// The shopper submitted another card.
        AnotherCard = "another_card",
        /// The order is to end because no card is left.
        GiveUpDeclined = "give_up_declined",
        /// The order is to end because the shopper's time is over.
        GiveUpDeadline = "give_up_deadline",
        /// The order is to end because the shopper requests the cancellation.
        GiveUpByShopper = "give_up_by_shopper",
        /// The order is to end because the drop was cancelled.
        GiveUpDropCancelled = "give_up_drop_cancelled",
        /// The order is to end because the operator decided so after a long wait for the gateway.
        GiveUpGateway = "give_up_gateway",
        /// The operator lets the order wait for the gateway for longer.
        Kept = "kept",
        /// The operator states that the gateway does not know the payment of an order whose end
        /// was requested.
        NotAtGateway = "not_at_gateway",
        /// The money was taken, and the order is paid.
        Paid = "paid",
        /// The order ended: no card may be tried any more, or the payment was cancelled at the gateway, but
        /// not by this system.
        EndedDeclined = "ended_declined",
        /// The order ended: the shopper's time to pay has passed.
        EndedDeadline = "ended_deadline",
        /// The order ended: the shopper requested the cancellation.
        EndedByShopper = "ended_by_shopper",
        /// The order ended: the drop was cancelled.
        EndedDropCancelled = "ended_drop_cancelled",
        /// The order ended: the gateway was unavailable for too long.
        EndedGateway = "ended_gateway",
        /// The money was refunded to the shopper.
        Refunded = "refunded",
    }
}

impl Cause {
    /// The cause that requests the end of an order for `reason`.
    #[must_use]
    pub const fn give_up(reason: EndReason) -> Self {
        match reason {
            EndReason::PaymentDeclined => Self::GiveUpDeclined,
            EndReason::PaymentDeadline => Self::GiveUpDeadline,
            EndReason::ByShopper => Self::GiveUpByShopper,
            EndReason::DropCancelled => Self::GiveUpDropCancelled,
            EndReason::GatewayUnavailable => Self::GiveUpGateway,
        }
    }

    /// The cause that ends an order for `reason`.
    #[must_use]
    pub const fn ended(reason: EndReason) -> Self {
        match reason {
            EndReason::PaymentDeclined => Self::EndedDeclined,
            EndReason::PaymentDeadline => Self::EndedDeadline,
            EndReason::ByShopper => Self::EndedByShopper,
            EndReason::DropCancelled => Self::EndedDropCancelled,
            EndReason::GatewayUnavailable => Self::EndedGateway,
        }
    }

    /// Whether the cause requests an end, ends the order, or is another step. This does not depend on the
    /// order's status.
    fn kind(self) -> Kind {
        let reason = |cause: fn(EndReason) -> Self| EndReason::ALL.into_iter().find(|r| cause(*r) == self);
        reason(Self::give_up)
            .map(Kind::GiveUp)
            .or_else(|| reason(Self::ended).map(Kind::End))
            .unwrap_or(Kind::Step)
    }
}

enum Kind {
    GiveUp(EndReason),
    End(EndReason),
    Step,
}

/// The next action for an open order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Create the payment and store its id.
    Create,
    /// Confirm the payment by the current try.
    Confirm,
    /// Look the payment up at the gateway, since the shopper may have acted at the bank's page.
    LookUp,
    /// No action, until the shopper submits another card or the shopper's time has passed.
    AwaitCard,
}

/// The compensation that must come before the units of an open order may be returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compensation {
    /// Nothing: no payment of the order was ever confirmed.
    None,
    /// The gateway must confirm that the payment is cancelled.
    CancelPayment,
}

/// The action and the compensation for an open order's status; `None` for a status in which the order
/// has ended.
#[must_use]
pub const fn step(status: OrderStatus) -> Option<(Action, Compensation)> {
    match status {
        OrderStatus::Placed => Some((Action::Create, Compensation::None)),
        OrderStatus::Paying => Some((Action::Confirm, Compensation::CancelPayment)),
        OrderStatus::ActionRequired => Some((Action::LookUp, Compensation::CancelPayment)),
        OrderStatus::PaymentFailed => Some((Action::AwaitCard, Compensation::CancelPayment)),
        OrderStatus::Paid | OrderStatus::Declined | OrderStatus::Cancelled | OrderStatus::Refunded => None,
    }
}

/// An order's time limits and its number of cards, which are set when the order is placed.
///
/// Stored as one text, for example `120/60/7200/1`, so that an order's item stays below one write unit.
/// Without the last number, the number of cards is [`MAX_CARDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The shopper's whole time for actions that the first card requires, in seconds.
    pub payment_seconds: u32,
    /// The shopper's whole time after the first decline, in seconds.
    pub retry_seconds: u32,
    /// The time that the order waits for the gateway before the operator must decide, in seconds.
    pub gateway_wait_seconds: u32,
    /// The number of cards that may be tried, 0 to [`MAX_CARDS`]. With 0, the order ends without a call to
    /// the gateway.
    pub cards: u32,
}

impl Terms {
    /// The number of cards that a shopper's order accepts: [`MAX_CARDS`] for the shopper's first order in the
    /// drop, 1 for a later order, and 0 for a later order after [`MAX_DECLINES`] declined cards of the
    /// shopper in the drop (`declined`). This limits the testing of stolen cards.
    #[must_use]
    pub const fn cards_of(is_first: bool, declined: u32) -> u32 {
        if is_first {
            MAX_CARDS
        } else if declined < MAX_DECLINES {
            1
        } else {
            0
        }
    }
}

/// The error for a stored text that is not an order's [`Terms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an order's terms")]
pub struct TermsError;

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (payment, retry, wait) = (
            self.payment_seconds,
            self.retry_seconds,
            self.gateway_wait_seconds,
        );
        write!(f, "{payment}/{retry}/{wait}")?;
        match self.cards {
            MAX_CARDS => Ok(()),
            cards => write!(f, "/{cards}"),
        }
    }
}

impl FromStr for Terms {
    type Err = TermsError;
    fn from_str(text: &str) -> Result<Self, TermsError> {
        let mut parts = text
            .splitn(4, '/')
            .map(|part| part.parse().map_err(|_| TermsError));
        let mut next = || parts.next().unwrap_or(Err(TermsError));
        Ok(Self {
            payment_seconds: next()?,
            retry_seconds: next()?,
            gateway_wait_seconds: next()?,
            cards: parts.next().unwrap_or(Ok(MAX_CARDS))?,
        })
    }
}

serde_as_text!(Terms);

/// The part of an order that follows from its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The order's status.
    pub status: OrderStatus,
    /// The reason why the order ended unpaid; `None` while it is open, and for a paid or refunded order.
    pub reason: Option<EndReason>,
    /// The reason why the order is to end unpaid; `None` while no end is requested. The order ends only once
    /// the gateway reports that no money was taken.
    pub cancel_requested: Option<EndReason>,
    /// Who must act next on the order.
    pub turn: Turn,
    /// The rest of the shopper's time when `payment_deadline` was last set, in milliseconds.
    pub shopper_left_ms: i64,
    /// The end of the turn: of the shopper's time in the shopper's turn, of the wait for the
    /// gateway otherwise.
    pub payment_deadline: Timestamp,
    /// The number of further cards that the shopper may submit.
    pub cards_left: u32,
}

impl State {
    /// The state of an order that is placed at `at`.
    #[must_use]
    pub fn placed(at: Timestamp, terms: &Terms) -> Self {
        Self {
            status: OrderStatus::Placed,
            reason: None,
            cancel_requested: None,
            turn: Turn::Gateway,
            shopper_left_ms: 1_000 * i64::from(terms.payment_seconds),
            payment_deadline: at.plus_seconds(terms.gateway_wait_seconds),
            cards_left: terms.cards.saturating_sub(1),
        }
    }

    /// The time at which the wait for the gateway began. It is valid only in the gateway's turn.
    #[must_use]
    pub fn wait_began(&self, terms: &Terms) -> Timestamp {
        self.payment_deadline
            .plus_millis(-1_000 * i64::from(terms.gateway_wait_seconds))
    }

    /// The state after `cause`, which occurred at `at`, and the effect on the units.
    ///
    /// # Errors
    ///
    /// [`NotPossible`] when the table has no transition for `cause` from the current status.
    pub fn after(
        &self,
        cause: Cause,
        at: Timestamp,
        terms: &Terms,
    ) -> Result<(Self, Option<StockEffect>), NotPossible> {
        use OrderStatus::{
            ActionRequired, Cancelled, Declined, Paid, Paying, PaymentFailed, Placed, Refunded,
        };
        let not_possible = Err(NotPossible(self.status));
        let status = match (cause.kind(), self.status) {
            (Kind::GiveUp(reason), Paying | ActionRequired | PaymentFailed)
                if self.cancel_requested.is_none() =>
            {
                let asked = Self {
                    cancel_requested: Some(reason),
                    ..self.clone()
                };
                return Ok((asked, None));
            }
            (Kind::End(reason), status) if status.is_open() => {
                let ended = Self {
                    status: if reason == EndReason::PaymentDeclined {
                        Declined
                    } else {
                        Cancelled
                    },
                    reason: Some(reason),
                    ..self.clone()
                };
                return Ok((ended, Some(StockEffect::Undo)));
            }
            (Kind::GiveUp(_) | Kind::End(_), _) => return not_possible,
            (Kind::Step, Paying | ActionRequired | PaymentFailed)
                if cause == Cause::NotAtGateway && self.cancel_requested.is_some() =>
            {
                return Ok((self.clone(), None));
            }
            (Kind::Step, from) => match (from, cause) {
                // The longer wait is stored with the order's terms.
                (Placed | Paying, Cause::Kept) if self.cancel_requested.is_none() => from,
                (Placed, Cause::Created) => Paying,
                (Paying, Cause::ActionNeeded) => ActionRequired,
                (ActionRequired, Cause::Acted) => Paying,
                (Paying | ActionRequired, Cause::TriedAgain) => Paying,
                (Paying | ActionRequired, Cause::Declined) if self.cards_left > 0 => PaymentFailed,
                (PaymentFailed, Cause::AnotherCard)
                    if self.cards_left > 0
                        && self.cancel_requested.is_none()
                        && at < self.payment_deadline =>
                {
                    Paying
                }
                // The money was taken, so the payment counts in every open status, also after a request
                // to end.
                (open, Cause::Paid) if open.is_open() => Paid,
                (Paid, Cause::Refunded) => Refunded,
                _ => return not_possible,
            },
        };
        let mut next = Self {
            status,
            ..self.clone()
        };
        if !status.is_open() {
            let effect = (status == Paid).then_some(StockEffect::Settle);
            return Ok((next, effect));
        }
        let first_decline = cause == Cause::Declined && self.cards_left + 1 == terms.cards;
        if first_decline {
            next.shopper_left_ms = 1_000 * i64::from(terms.retry_seconds);
        } else if self.turn == Turn::Shopper {
            next.shopper_left_ms = self.payment_deadline.millis_since(at).max(0);
        }
        if cause == Cause::AnotherCard {
            next.cards_left -= 1;
        }
        if matches!(status, ActionRequired | PaymentFailed) {
            if self.turn == Turn::Gateway && at.millis_since(self.wait_began(terms)) >= LONG_WAIT_MS {
                next.shopper_left_ms = next.shopper_left_ms.max(RETURN_MS);
            }
            next.turn = Turn::Shopper;
            next.payment_deadline = at.plus_millis(next.shopper_left_ms);
        } else if self.turn == Turn::Shopper || cause == Cause::TriedAgain {
            next.turn = Turn::Gateway;
            next.payment_deadline = at.plus_seconds(terms.gateway_wait_seconds);
        }
        Ok((next, None))
    }
}

/// The history of an order: its causes from the oldest to the newest, each with the milliseconds from the
/// placing to the change.
///
/// Stored as one text, for example `placed:0,created:412,paid:1200`. A normal order has a few changes for
/// each card. [`History::MOST`] bounds the text when a gateway keeps changing its answer: further changes
/// are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History(Vec<(Cause, i64)>);

/// The error for a stored text that is not a [`History`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a history")]
pub struct HistoryError;

impl History {
    /// The largest number of changes in a history.
    pub const MOST: usize = 40;
    /// The last places of a history, reserved for a request to end, an end, a payment and a refund, so that a
    /// full history cannot prevent the order's end.
    const ENDS: usize = 3;

    /// The history of an order that was just placed.
    #[must_use]
    pub fn placed() -> Self {
        Self(vec![(Cause::Placed, 0)])
    }

    /// The history with one more change; `None` when the history is full.
    #[must_use]
    pub fn with(&self, cause: Cause, after_ms: i64) -> Option<Self> {
        let room = match cause.kind() {
            Kind::Step if cause != Cause::Paid && cause != Cause::Refunded => Self::MOST - Self::ENDS,
            _ => Self::MOST,
        };
        if self.0.len() >= room {
            return None;
        }
        let mut longer = self.clone();
        longer.0.push((cause, after_ms));
        Some(longer)
    }

    /// The cause of the last change.
    #[must_use]
    pub fn last(&self) -> Option<Cause> {
        self.0.last().map(|(cause, _)| *cause)
    }

    /// The number of changes that have this cause.
    #[must_use]
    pub fn count(&self, cause: Cause) -> usize {
        self.0.iter().filter(|(one, _)| *one == cause).count()
    }

    /// The state that follows from the history of an order that was placed at `placed_at`; `None` when the
    /// table does not allow the history.
    #[must_use]
    pub fn fold(&self, placed_at: Timestamp, terms: &Terms) -> Option<State> {
        let ((Cause::Placed, 0), rest) = self.0.split_first()? else {
            return None;
        };
        rest.iter()
            .try_fold(State::placed(placed_at, terms), |state, (cause, after_ms)| {
                let (next, _) = state
                    .after(*cause, placed_at.plus_millis(*after_ms), terms)
                    .ok()?;
                Some(next)
            })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (cause, after_ms)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{cause}:{after_ms}")?;
        }
        Ok(())
    }
}

impl FromStr for History {
    type Err = HistoryError;
    fn from_str(text: &str) -> Result<Self, HistoryError> {
        let change = |part: &str| {
            let (cause, after_ms) = part.split_once(':')?;
            Some((cause.parse().ok()?, after_ms.parse().ok()?))
        };
        let changes: Option<Vec<_>> = text.split(',').take(Self::MOST + 1).map(change).collect();
        match changes {
            Some(changes) if changes.len() <= Self::MOST => Ok(Self(changes)),
            _ => Err(HistoryError),
        }
    }
}

serde_as_text!(History);
