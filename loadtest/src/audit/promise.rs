//! Names the promises, and describes a violation.

use std::fmt;

use domain::named;
use serde::{Serialize, Serializer};

named! {
    /// A property that must hold in every run, with the name of its figure in reports.
    pub enum Promise {
        /// Counts claims and sales beyond the allocation, and shards that did not add up at any time.
        Oversold = "oversold",
        /// Counts units that are free at the end although a shopper who wanted them was finally refused.
        Undersold = "undersold",
        /// Counts claims past their deadline that were not returned.
        LeakedHolds = "leaked_holds",
        /// Counts holds that existed long after their deadline, during the sale.
        OverdueHolds = "overdue_holds",
        /// Counts shoppers with more units than the limit.
        OverLimitShoppers = "over_limit_shoppers",
        /// Counts reservations and accepted keys with more than one order.
        DuplicateOrders = "duplicate_orders",
        /// Counts orders charged more than once.
        DuplicateCharges = "duplicate_charges",
        /// Counts accepted orders without an end or a ledger row, and holds that checkout refused before they
        /// expired.
        LostRequests = "lost_requests",
        /// Counts accepted orders with an ending that neither the gateway's log nor a request justifies.
        UnjustifiedEndings = "unjustified_endings",
        /// Counts orders whose state does not follow from their history.
        FoldMismatches = "fold_mismatches",
        /// Counts messages in dead-letter queues.
        DlqMessages = "dlq_messages",
        /// Counts disagreements between the stores.
        Inconsistencies = "inconsistencies",
        /// Counts claims that no request asked for. Only the replay makes this check.
        UnaskedReservations = "unasked_reservations",
        /// Counts answers that the API does not describe. A load run reports such answers as surprises.
        UnexpectedAnswers = "unexpected_answers",
        /// Counts runs in which work remains at the end. A load run lists the remaining work instead.
        NotDrained = "not_drained",
    }
}

/// A violated promise. Its text is one line: the promise's name, a colon, the description.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broken {
    pub promise: Promise,
    /// The observation that violates the promise, in words.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
