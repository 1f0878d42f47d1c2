//! The statements of former releases on the newest schema: while a deployment runs, and after a rollback, they write.
//!
//! A release whose migrations change what a statement meets keeps a copy of the statement before as `tests/former/Vn.sql`, under
//! the version of the schema that it was written for.

use memory::contract::ledger::{Ledger as _, life};
use tokio_postgres::types::{ToSql, Type};

use crate::server::{Ledger, WRITER};

/// The statement of `V1`.
const V1: &str = include_str!("../former/V1.sql");

#[tokio::test]
async fn the_statement_of_v1_writes_to_the_newest_schema() {
    let ledger = Ledger::start().await;
    let (client, _running) = ledger.server.database(WRITER).connect().await.unwrap();
    let events = life("ada");
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
    // What the release reads of the answer: whether the version is new, whether the order moved on, and its version before.
    for (is_new, before) in [(true, None), (false, Some(5))] {
        let rows = client.query_typed(V1, &parameters).await.unwrap();
        assert_eq!(rows.len(), events.len());
        for row in &rows {
            assert_eq!((row.get::<_, bool>(1), row.get::<_, bool>(2)), (is_new, is_new));
            assert_eq!(row.get::<_, Option<i64>>(3), before);
        }
    }
    let id = &events[0].data.order_id;
    assert_eq!(ledger.history(id).await.len(), events.len());
    assert_eq!(ledger.latest(id).await.unwrap().data, events[4].data);
}
