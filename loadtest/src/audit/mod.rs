//! The audit: promises 1 to 5, checked on facts that were collected around the API.
//!
//! Pure: [`audit`] takes [`Facts`] and answers [`Findings`]. Every figure has a test that plants a violation and
//! shows that the figure sees it.

mod agreement;
#[cfg(test)]
mod fixture;
mod journal;
mod orders;
mod stock;

use serde::Serialize;

use crate::facts::Facts;

pub use stock::count_units;
pub(crate) use stock::describe;

/// How many lines of explanation are kept per kind of finding.
const MAX_LINES: usize = 20;

/// What the audit found. All figures but the units must be 0, and the lists empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Units on sale, as the operator put them.
    pub allocated: u64,
    /// Units in distinct reservations that were answered 201.
    pub reserved: u64,
    /// Units in orders.
    pub ordered: u64,
    /// Units in paid orders.
    pub paid: u64,
    /// Units free at the end.
    pub free: u64,
    /// Live claims and sold units beyond the allocation, and shards that did not add up, whenever they were seen.
    pub oversold: u64,
    /// Units free although a shopper who wanted them was finally refused.
    pub undersold: u64,
    /// Claims that should have been returned or settled by now.
    pub leaked_holds: u64,
    /// Shoppers with more units than the limit.
    pub over_limit_shoppers: u64,
    /// Reservations with more than one order.
    pub duplicate_orders: u64,
    /// Orders with more than one net charge.
    pub duplicate_charges: u64,
    /// Accepted requests that came to nothing.
    pub lost_requests: u64,
    /// Messages in dead-letter queues.
    pub dlq_messages: u64,
    /// Disagreements between the stores, spelt out.
    pub inconsistencies: Vec<String>,
    /// What the other figures consist of, spelt out (at most 20 lines each).
    pub explanations: Vec<String>,
}

impl Findings {
    /// Whether every promise was kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.oversold == 0
            && self.undersold == 0
            && self.leaked_holds == 0
            && self.over_limit_shoppers == 0
            && self.duplicate_orders == 0
            && self.duplicate_charges == 0
            && self.lost_requests == 0
            && self.dlq_messages == 0
            && self.inconsistencies.is_empty()
    }
}

/// Something that must not be, spelt out, and how often.
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

/// Checks everything.
#[must_use]
pub fn audit(facts: &Facts) -> Findings {
    let journal = journal::Journal::read(&facts.journal);
    let checks = [
        ("oversold", stock::oversold(facts, &journal)),
        ("undersold", stock::undersold(facts, &journal)),
        ("leaked_holds", stock::leaked_holds(facts)),
        ("over_limit_shoppers", orders::over_limit(facts)),
        ("duplicate_orders", orders::duplicate_orders(facts, &journal)),
        ("duplicate_charges", orders::duplicate_charges(facts)),
        ("lost_requests", orders::lost_requests(facts, &journal)),
        ("dlq_messages", orders::dead_letters(facts)),
    ];
    let mut findings = Findings {
        allocated: facts.drop.skus.iter().map(|s| u64::from(s.units)).sum(),
        reserved: journal.reserved.values().map(|r| u64::from(r.quantity)).sum(),
        ordered: facts.orders.iter().map(|o| u64::from(o.order.units)).sum(),
        paid: facts
            .orders
            .iter()
            .filter(|o| o.is_sold())
            .map(|o| u64::from(o.order.units))
            .sum(),
        free: facts.shards.iter().map(|s| u64::from(s.shard.free)).sum(),
        inconsistencies: agreement::inconsistencies(facts, &journal),
        ..Findings::default()
    };
    for (name, found) in checks {
        let figure = match name {
            "oversold" => &mut findings.oversold,
            "undersold" => &mut findings.undersold,
            "leaked_holds" => &mut findings.leaked_holds,
            "over_limit_shoppers" => &mut findings.over_limit_shoppers,
            "duplicate_orders" => &mut findings.duplicate_orders,
            "duplicate_charges" => &mut findings.duplicate_charges,
            "lost_requests" => &mut findings.lost_requests,
            _ => &mut findings.dlq_messages,
        };
        *figure = found.count;
        findings
            .explanations
            .extend(found.lines.into_iter().map(|line| format!("{name}: {line}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_run_is_found_clean() {
        let findings = audit(&fixture::clean());
        assert!(findings.kept(), "{findings:#?}");
        assert_eq!(
            (
                findings.allocated,
                findings.reserved,
                findings.ordered,
                findings.paid
            ),
            (10, 5, 4, 3)
        );
        assert_eq!(findings.free, 7);
    }

    #[test]
    fn explanations_are_bounded() {
        let mut count = Count::default();
        for n in 0..1_000 {
            count.add(1, || n.to_string());
        }
        assert_eq!((count.count, count.lines.len()), (1_000, MAX_LINES));
    }

    #[test]
    fn each_figure_alone_breaks_the_promise() {
        let broken: [fn(&mut Findings); 9] = [
            |f| f.oversold = 1,
            |f| f.undersold = 1,
            |f| f.leaked_holds = 1,
            |f| f.over_limit_shoppers = 1,
            |f| f.duplicate_orders = 1,
            |f| f.duplicate_charges = 1,
            |f| f.lost_requests = 1,
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
