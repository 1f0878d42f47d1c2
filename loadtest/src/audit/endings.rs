//! Checks whether the gateway's log or a person's action justifies the end of each accepted order.

use std::collections::BTreeMap;

use domain::limits::CLOCK_SKEW_MS;
use domain::order::{EndReason, Order, OrderStatus};
use domain::saga::Turn;

use super::Count;
use super::journal_index::JournalIndex;
use crate::facts::{Facts, MoneyFact};

/// Counts of accepted orders that ended without a justification, or by their payment deadline.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// Accepted orders whose ending has no justification.
    pub(super) unjustified: Count,
    /// Accepted orders that ended because their payment deadline passed.
    pub(super) by_deadline: u64,
}

/// Judges the ending of every order whose checkout was answered 202.
pub(super) fn endings(facts: &Facts, journal: &JournalIndex<'_>) -> Endings {
    let mut logged: BTreeMap<&str, MoneyFact> = BTreeMap::new();
    for money in &facts.money {
        let all = logged.entry(&money.order_id).or_default();
        all.declines += money.declines;
        all.actions += money.actions;
        all.cancels += money.cancels;
    }
    let orders = facts.orders.iter().map(|fact| &fact.order);
    let nothing = MoneyFact::default();
    let mut found = Endings::default();
    for order in orders.filter(|order| journal.accepted.contains(order.id.as_str())) {
        let log = logged.get(order.id.as_str()).unwrap_or(&nothing);
        let by_deadline = order.reason == Some(EndReason::PaymentDeadline);
        found.by_deadline += u64::from(by_deadline);
        let unjustified = match (order.status, order.reason) {
            _ if by_deadline => unjustified_by_deadline(order, log),
            (OrderStatus::Cancelled, Some(EndReason::GatewayUnavailable)) => {
                unjustified_without_gateway(facts, journal, order)
            }
            // An order whose terms allow no card is declined without a call to the gateway.
            (OrderStatus::Declined, _) if order.terms.cards > 0 && declines(log) < order.tries.len() => {
                Some("the gateway declined fewer cards than were tried")
            }
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
            let why = unjustified.unwrap_or_default();
            format!("{id} is {status} for {reason}: {why}")
        });
    }
    found
}

fn declines(log: &MoneyFact) -> usize {
    usize::try_from(log.declines).unwrap_or(usize::MAX)
}

/// The shopper's time limit can end an order only in the shopper's turn, that is, after the gateway required
/// an action or declined a card, and only when the limit has passed.
fn unjustified_by_deadline(order: &Order, log: &MoneyFact) -> Option<&'static str> {
    if order.updated_at.plus_millis(CLOCK_SKEW_MS) < order.payment_deadline {
        Some("its deadline had not passed")
    } else if order.turn != Turn::Shopper {
        Some("it was not the shopper's turn")
    } else if log.actions == 0 && log.declines == 0 {
        Some("the gateway neither declined nor asked the shopper to act")
    } else {
        None
    }
}

/// An operator may end an order that waits for the gateway. Such an end is justified if the operator requested it
/// and the gateway failed while the order was open.
fn unjustified_without_gateway(
    facts: &Facts,
    journal: &JournalIndex<'_>,
    order: &Order,
) -> Option<&'static str> {
    let from = order.placed_at.plus_millis(-CLOCK_SKEW_MS).as_millis();
    let open = from..=order.updated_at.plus_millis(CLOCK_SKEW_MS).as_millis();
    if !facts.gateway_failed_ms.iter().any(|at_ms| open.contains(at_ms)) {
        Some("the gateway did not fail while it was open")
    } else if !journal.end_asked.contains(order.id.as_str()) {
        Some("no operator asked for that")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Findings, audit, fixture};
    use super::*;
    use crate::facts::Entry;

    /// The findings when the third order of the clean run, which the gateway declined, has another ending.
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
        let takes_no_card = |f: &mut Facts| f.orders[2].order.terms.cards = 0;
        assert_eq!(unjustified(status, reason, takes_no_card), 0);
        let not_accepted = |f: &mut Facts| f.journal.retain(|entry| !matches!(entry, Entry::Ordered(_)));
        assert_eq!(unjustified(status, reason, not_accepted), 0);
    }

    #[test]
    fn each_card_that_was_tried_was_declined() {
        let (status, reason) = (OrderStatus::Declined, EndReason::PaymentDeclined);
        let two_cards = |declines: u32| {
            move |f: &mut Facts| {
                let order = &mut f.orders[2].order;
                order.tries.push(order.tries[0].clone());
                f.money[2].declines = declines;
            }
        };
        assert_eq!(unjustified(status, reason, two_cards(1)), 1);
        assert_eq!(unjustified(status, reason, two_cards(2)), 0);
    }

    #[test]
    fn the_gateway_is_given_up_only_where_it_failed_and_an_operator_asked() {
        let (status, reason) = (OrderStatus::Cancelled, EndReason::GatewayUnavailable);
        let asked = |f: &mut Facts, nth: usize| {
            let order_id = f.orders[nth].order.id.to_string();
            f.journal.push(Entry::EndAsked { at_ms: 0, order_id });
        };
        let failed = |f: &mut Facts, from_placing_ms: i64| {
            let at = f.orders[2].order.placed_at.as_millis() + from_placing_ms;
            f.gateway_failed_ms.push(at);
        };
        let both = |f: &mut Facts| {
            failed(f, 1);
            asked(f, 2);
        };
        assert_eq!(unjustified(status, reason, both), 0);
        assert_eq!(unjustified(status, reason, |_| {}), 1);
        assert_eq!(unjustified(status, reason, |f| failed(f, 1)), 1);
        assert_eq!(unjustified(status, reason, |f| asked(f, 2)), 1);
        let another = |f: &mut Facts| {
            failed(f, 1);
            asked(f, 1);
        };
        assert_eq!(unjustified(status, reason, another), 1, "another order's");
        let before = |f: &mut Facts| {
            failed(f, -CLOCK_SKEW_MS - 1);
            asked(f, 2);
        };
        assert_eq!(unjustified(status, reason, before), 1, "before it was placed");
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
    fn a_deadline_is_the_shopper_s_has_passed_and_is_counted() {
        let (status, reason) = (OrderStatus::Cancelled, EndReason::PaymentDeadline);
        let shoppers = |f: &mut Facts| {
            f.orders[2].order.turn = Turn::Shopper;
            f.money[2].actions = 1;
        };
        let found = ended(status, reason, shoppers);
        assert_eq!(found.unjustified_endings, 0);
        assert_eq!(found.endings_by_deadline, 1);
        let early = |f: &mut Facts| {
            shoppers(f);
            let order = &mut f.orders[2].order;
            order.updated_at = order.payment_deadline.plus_millis(-CLOCK_SKEW_MS - 1);
        };
        assert_eq!(unjustified(status, reason, early), 1);
        assert_eq!(
            unjustified(status, reason, |f| f.money[2].actions = 1),
            1,
            "the gateway's turn"
        );
    }

    #[test]
    fn a_deadline_needs_a_failed_card_or_an_action_left_undone() {
        let (status, reason) = (OrderStatus::Cancelled, EndReason::PaymentDeadline);
        let shoppers = |declines: u32, actions: u32| {
            move |f: &mut Facts| {
                f.orders[2].order.turn = Turn::Shopper;
                (f.money[2].declines, f.money[2].actions) = (declines, actions);
            }
        };
        assert_eq!(unjustified(status, reason, shoppers(0, 0)), 1);
        assert_eq!(unjustified(status, reason, shoppers(0, 1)), 0);
        assert_eq!(unjustified(status, reason, shoppers(1, 0)), 0);
    }
}
