//! Whether something justifies how an accepted order ended: the gateway's own log, or somebody's act.

use std::collections::{BTreeMap, BTreeSet};

use domain::limits::CLOCK_SKEW_MS;
use domain::order::{EndReason, Order, OrderStatus};

use super::Count;
use super::journal::Journal;
use crate::facts::{Facts, MoneyFact};

/// How accepted orders ended that ended unpaid.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// Endings that nothing justifies.
    pub(super) unjustified: Count,
    /// Orders that ended by their payment deadline.
    pub(super) by_deadline: u64,
}

/// Judges the ending of every order that was answered 202.
pub(super) fn endings(facts: &Facts, journal: &Journal<'_>) -> Endings {
    let mut logged: BTreeMap<&str, MoneyFact> = BTreeMap::new();
    for money in &facts.money {
        let all = logged.entry(&money.order_id).or_default();
        all.declines += money.declines;
        all.actions += money.actions;
        all.cancels += money.cancels;
    }
    let accepted: BTreeSet<&str> = journal.ordered.iter().map(|o| o.order_id.as_str()).collect();
    let orders = facts.orders.iter().map(|fact| &fact.order);
    let nothing = MoneyFact::default();
    let mut found = Endings::default();
    for order in orders.filter(|order| accepted.contains(order.id.as_str())) {
        let log = logged.get(order.id.as_str()).unwrap_or(&nothing);
        let by_deadline = is_by_deadline(order, log);
        found.by_deadline += u64::from(by_deadline);
        let unjustified = match (order.status, order.reason) {
            _ if by_deadline => unjustified_by_deadline(facts, order, log),
            (OrderStatus::Declined, _) if log.declines == 0 => Some("the gateway declined no payment of it"),
            (OrderStatus::Cancelled, Some(EndReason::ByShopper))
                if !journal.cancel_asked.contains(order.id.as_str()) =>
            {
                Some("its shopper did not ask for that")
            }
            (OrderStatus::Cancelled, Some(EndReason::DropCancelled)) if !journal.drop_cancelled => {
                Some("the operator did not cancel the drop")
            }
            (OrderStatus::Cancelled, None | Some(EndReason::PaymentDeclined)) => Some("that is no reason"),
            _ => None,
        };
        found.unjustified.add(u64::from(unjustified.is_some()), || {
            let reason = order.reason.map_or("no reason", EndReason::as_str);
            let (id, status) = (&order.id, order.status.as_str());
            format!(
                "{id} is {status} for {reason}: {}",
                unjustified.unwrap_or_default()
            )
        });
    }
    found
}

/// Whether the order ended because its time was over. One worker may cancel the payment because its clock says so, and another one
/// whose clock is behind finds it cancelled and takes that for the gateway's refusal.
fn is_by_deadline(order: &Order, log: &MoneyFact) -> bool {
    let late = order.updated_at.plus_millis(CLOCK_SKEW_MS) >= order.payment_deadline;
    order.reason == Some(EndReason::PaymentDeadline)
        || (order.status == OrderStatus::Declined && log.declines == 0 && log.cancels > 0 && late)
}

/// Whether a deadline is fair is not judged yet. It has to have passed; and where nothing went wrong there is time for a try,
/// so that the gateway asked the shopper to act, or declined.
fn unjustified_by_deadline(facts: &Facts, order: &Order, log: &MoneyFact) -> Option<&'static str> {
    let early = order.updated_at.plus_millis(CLOCK_SKEW_MS) < order.payment_deadline;
    let untried = facts.quiet && log.actions == 0 && log.declines == 0;
    if early {
        Some("its deadline had not passed")
    } else {
        untried.then_some("nothing went wrong, and the gateway neither declined nor asked the shopper to act")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Findings, audit, fixture};
    use super::*;
    use crate::facts::Entry;

    /// The third order of the run, which the gateway declined, with another ending.
    fn ended(status: OrderStatus, reason: EndReason, change: impl FnOnce(&mut Facts)) -> Findings {
        let mut facts = fixture::clean();
        let order = &mut facts.orders[2].order;
        (order.status, order.reason) = (status, Some(reason));
        order.updated_at = order.payment_deadline;
        facts.money[2].declines = 0;
        change(&mut facts);
        audit(&facts)
    }

    fn unjustified(status: OrderStatus, reason: EndReason, change: impl FnOnce(&mut Facts)) -> u64 {
        ended(status, reason, change).unjustified_endings
    }

    #[test]
    fn a_declined_order_was_declined_by_the_gateway() {
        let (status, reason) = (OrderStatus::Declined, EndReason::PaymentDeclined);
        assert_eq!(unjustified(status, reason, |_| {}), 1);
        assert_eq!(unjustified(status, reason, |f| f.money[2].declines = 1), 0);
        let of_another = |f: &mut Facts| f.money[1].declines = 1;
        assert_eq!(unjustified(status, reason, of_another), 1);
        assert_eq!(unjustified(status, reason, |f| f.money.clear()), 1);
        let not_accepted = |f: &mut Facts| f.journal.retain(|entry| !matches!(entry, Entry::Ordered(_)));
        assert_eq!(unjustified(status, reason, not_accepted), 0);
    }

    #[test]
    fn a_payment_cancelled_for_the_deadline_on_another_clock_is_an_ending_by_deadline() {
        let at = |before_deadline_ms: i64| {
            ended(OrderStatus::Declined, EndReason::PaymentDeclined, |f| {
                (f.money[2].cancels, f.quiet) = (1, false);
                let order = &mut f.orders[2].order;
                order.updated_at = order.payment_deadline.plus_millis(-before_deadline_ms);
            })
        };
        let near = at(CLOCK_SKEW_MS);
        assert_eq!((near.unjustified_endings, near.endings_by_deadline), (0, 1));
        let early = at(CLOCK_SKEW_MS + 1);
        assert_eq!((early.unjustified_endings, early.endings_by_deadline), (1, 0));
    }

    #[test]
    fn a_cancelled_order_has_somebody_who_asked() {
        let (status, by_shopper) = (OrderStatus::Cancelled, EndReason::ByShopper);
        let asks = |nth: usize| {
            move |f: &mut Facts| {
                let order_id = f.orders[nth].order.id.to_string();
                f.journal.push(Entry::CancelAsked { at_ms: 0, order_id });
            }
        };
        assert_eq!(unjustified(status, by_shopper, |_| {}), 1);
        assert_eq!(unjustified(status, by_shopper, asks(2)), 0);
        assert_eq!(unjustified(status, by_shopper, asks(1)), 1, "another order's");
        let with_drop = EndReason::DropCancelled;
        assert_eq!(unjustified(status, with_drop, |_| {}), 1);
        assert_eq!(unjustified(status, with_drop, asks(2)), 1);
        let cancels = |f: &mut Facts| f.journal.push(Entry::DropCancelAsked { at_ms: 0 });
        assert_eq!(unjustified(status, with_drop, cancels), 0);
        assert_eq!(unjustified(status, by_shopper, cancels), 1);
        assert_eq!(unjustified(status, EndReason::PaymentDeclined, |_| {}), 1);
    }

    #[test]
    fn a_deadline_has_passed_and_is_counted() {
        let (status, reason) = (OrderStatus::Cancelled, EndReason::PaymentDeadline);
        let found = ended(status, reason, |f| f.quiet = false);
        assert_eq!((found.unjustified_endings, found.endings_by_deadline), (0, 1));
        let early = |f: &mut Facts| {
            let order = &mut f.orders[2].order;
            order.updated_at = order.payment_deadline.plus_millis(-CLOCK_SKEW_MS - 1);
            f.money[2].actions = 1;
        };
        assert_eq!(unjustified(status, reason, early), 1);
    }

    #[test]
    fn where_nothing_goes_wrong_no_order_waits_for_its_payment_until_the_deadline() {
        let (status, reason) = (OrderStatus::Cancelled, EndReason::PaymentDeadline);
        assert_eq!(unjustified(status, reason, |_| {}), 1);
        assert_eq!(unjustified(status, reason, |f| f.money[2].actions = 1), 0);
        assert_eq!(unjustified(status, reason, |f| f.money[2].declines = 1), 0);
    }
}
