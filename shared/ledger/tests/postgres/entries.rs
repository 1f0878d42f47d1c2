//! Tests ledger entries: one capture for each paid order, one refund for each refunded order, and a sum of
//! zero.

use contracts::ledger::{cancelled_life, life};
use ports::ledger::ProjectOrders as _;
use proptest::prelude::*;

use crate::server::Ledger;

/// Reads the entries of all orders: kind, accounts, amount, payment, version.
async fn entries(ledger: &Ledger) -> Vec<(String, String, String, i64, String, i64)> {
    let query = "
        SELECT kind, debit_account, credit_account, amount_minor, payment_id, version
        FROM ledger_entries ORDER BY order_id, kind";
    let rows = ledger.server.connect().await.query(query, &[]).await.unwrap();
    rows.iter()
        .map(|row| {
            (
                row.get(0),
                row.get(1),
                row.get(2),
                row.get(3),
                row.get(4),
                row.get(5),
            )
        })
        .collect()
}

/// Reads the balance of each account, in a fixed order.
async fn balances(ledger: &Ledger) -> Vec<(String, String, i64)> {
    let query = "SELECT account, currency, balance_minor::int8 FROM ledger_balances ORDER BY account";
    let rows = ledger.server.connect().await.query(query, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

fn entry(kind: &str, debit: &str, credit: &str, version: i64) -> (String, String, String, i64, String, i64) {
    (
        kind.into(),
        debit.into(),
        credit.into(),
        9800,
        "pi_ada".into(),
        version,
    )
}

fn balance(account: &str, minor: i64) -> (String, String, i64) {
    (account.into(), "EUR".into(), minor)
}

#[tokio::test]
async fn a_paid_order_is_captured_once_and_refunded_once() {
    let ledger = Ledger::start().await;
    let life = life("ada");
    ledger.project(&life[..3]).await;
    assert_eq!(entries(&ledger).await, []);
    ledger.project(&life[3..4]).await;
    let capture = entry("capture", "gateway", "sales", 4);
    assert_eq!(entries(&ledger).await, std::slice::from_ref(&capture));
    assert_eq!(
        balances(&ledger).await,
        [balance("gateway", 9800), balance("sales", -9800)]
    );
    for _ in 0..2 {
        ledger.project(&life).await;
    }
    let refund = entry("refund", "refunds", "gateway", 5);
    assert_eq!(entries(&ledger).await, [capture, refund]);
    assert_eq!(
        balances(&ledger).await,
        [
            balance("gateway", 0),
            balance("refunds", 9800),
            balance("sales", -9800)
        ]
    );
}

#[tokio::test]
async fn an_order_without_payment_has_no_entry() {
    let ledger = Ledger::start().await;
    ledger.project(&cancelled_life("ada")).await;
    assert_eq!(entries(&ledger).await, []);
    assert_eq!(balances(&ledger).await, []);
}

#[tokio::test]
async fn a_payment_that_comes_after_its_refund_is_still_captured() {
    let ledger = Ledger::start().await;
    let life = life("ada");
    ledger.project(&life[4..]).await;
    assert_eq!(entries(&ledger).await.len(), 1);
    ledger.project(&life[3..4]).await;
    assert_eq!(entries(&ledger).await.len(), 2);
}

/// Batches of events in any order and with duplicates leave the entries that the set of events implies.
#[test]
fn any_deliveries_end_in_the_same_books() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ledger = runtime.block_on(Ledger::start());
    let lives = [life("ada"), life("bob"), cancelled_life("cleo")];
    let events = lives.concat();
    let order = proptest::collection::vec(0..events.len(), 0..40);
    let cuts = proptest::collection::vec(1usize..8, 1..20);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&(order, cuts), |(order, cuts)| {
            runtime.block_on(async {
                let client = ledger.server.connect().await;
                client
                    .batch_execute("TRUNCATE ledger_entries, ledger_order_versions, ledger_orders")
                    .await
                    .unwrap();
                let mut deliveries: Vec<_> = order.iter().map(|n| events[*n].clone()).collect();
                let mut cuts = cuts.iter().cycle();
                while !deliveries.is_empty() {
                    let rest = deliveries.split_off(deliveries.len().min(*cuts.next().unwrap()));
                    let answers = ledger.project(&deliveries).await;
                    prop_assert!(answers.iter().all(Result::is_ok), "{answers:?}");
                    deliveries = rest;
                }
                let mut seen: Vec<_> = order.iter().map(|n| &events[*n].data).collect();
                seen.sort_by_key(|data| (data.order_id.clone(), data.version));
                seen.dedup();
                let count = |query: &'static str| {
                    let client = &client;
                    async move { client.query_one(query, &[]).await.unwrap().get::<_, i64>(0) }
                };
                let versions = count("SELECT count(*) FROM ledger_order_versions").await;
                prop_assert_eq!(versions, seen.len() as i64);
                for data in &seen {
                    let last = seen
                        .iter()
                        .filter(|other| other.order_id == data.order_id)
                        .map(|d| d.version);
                    let query = "SELECT version, status FROM ledger_orders WHERE order_id = $1";
                    let row = client.query_one(query, &[&data.order_id.as_str()]).await.unwrap();
                    prop_assert_eq!(row.get::<_, i64>(0), i64::from(last.max().unwrap()));
                }
                let money = seen
                    .iter()
                    .filter(|data| ["paid", "refunded"].contains(&data.status.as_str()));
                prop_assert_eq!(
                    count("SELECT count(*) FROM ledger_entries").await,
                    money.count() as i64
                );
                let sum = "SELECT coalesce(sum(balance_minor), 0)::int8 FROM ledger_balances";
                prop_assert_eq!(count(sum).await, 0);
                Ok(())
            })
        })
        .unwrap();
}
