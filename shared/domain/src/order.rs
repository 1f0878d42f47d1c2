//! An order and its state machine.
//!
//! ```text
//! placed ──► action_required ──► paid ──► refunded
//!    │  └───────────┼─────────────▲
//!    └──────────────┴──► declined, cancelled
//! ```
//! Every transition makes the next version and says what must happen to the stock in the same transaction:
//! [`StockEffect`]. An order is stored only together with its effect, and only over the version it was made from.

use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::ids::{OrderId, ReservationId, ShopperId};
use crate::limits::{ACTION_POLL_MS, OPEN_BUCKETS, REDRIVE_MS};
use crate::money::Money;
use crate::time::Timestamp;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted; the payment is on its way.
    Placed,
    /// The gateway wants the shopper to do something first, for example to confirm at the bank.
    ActionRequired,
    /// Paid; the units are sold.
    Paid,
    /// The payment was refused; the units went back.
    Declined,
    /// Called off by the shopper, the operator or the deadline; the units went back.
    Cancelled,
    /// Paid, and the money given back.
    Refunded,
}

impl OrderStatus {
    /// Whether something is still to happen by itself.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Placed | Self::ActionRequired)
    }

    /// The status as the API and the ledger write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::ActionRequired => "action_required",
            Self::Paid => "paid",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }
}

/// Who wants an order undone, or why it ended without payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The gateway or the bank refused.
    PaymentDeclined,
    /// The payment deadline passed.
    PaymentDeadline,
    /// The shopper asked.
    ByShopper,
    /// The drop was cancelled.
    DropCancelled,
}

impl EndReason {
    /// The reason as the API and the ledger write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentDeclined => "payment_declined",
            Self::PaymentDeadline => "payment_deadline",
            Self::ByShopper => "by_shopper",
            Self::DropCancelled => "drop_cancelled",
        }
    }
}

/// What the gateway wants the shopper to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAction {
    /// Where to do it.
    pub url: String,
    /// Until when.
    pub deadline: Timestamp,
}

/// An order: one reservation on its way to being paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// A hash of the reservation's id.
    pub id: OrderId,
    /// The reservation it was made from.
    pub reservation: ReservationId,
    /// Whose it is.
    pub shopper: ShopperId,
    /// How many units.
    pub units: u32,
    /// What the shopper consented to pay, for all units.
    pub amount: Money,
    /// The claim as the order's transaction wrote it into the shard, in its stored form.
    pub claim: String,
    /// The gateway's token for the means of payment.
    pub payment_method: String,
    /// A hash of the request that placed it, to tell a repeat from a contradiction.
    pub fingerprint: String,
    /// The gateway's id of the payment, once it has one.
    #[serde(default)]
    pub payment_id: Option<String>,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it ended without payment.
    #[serde(default)]
    pub reason: Option<EndReason>,
    /// What the shopper has to do.
    #[serde(default)]
    pub action: Option<PaymentAction>,
    /// Who wants it called off; decided once the gateway says that no money has moved.
    #[serde(default)]
    pub cancel_requested: Option<EndReason>,
    /// Grows by one with every change, from 1.
    pub version: u32,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Until when it must be paid.
    pub payment_deadline: Timestamp,
    /// When an open order is to be looked at again by the sweeper.
    pub due_at: Timestamp,
}

/// What happens to the claim, the purchase counter and the units together with an order's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockEffect {
    /// Nothing.
    None,
    /// The units become sold.
    Settle,
    /// The units become free and the shopper's purchase counter falls.
    Undo,
}

/// One change of an order: what to store, over which version, together with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderStep {
    /// The order as it will be.
    pub order: Order,
    /// The version it replaces.
    pub from_version: u32,
    /// What goes with it.
    pub effect: StockEffect,
}

/// A change that does not follow from where the order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {} cannot become that", .0.as_str())]
pub struct NotPossible(pub OrderStatus);

/// What a new order is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The reservation.
    pub reservation: ReservationId,
    /// Whose it is.
    pub shopper: ShopperId,
    /// The *ordered* claim that replaces the hold.
    pub claim: Claim,
    /// What the shopper consented to pay.
    pub amount: Money,
    /// The gateway's token for the means of payment.
    pub payment_method: String,
    /// A hash of the request.
    pub fingerprint: String,
}

impl Order {
    /// A new order, at version 1; its payment deadline is the claim's.
    #[must_use]
    pub fn place(placement: Placement, now: Timestamp) -> Self {
        Self {
            id: OrderId::of_reservation(&placement.reservation),
            reservation: placement.reservation,
            shopper: placement.shopper,
            units: placement.claim.units,
            amount: placement.amount,
            payment_deadline: placement.claim.deadline,
            claim: placement.claim.to_string(),
            payment_method: placement.payment_method,
            fingerprint: placement.fingerprint,
            payment_id: None,
            status: OrderStatus::Placed,
            reason: None,
            action: None,
            cancel_requested: None,
            version: 1,
            placed_at: now,
            updated_at: now,
            due_at: now.plus_millis(REDRIVE_MS),
        }
    }

    /// The bucket of the index of open orders in which it stands while it is open.
    #[must_use]
    pub fn open_bucket(&self) -> Option<u8> {
        let hash = self
            .id
            .as_str()
            .bytes()
            .fold(0u8, |sum, b| sum.wrapping_mul(31).wrapping_add(b));
        self.status.is_open().then_some(hash % OPEN_BUCKETS)
    }

    /// Notes the gateway's id, before anything is confirmed.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is placed and has no payment yet.
    pub fn with_payment(&self, payment_id: String, now: Timestamp) -> Result<OrderStep, NotPossible> {
        if self.status != OrderStatus::Placed || self.payment_id.is_some() {
            return Err(NotPossible(self.status));
        }
        let order = Self {
            payment_id: Some(payment_id),
            due_at: now.plus_millis(REDRIVE_MS),
            ..self.clone()
        };
        Ok(self.step(order, StockEffect::None, now))
    }

    /// Notes what the shopper has to do; its deadline is the order's.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is open.
    pub fn require_action(&self, url: String, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.open()?;
        let action = Some(PaymentAction {
            url,
            deadline: self.payment_deadline,
        });
        let due_at = now.plus_millis(ACTION_POLL_MS);
        let order = Self {
            status: OrderStatus::ActionRequired,
            action,
            due_at,
            ..self.clone()
        };
        Ok(self.step(order, StockEffect::None, now))
    }

    /// Puts the sweeper's next look off, after it has re-driven the order.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is open.
    pub fn look_again(&self, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.open()?;
        let after = if self.status == OrderStatus::ActionRequired {
            ACTION_POLL_MS
        } else {
            REDRIVE_MS
        };
        Ok(self.step(
            Self {
                due_at: now.plus_millis(after),
                ..self.clone()
            },
            StockEffect::None,
            now,
        ))
    }

    /// Asks for the order to be called off. While no payment exists it is cancelled at once.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is open.
    pub fn request_cancel(&self, reason: EndReason, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.open()?;
        if self.payment_id.is_none() {
            return self.undo(reason, now);
        }
        let order = Self {
            cancel_requested: Some(reason),
            due_at: now.plus_millis(REDRIVE_MS),
            ..self.clone()
        };
        Ok(self.step(order, StockEffect::None, now))
    }

    /// The money is there: the units are sold.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is open.
    pub fn settle(&self, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.open()?;
        let order = Self {
            status: OrderStatus::Paid,
            action: None,
            ..self.clone()
        };
        Ok(self.step(order, StockEffect::Settle, now))
    }

    /// No money has moved and none will: the units go back.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is open.
    pub fn undo(&self, reason: EndReason, now: Timestamp) -> Result<OrderStep, NotPossible> {
        self.open()?;
        let status = if reason == EndReason::PaymentDeclined {
            OrderStatus::Declined
        } else {
            OrderStatus::Cancelled
        };
        let order = Self {
            status,
            reason: Some(reason),
            action: None,
            ..self.clone()
        };
        Ok(self.step(order, StockEffect::Undo, now))
    }

    /// The money was given back. The units stay sold: putting them on sale again is a restock.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is paid.
    pub fn refund(&self, now: Timestamp) -> Result<OrderStep, NotPossible> {
        if self.status != OrderStatus::Paid {
            return Err(NotPossible(self.status));
        }
        let order = Self {
            status: OrderStatus::Refunded,
            ..self.clone()
        };
        Ok(self.step(order, StockEffect::None, now))
    }

    fn open(&self) -> Result<(), NotPossible> {
        if self.status.is_open() {
            Ok(())
        } else {
            Err(NotPossible(self.status))
        }
    }

    fn step(&self, order: Self, effect: StockEffect, now: Timestamp) -> OrderStep {
        // A clock that runs behind must not make an order younger.
        let updated_at = self.updated_at.max(now);
        OrderStep {
            order: Self {
                version: self.version + 1,
                updated_at,
                ..order
            },
            from_version: self.version,
            effect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Nonce;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn order() -> Order {
        let (drop, shopper) = ("d".parse().unwrap(), "ada".parse().unwrap());
        let nonce = Nonce::of_request(&drop, &shopper, "k");
        let claim = Claim::held(2, now().plus_seconds(15), nonce.clone())
            .ordered(now(), now().plus_seconds(60))
            .unwrap();
        let shard = crate::ids::ShardKey {
            drop,
            sku: "A".parse().unwrap(),
            index: 0,
        };
        let amount = Money {
            amount_minor: 9800,
            currency: "EUR".parse().unwrap(),
        };
        let reservation = ReservationId { shard, nonce };
        let (payment_method, fingerprint) = ("pm_card_visa".into(), "f".into());
        Order::place(
            Placement {
                reservation,
                shopper,
                claim,
                amount,
                payment_method,
                fingerprint,
            },
            now(),
        )
    }

    fn apply(order: &Order, what: u8) -> Result<OrderStep, NotPossible> {
        let later = now().plus_seconds(1);
        match what {
            0 => order.with_payment("pi_1".into(), later),
            1 => order.require_action("https://bank.example/1".into(), later),
            2 => order.settle(later),
            3 => order.undo(EndReason::PaymentDeclined, later),
            4 => order.undo(EndReason::PaymentDeadline, later),
            5 => order.request_cancel(EndReason::ByShopper, later),
            6 => order.look_again(later),
            _ => order.refund(later),
        }
    }

    proptest! {
        #[test]
        fn stock_moves_once_and_final_is_final(steps in proptest::collection::vec(0u8..8, 0..30)) {
            let mut order = order();
            let mut effects = 0;
            for what in steps {
                let Ok(step) = apply(&order, what) else { continue };
                prop_assert_eq!((step.from_version, step.order.version), (order.version, order.version + 1));
                if step.effect != StockEffect::None {
                    effects += 1;
                    prop_assert!(order.status.is_open() && !step.order.status.is_open());
                }
                prop_assert!(order.status.is_open() || step.order.status == OrderStatus::Refunded);
                prop_assert!(order.payment_id.is_none() || step.order.payment_id == order.payment_id, "a payment is never replaced");
                prop_assert_eq!(step.order.open_bucket().is_some(), step.order.status.is_open());
                order = step.order;
            }
            prop_assert!(effects <= 1, "the claim is settled or undone at most once");
        }
    }

    #[test]
    fn a_cancellation_waits_for_the_gateway_once_a_payment_exists() {
        let fresh = order();
        assert_eq!(
            fresh.request_cancel(EndReason::ByShopper, now()).unwrap().effect,
            StockEffect::Undo
        );
        let paying = fresh.with_payment("pi_1".into(), now()).unwrap().order;
        let asked = paying.request_cancel(EndReason::ByShopper, now()).unwrap();
        assert_eq!(
            (asked.effect, asked.order.status),
            (StockEffect::None, OrderStatus::Placed)
        );
        assert_eq!(asked.order.cancel_requested, Some(EndReason::ByShopper));
    }

    #[test]
    fn an_order_survives_its_stored_form() {
        let order = order().with_payment("pi_1".into(), now()).unwrap().order;
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
    }
}
