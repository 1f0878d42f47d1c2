//! Tests that a refused event reports the broken rule and blocks no other event.

use contracts::ledger::{Ledger as _, cancelled_life, life};
use domain::order::{EndReason, OrderStatus};
use domain::time::Timestamp;
use events::{OrderData, OrderEvent};
use ports::ledger::{LedgerError, ProjectOrders as _, Projected};

use crate::server::Ledger;

fn refused(name: &str) -> Result<Projected, LedgerError> {
    Err(LedgerError::Refused(name.to_owned()))
}

/// Makes the first event of a new order, changed by `change`.
fn placed(name: &str, change: impl FnOnce(&mut OrderData)) -> OrderEvent {
    let mut event = life(name).remove(0);
    change(&mut event.data);
    event
}

#[tokio::test]
async fn each_rule_is_named() {
    let ledger = Ledger::start().await;
    let taken = life("taken").remove(0);
    assert_eq!(
        ledger.project(std::slice::from_ref(&taken)).await,
        [Ok(Projected::Latest)]
    );
    let far = Timestamp::from_millis(i64::MAX);
    let paid = life("eve").remove(3);
    let cases = [
        (
            "ledger_orders_one_per_reservation",
            placed("a", |order| order.reservation_id = taken.data.reservation_id),
        ),
        (
            "ledger_orders_version_positive",
            placed("b", |order| order.version = 0),
        ),
        (
            "ledger_orders_reason_with_end",
            placed("c", |order| order.reason = Some(EndReason::ByShopper)),
        ),
        (
            "ledger_orders_reason_with_end",
            placed("d", |order| order.status = OrderStatus::Cancelled),
        ),
        (
            "ledger_orders_paid_with_payment",
            placed("e", |order| order.status = OrderStatus::Paid),
        ),
        (
            "ledger_orders_quantity_positive",
            placed("f", |order| order.quantity = 0),
        ),
        (
            "ledger_orders_amount_positive",
            placed("g", |order| order.amount_minor = 0),
        ),
        (
            "ledger_orders_currency_code",
            placed("h", |order| order.currency = "eur".to_owned()),
        ),
        (
            "ledger_orders_times_in_order",
            placed("i", |order| order.updated_at_ms = Timestamp::from_millis(0)),
        ),
        // These are PostgreSQL's codes for a time beyond its calendar and for a text with a zero byte.
        ("22008", placed("j", |order| order.updated_at_ms = far)),
        (
            "22021",
            placed("k", |order| order.payment_id = Some("pi\0".to_owned())),
        ),
    ];
    for (rule, event) in cases {
        let answers = ledger.project(std::slice::from_ref(&event)).await;
        let [Err(LedgerError::Refused(name))] = &answers[..] else {
            panic!("{rule}: {answers:?}");
        };
        // Orders and their versions share some rules. PostgreSQL chooses which of the two rules it reports.
        let name = name.replace("ledger_order_versions_", "ledger_orders_");
        assert_eq!(name, rule);
        assert_eq!(ledger.latest(&event.data.order_id).await, None, "{rule}");
        assert_eq!(ledger.history(&event.data.order_id).await, [], "{rule}");
    }
    // The payment belongs to another order: the entries refuse it, and the order's row must not be written either.
    assert_eq!(
        ledger.project(std::slice::from_ref(&paid)).await,
        [Ok(Projected::Latest)]
    );
    let mut stolen = life("mallory").remove(3);
    stolen.data.payment_id = paid.data.payment_id;
    assert_eq!(
        ledger.project(&[stolen]).await,
        [refused("ledger_entries_one_order_per_payment")]
    );
}

#[tokio::test]
async fn a_bad_event_in_a_batch_keeps_no_other_out() {
    let ledger = Ledger::start().await;
    let (life, other) = (life("ada"), cancelled_life("bob"));
    let bad = [
        placed("x", |order| order.quantity = 0),
        placed("y", |order| order.payment_id = Some("\0".to_owned())),
    ];
    let batch = [&life[..2], &bad[..1], &other[..], &bad[1..], &life[1..3]].concat();
    assert_eq!(
        ledger.project(&batch).await,
        [
            Ok(Projected::Latest),
            Ok(Projected::Latest),
            refused("ledger_orders_quantity_positive"),
            Ok(Projected::Latest),
            Ok(Projected::Latest),
            refused("22021"),
            Ok(Projected::Known),
            Ok(Projected::Latest),
        ]
    );
    assert_eq!(ledger.history(&life[0].data.order_id).await.len(), 3);
    assert_eq!(ledger.history(&other[0].data.order_id).await.len(), 2);
    assert_eq!(ledger.history(&bad[0].data.order_id).await, []);
}

#[tokio::test]
async fn hundreds_of_events_in_one_call_are_written() {
    let ledger = Ledger::start().await;
    let events: Vec<OrderEvent> = (0..240).flat_map(|n| life(&format!("s{n}"))).collect();
    let answers = ledger.project(&events).await;
    assert_eq!(answers, vec![Ok(Projected::Latest); events.len()]);
}
