//! Defines the statuses of an order, the reasons for its end, and the effect of its end on the stock.

use crate::named;

named! {
    /// The status of an order. The first four are open; the others are final, except that a paid order may
    /// be refunded.
    pub enum OrderStatus {
        /// The order is accepted, and no payment was confirmed yet.
        Placed = "placed",
        /// The gateway has the payment of the order, and may be charging a card or may have charged it.
        Paying = "paying",
        /// The gateway requires an action of the shopper, for example a confirmation at the bank.
        ActionRequired = "action_required",
        /// The gateway declined the card. The shopper may submit another card.
        PaymentFailed = "payment_failed",
        /// The money was taken, and the units are sold.
        Paid = "paid",
        /// The payment was declined, no further card may be tried, and the units were returned.
        Declined = "declined",
        /// The shopper, the operator or a deadline ended the order unpaid, and the units were returned.
        Cancelled = "cancelled",
        /// The order was paid, and the money was refunded.
        Refunded = "refunded",
    }
}

impl OrderStatus {
    /// Whether the order is neither paid nor ended, so that its units are still claimed.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Placed | Self::Paying | Self::ActionRequired | Self::PaymentFailed
        )
    }
}

named! {
    /// Why an order is to end unpaid, or ended unpaid. The first reason that is requested stays.
    pub enum EndReason {
        /// The gateway or the bank declined, or the gateway cancelled the payment, and no further card may
        /// be tried.
        PaymentDeclined = "payment_declined",
        /// The shopper's time to pay has passed.
        PaymentDeadline = "payment_deadline",
        /// The shopper requested the cancellation of the order.
        ByShopper = "by_shopper",
        /// An operator cancelled the drop.
        DropCancelled = "drop_cancelled",
        /// The payment gateway was unavailable for too long, and the operator ended the order.
        GatewayUnavailable = "gateway_unavailable",
    }
}

impl EndReason {
    /// Whether a person requested the end. The other reasons follow from the payment.
    #[must_use]
    pub const fn is_asked_for(self) -> bool {
        matches!(
            self,
            Self::ByShopper | Self::DropCancelled | Self::GatewayUnavailable
        )
    }

    /// Whether the end counts as a lapse ([`crate::lapse`]): the units were kept from other shoppers, and
    /// only the shopper caused the end.
    #[must_use]
    pub const fn counts_as_lapse(self) -> bool {
        matches!(self, Self::PaymentDeclined | Self::PaymentDeadline)
    }
}

/// The change of the claim, the shopper's purchase counter and the units, stored together with an
/// order's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockEffect {
    /// The claim is removed and its units become sold. The purchase counter stays.
    Settle,
    /// The claim is removed, its units become free, and the shopper's purchase counter falls by them.
    Undo,
}

/// The error for a change that the order's status, contained here, does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {} cannot become that", .0.as_str())]
pub struct NotPossible(pub OrderStatus);
