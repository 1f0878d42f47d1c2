//! The promises by name, and the description of a violation.

use std::fmt;

use domain::named;
use serde::{Serialize, Serializer};

named! {
    /// What must hold in every run, by the name of its figure in reports.
    pub enum Promise {
        /// Counts claims and sales beyond the allocation, and shards that did not add up at any time.
        Oversold = "oversold",
        /// Counts units free although someone who wanted them was finally refused.
        Undersold = "undersold",
        /// Counts claims past their deadline that were not returned.
        LeakedHolds = "leaked_holds",
        /// Counts holds that were there long after their deadline, during the sale.
        OverdueHolds = "overdue_holds",
        /// Counts shoppers with more units than the limit.
        OverLimitShoppers = "over_limit_shoppers",
        /// Counts reservations and accepted keys with more than one order.
        DuplicateOrders = "duplicate_orders",
        /// Counts orders charged more than once.
        DuplicateCharges = "duplicate_charges",
        /// Counts accepted requests without a result.
        LostRequests = "lost_requests",
        /// Counts accepted orders with an ending that nothing justifies.
        UnjustifiedEndings = "unjustified_endings",
        /// Counts orders whose state does not follow from their history.
        FoldMismatches = "fold_mismatches",
        /// Counts messages in dead-letter queues.
        DlqMessages = "dlq_messages",
        /// Counts disagreements between the stores.
        Inconsistencies = "inconsistencies",
        /// Counts claims that no request asked for. Only the replay checks it.
        UnaskedReservations = "unasked_reservations",
        /// Counts answers that the API does not describe. A load run reports them as surprises.
        UnexpectedAnswers = "unexpected_answers",
        /// Counts runs whose work did not end. A load run lists the remaining work.
        NotDrained = "not_drained",
    }
}

/// A violated promise. Written as one line: the promise's name, a colon, the description.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broken {
    /// The promise.
    pub promise: Promise,
    /// The observation.
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
