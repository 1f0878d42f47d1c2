//! Tests statements of former releases on the newest schema. Functions of a former release send these statements during
//! a deployment and after a rollback.
//!
//! A release whose migration affects the statement keeps the former statement as `tests/former/Vn.sql`, where `n` is
//! the version of the schema that it was written for.

use contracts::ledger::{Ledger as _, life};
use events::OrderEvent;
use ports::ledger::ProjectOrders as _;
use tokio_postgres::types::{ToSql, Type};

use crate::server::{Ledger, WRITER};

/// The statement of the release whose newest migration was `V1`.
const V1: &str = include_str!("../former/V1.sql");

/// Writes events as the release of `V1` does, and returns its result columns for each row: whether the version is new,
/// whether the order moved on, and the order's version before.
async fn write_as_v1(ledger: &Ledger, events: &[OrderEvent]) -> Vec<(bool, bool, Option<i64>)> {
    let (client, _running) = ledger.server.database(WRITER).connect().await.unwrap();
    let text = |of: fn(&events::OrderData) -> Option<String>| -> Vec<Option<String>> {
        events.iter().map(|event| of(&event.data)).collect()
    };
    let number = |of: fn(&events::OrderData) -> i64| -> Vec<i64> {
        events.iter().map(|event| of(&event.data)).collect()
    };
    let columns: [(Box<dyn ToSql + Sync + Send>, Type); 14] = [
        (Box::new(text(|o| Some(o.order_id.to_string()))), Type::TEXT_ARRAY),
        (Box::new(number(|o| o.version.into())), Type::INT8_ARRAY),
        (
            Box::new(text(|o| Some(o.status.as_str().into()))),
            Type::TEXT_ARRAY,
        ),
        (
            Box::new(text(|o| o.reason.map(|r| r.as_str().into()))),
            Type::TEXT_ARRAY,
        ),
        (
            Box::new(text(|o| Some(o.reservation_id.to_string()))),
            Type::TEXT_ARRAY,
        ),
        (Box::new(text(|o| Some(o.drop_id.to_string()))), Type::TEXT_ARRAY),
        (Box::new(text(|o| Some(o.sku.to_string()))), Type::TEXT_ARRAY),
        (
            Box::new(text(|o| Some(o.shopper_id.to_string()))),
            Type::TEXT_ARRAY,
        ),
        (Box::new(number(|o| o.quantity.into())), Type::INT8_ARRAY),
        (Box::new(number(|o| o.amount_minor)), Type::INT8_ARRAY),
        (Box::new(text(|o| Some(o.currency.clone()))), Type::TEXT_ARRAY),
        (Box::new(text(|o| o.payment_id.clone())), Type::TEXT_ARRAY),
        (Box::new(number(|o| o.placed_at_ms.as_millis())), Type::INT8_ARRAY),
        (
            Box::new(number(|o| o.updated_at_ms.as_millis())),
            Type::INT8_ARRAY,
        ),
    ];
    let parameters: Vec<(&(dyn ToSql + Sync), Type)> = columns
        .iter()
        .map(|(column, kind)| (&**column as &(dyn ToSql + Sync), kind.clone()))
        .collect();
    let rows = client.query_typed(V1, &parameters).await.unwrap();
    rows.iter()
        .map(|row| (row.get(1), row.get(2), row.get(3)))
        .collect()
}

#[tokio::test]
async fn the_statement_of_v1_writes_to_the_newest_schema() {
    let ledger = Ledger::start().await;
    let events = life("ada");
    for (is_new, before) in [(true, None), (false, Some(5))] {
        let answers = write_as_v1(&ledger, &events).await;
        assert_eq!(answers, vec![(is_new, is_new, before); events.len()]);
    }
    let id = &events[0].data.order_id;
    assert_eq!(ledger.history(id).await.len(), events.len());
    assert_eq!(ledger.latest(id).await.unwrap().data, events[4].data);
}

#[tokio::test]
async fn v1_neither_needs_nor_takes_away_a_correlation_id() {
    let ledger = Ledger::start().await;
    let events = life("ada");
    let (id, correlation) = (&events[0].data.order_id, &events[0].correlation);
    assert!(correlation.is_some());
    let write =
        async |event: &OrderEvent| assert!(ledger.project(std::slice::from_ref(event)).await[0].is_ok());
    // The first event of this release adds the correlation id to a row of the former release. Later events keep it.
    write_as_v1(&ledger, &events[..1]).await;
    assert_eq!(ledger.latest(id).await.unwrap().correlation, None);
    write(&events[1]).await;
    assert_eq!(&ledger.latest(id).await.unwrap().correlation, correlation);
    write_as_v1(&ledger, &events[2..3]).await;
    let without = OrderEvent {
        correlation: None,
        ..events[3].clone()
    };
    write(&without).await;
    let latest = ledger.latest(id).await.unwrap();
    assert_eq!(latest.data.version, 4);
    assert_eq!(&latest.correlation, correlation);
}
