//! Runs the contract tests of the ledger port on PostgreSQL.

use contracts::ledger::Ledger as UnderTest;
use domain::ids::OrderId;
use domain::order::{EndReason, OrderStatus};
use domain::time::Timestamp;
use events::{EventType, OrderData, OrderEvent};
use ports::ledger::{LedgerError, ProjectOrders, Projected};
use tokio_postgres::Row;

use crate::server::Ledger;

impl ProjectOrders for Ledger {
    async fn project(&self, events: &[OrderEvent]) -> Vec<Result<Projected, LedgerError>> {
        self.ledger.project(events).await
    }
}

const LATEST: &str = "
    SELECT *, (extract(epoch FROM placed_at) * 1000)::int8 AS placed_at_ms,
           (extract(epoch FROM updated_at) * 1000)::int8 AS updated_at_ms
    FROM ledger_orders WHERE order_id = $1";

const HISTORY: &str = "
    SELECT version, status FROM ledger_order_versions WHERE order_id = $1 ORDER BY version";

fn text(row: &Row, column: &str) -> String {
    row.get(column)
}

fn number(row: &Row, column: &str) -> i64 {
    row.get(column)
}

fn status(name: &str) -> OrderStatus {
    OrderStatus::ALL
        .into_iter()
        .find(|status| status.as_str() == name)
        .unwrap()
}

fn reason(name: &str) -> EndReason {
    EndReason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .unwrap()
}

impl UnderTest for Ledger {
    async fn latest(&self, id: &OrderId) -> Option<OrderEvent> {
        let row = self
            .server
            .connect()
            .await
            .query_opt(LATEST, &[&id.as_str()])
            .await
            .unwrap()?;
        let data = OrderData {
            order_id: text(&row, "order_id").parse().unwrap(),
            version: number(&row, "version").try_into().unwrap(),
            status: status(&text(&row, "status")),
            reason: row.get::<_, Option<&str>>("reason").map(reason),
            reservation_id: text(&row, "reservation_id").parse().unwrap(),
            drop_id: text(&row, "drop_id").parse().unwrap(),
            sku: text(&row, "sku").parse().unwrap(),
            shopper_id: text(&row, "shopper_id").parse().unwrap(),
            quantity: number(&row, "quantity").try_into().unwrap(),
            amount_minor: number(&row, "amount_minor"),
            currency: text(&row, "currency"),
            payment_id: row.get("payment_id"),
            placed_at_ms: Timestamp::from_millis(number(&row, "placed_at_ms")),
            updated_at_ms: Timestamp::from_millis(number(&row, "updated_at_ms")),
        };
        // The ledger does not store the event's kind.
        Some(OrderEvent {
            kind: EventType::Updated,
            data,
            correlation: row
                .get::<_, Option<&str>>("correlation_id")
                .map(|id| id.parse().unwrap()),
            next_due: None,
        })
    }

    async fn history(&self, id: &OrderId) -> Vec<(u32, String)> {
        let rows = self
            .server
            .connect()
            .await
            .query(HISTORY, &[&id.as_str()])
            .await
            .unwrap();
        rows.iter()
            .map(|row| (number(row, "version").try_into().unwrap(), text(row, "status")))
            .collect()
    }
}

contracts::ledger_contract!(Ledger::start().await);
