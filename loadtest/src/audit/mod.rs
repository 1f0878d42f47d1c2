//! Checks promises 1 to 5 of `docs/INVARIANTS.md` on facts that were collected without the API.
//!
//! The audit is a pure function: [`audit`] takes [`Facts`] and returns [`Findings`]. Every figure has a test
//! that plants a violation and checks that the figure reports it.

mod agreement;
mod endings;
#[cfg(test)]
mod fixture;
mod journal_index;
mod orders;
mod promise;
mod shares;
mod stock;

use serde::Serialize;

use crate::facts::Facts;

pub use promise::{Broken, Promise};
pub use shares::share;
pub(crate) use stock::describe;
pub use stock::{count_units, expired, overdue, overdue_after_ms};

/// The largest number of explanation lines for each figure.
const MAX_LINES: usize = 20;

/// The findings of the audit: one figure for each promise, and further figures. The figures of promises
/// ([`Findings::figures`]) must be 0 and their lists empty. The further figures are for information.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Findings {
    /// Units that the operator put on sale.
    pub allocated: u64,
    /// Units in distinct reservations that were answered 201.
    pub reserved: u64,
    /// Units in orders of any status.
    pub ordered: u64,
    /// Units in paid orders.
    pub paid: u64,
    /// Units that are free at the end.
    pub free: u64,
    /// Units that could have been sold: units that are on sale and wanted by shoppers who intend to buy and
    /// have a working card.
    pub sellable: u64,
    /// `paid` ÷ `sellable`; `None` if `sellable` is 0.
    pub sold_share: Option<f64>,
    /// Accepted orders that ended because their payment deadline passed.
    pub endings_by_deadline: u64,
    /// Answers 201 to requests that were sent after the same key had been answered 201, while that reservation was still
    /// held.
    pub repeats: u64,
    /// Repeats whose answer named another reservation than the first answer.
    pub repeats_elsewhere: u64,
    /// Reservations whose repeats were refused, and answered 201 by no later repeat while the reservation was held.
    pub repeats_refused: u64,
    /// The share of the repeats that were answered with another reservation or refused; `None` without repeats.
    pub repeats_not_found: Option<f64>,
    /// Second answers 201 to requests with the same key that were sent at the same time.
    pub double_clicks: u64,
    /// Double clicks whose answers named two reservations.
    pub double_clicks_elsewhere: u64,
    /// Units claimed or sold beyond the allocation, plus shards that did not add up, in any sample or at the end.
    pub oversold: u64,
    /// Units that are free at the end although a shopper who wanted them was finally refused.
    pub undersold: u64,
    /// Claims at the end that are long past their deadline, or that end later than any claim may.
    pub leaked_holds: u64,
    /// Holds that a sample during the sale found longer after their deadline than is allowed.
    pub overdue_holds: u64,
    /// Shoppers with more units in open and paid orders than the drop's limit.
    pub over_limit_shoppers: u64,
    /// Reservations with more than one order, plus accepted idempotency keys with more than one open or paid order.
    pub duplicate_orders: u64,
    /// Orders that the gateway charged more than once; fully refunded charges do not count.
    pub duplicate_charges: u64,
    /// Accepted orders without an end or a ledger row, plus holds that checkout refused before they expired.
    pub lost_requests: u64,
    /// Accepted orders with an ending that neither the gateway's log nor a request of a shopper or operator
    /// justifies.
    pub unjustified_endings: u64,
    /// Orders whose state does not follow from their history.
    pub fold_mismatches: u64,
    /// Messages in dead-letter queues.
    pub dlq_messages: u64,
    /// Descriptions of disagreements between the stores.
    pub inconsistencies: Vec<String>,
    /// Descriptions of the violations of the other promises, at most 20 for each promise.
    pub explanations: Vec<Broken>,
}

impl Findings {
    /// Each promise with its number of violations and the figure's description, in the order of the report.
    #[must_use]
    pub fn figures(&self) -> [(Promise, u64, &'static str); 12] {
        let inconsistencies = u64::try_from(self.inconsistencies.len()).unwrap_or(u64::MAX);
        [
            (
                Promise::Oversold,
                self.oversold,
                "claims and sales beyond the allocation; shards that did not add up at any time",
            ),
            (
                Promise::Undersold,
                self.undersold,
                "units free although someone who wanted them was finally refused",
            ),
            (
                Promise::LeakedHolds,
                self.leaked_holds,
                "claims past their deadline that were not returned",
            ),
            (
                Promise::OverdueHolds,
                self.overdue_holds,
                "holds that were there long after their deadline, during the sale",
            ),
            (
                Promise::OverLimitShoppers,
                self.over_limit_shoppers,
                "shoppers with more units than the limit",
            ),
            (
                Promise::DuplicateOrders,
                self.duplicate_orders,
                "reservations with more than one order; accepted keys with more than one open or paid",
            ),
            (
                Promise::DuplicateCharges,
                self.duplicate_charges,
                "orders charged more than once, by the gateway's own log",
            ),
            (
                Promise::LostRequests,
                self.lost_requests,
                "accepted orders without an end or a ledger row; holds refused before they expired",
            ),
            (
                Promise::UnjustifiedEndings,
                self.unjustified_endings,
                "accepted orders that ended otherwise than the gateway's own log and the journal say",
            ),
            (
                Promise::FoldMismatches,
                self.fold_mismatches,
                "orders whose state does not follow from their history",
            ),
            (
                Promise::DlqMessages,
                self.dlq_messages,
                "messages in dead-letter queues",
            ),
            (
                Promise::Inconsistencies,
                inconsistencies,
                "disagreements of orders, shards, counters, ledger and gateway",
            ),
        ]
    }

    /// All findings, one line each, disagreements between the stores first.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let explained = self.explanations.iter().map(Broken::to_string);
        self.inconsistencies.iter().cloned().chain(explained)
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.figures().iter().all(|(_, figure, _)| *figure == 0)
    }
}

/// The number of violations of one promise, and descriptions of at most [`MAX_LINES`] of them.
#[derive(Debug, Default)]
struct Count {
    count: u64,
    lines: Vec<String>,
}

impl Count {
    fn add(&mut self, by: u64, line: impl FnOnce() -> String) {
        if by > 0 {
            self.count += by;
            if self.lines.len() < MAX_LINES {
                self.lines.push(line());
            }
        }
    }
}

/// Checks every promise on the facts of one run.
#[must_use]
pub fn audit(facts: &Facts) -> Findings {
    let journal = journal_index::JournalIndex::read(&facts.journal);
    let mut explanations = Vec::new();
    let mut explained = |promise, found: Count| {
        let lines = found.lines.into_iter();
        explanations.extend(lines.map(|what| Broken { promise, what }));
        found.count
    };
    let paid = facts
        .orders
        .iter()
        .filter(|o| o.is_sold())
        .map(|o| u64::from(o.order.units))
        .sum();
    let sellable = shares::sellable(facts, &journal);
    let repeats = shares::repeats(facts, &journal);
    let endings = endings::endings(facts, &journal);
    Findings {
        allocated: facts.drop.skus.iter().map(|s| u64::from(s.units)).sum(),
        reserved: journal.reserved.values().map(|r| u64::from(r.quantity)).sum(),
        ordered: facts.orders.iter().map(|o| u64::from(o.order.units)).sum(),
        paid,
        free: facts.shards.iter().map(|s| u64::from(s.shard.free)).sum(),
        sellable,
        sold_share: share(paid, sellable),
        endings_by_deadline: endings.by_deadline,
        repeats: repeats.all,
        repeats_elsewhere: repeats.elsewhere,
        repeats_refused: repeats.refused,
        repeats_not_found: repeats.not_found(),
        double_clicks: repeats.double_clicks,
        double_clicks_elsewhere: repeats.double_clicks_elsewhere,
        oversold: explained(Promise::Oversold, stock::oversold(facts, &journal)),
        undersold: explained(Promise::Undersold, stock::undersold(facts, &journal)),
        leaked_holds: explained(Promise::LeakedHolds, stock::leaked_holds(facts)),
        overdue_holds: explained(Promise::OverdueHolds, stock::overdue_holds(facts, &journal)),
        over_limit_shoppers: explained(Promise::OverLimitShoppers, orders::over_limit(facts)),
        duplicate_orders: explained(
            Promise::DuplicateOrders,
            orders::duplicate_orders(facts, &journal),
        ),
        duplicate_charges: explained(Promise::DuplicateCharges, orders::duplicate_charges(facts)),
        lost_requests: explained(Promise::LostRequests, orders::lost_requests(facts, &journal)),
        unjustified_endings: explained(Promise::UnjustifiedEndings, endings.unjustified),
        fold_mismatches: explained(Promise::FoldMismatches, orders::fold_mismatches(facts)),
        dlq_messages: explained(Promise::DlqMessages, orders::dead_letters(facts)),
        inconsistencies: agreement::inconsistencies(facts, &journal),
        explanations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_run_is_found_clean() {
        let findings = audit(&fixture::clean());
        assert!(findings.kept(), "{findings:#?}");
        assert_eq!(findings.allocated, 10);
        assert_eq!(findings.reserved, 5);
        assert_eq!(findings.ordered, 4);
        assert_eq!(findings.paid, 3);
        assert_eq!(findings.free, 7);
    }

    /// Other programs find the figures in `report.json` by the promises' names.
    #[test]
    fn each_figure_has_the_name_of_its_promise_in_the_report() {
        let findings = Findings {
            oversold: 1,
            undersold: 2,
            leaked_holds: 3,
            overdue_holds: 4,
            over_limit_shoppers: 5,
            duplicate_orders: 6,
            duplicate_charges: 7,
            lost_requests: 8,
            unjustified_endings: 9,
            fold_mismatches: 10,
            dlq_messages: 11,
            inconsistencies: vec!["x".into(); 12],
            ..Findings::default()
        };
        let report = serde_json::to_value(&findings).unwrap();
        for ((promise, figure, _), expected) in findings.figures().into_iter().zip(1u64..) {
            let value = &report[promise.as_str()];
            let told = value
                .as_u64()
                .or(value.as_array().map(|lines| lines.len() as u64));
            assert_eq!(figure, expected, "{promise}");
            assert_eq!(told, Some(expected), "{promise}");
        }
    }

    #[test]
    fn an_explanation_names_its_promise() {
        let mut facts = fixture::clean();
        facts.queues[1].messages = 3;
        facts.money[0].charges = 2;
        let found = audit(&facts).explanations;
        let promises: Vec<Promise> = found.iter().map(|broken| broken.promise).collect();
        assert_eq!(promises, [Promise::DuplicateCharges, Promise::DlqMessages]);
        let line = serde_json::to_value(&found[1]).unwrap();
        assert_eq!(
            line,
            format!("dlq_messages: 3 messages in {}", facts.queues[1].queue)
        );
    }

    #[test]
    fn explanations_are_bounded() {
        let mut count = Count::default();
        for n in 0..1_000 {
            count.add(1, || n.to_string());
        }
        assert_eq!(count.count, 1_000);
        assert_eq!(count.lines.len(), MAX_LINES);
    }

    #[test]
    fn each_figure_alone_breaks_the_promise() {
        let broken: [fn(&mut Findings); 12] = [
            |f| f.oversold = 1,
            |f| f.undersold = 1,
            |f| f.leaked_holds = 1,
            |f| f.overdue_holds = 1,
            |f| f.over_limit_shoppers = 1,
            |f| f.duplicate_orders = 1,
            |f| f.duplicate_charges = 1,
            |f| f.lost_requests = 1,
            |f| f.unjustified_endings = 1,
            |f| f.fold_mismatches = 1,
            |f| f.dlq_messages = 1,
            |f| f.inconsistencies.push("x".into()),
        ];
        for plant in broken {
            let mut findings = Findings::default();
            assert!(findings.kept());
            plant(&mut findings);
            assert!(!findings.kept(), "{findings:?}");
        }
    }
}
