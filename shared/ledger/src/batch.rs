//! Makes the parameters of a batch, column by column, and reads its result.

use std::collections::{BTreeMap, HashSet};

use domain::ids::CorrelationId;
use domain::order::EndReason;
use events::{OrderData, OrderEvent};
use ports::ledger::{LedgerError, Projected};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// Writes a batch and returns one row for each event.
pub(crate) const STATEMENT: &str = include_str!("project.sql");

/// A parameter with its type, so that the driver does not ask the server for it.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The events of a batch: one array for each column of the statement, in the statement's order.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    order_id: Vec<&'a str>,
    version: Vec<i64>,
    status: Vec<&'a str>,
    reason: Vec<Option<&'a str>>,
    reservation_id: Vec<String>,
    drop_id: Vec<&'a str>,
    sku: Vec<&'a str>,
    shopper_id: Vec<&'a str>,
    quantity: Vec<i64>,
    amount_minor: Vec<i64>,
    currency: Vec<&'a str>,
    payment_id: Vec<Option<&'a str>>,
    placed_at_ms: Vec<i64>,
    updated_at_ms: Vec<i64>,
    correlation_id: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(events: &'a [OrderEvent]) -> Self {
        fn column<'a, T>(events: &'a [OrderEvent], value: impl Fn(&'a OrderData) -> T) -> Vec<T> {
            events.iter().map(|event| value(&event.data)).collect()
        }
        Self {
            order_id: column(events, |order| order.order_id.as_str()),
            version: column(events, |order| i64::from(order.version)),
            status: column(events, |order| order.status.as_str()),
            reason: column(events, |order| order.reason.map(EndReason::as_str)),
            reservation_id: column(events, |order| order.reservation_id.to_string()),
            drop_id: column(events, |order| order.drop_id.as_str()),
            sku: column(events, |order| order.sku.as_str()),
            shopper_id: column(events, |order| order.shopper_id.as_str()),
            quantity: column(events, |order| i64::from(order.quantity)),
            amount_minor: column(events, |order| order.amount_minor),
            currency: column(events, |order| order.currency.as_str()),
            payment_id: column(events, |order| order.payment_id.as_deref()),
            placed_at_ms: column(events, |order| order.placed_at_ms.as_millis()),
            updated_at_ms: column(events, |order| order.updated_at_ms.as_millis()),
            correlation_id: events
                .iter()
                .map(|event| event.correlation.as_ref().map(CorrelationId::as_str))
                .collect(),
        }
    }

    pub(crate) fn parameters(&self) -> [Parameter<'_>; 15] {
        let (text, number) = (Type::TEXT_ARRAY, Type::INT8_ARRAY);
        [
            (&self.order_id, text.clone()),
            (&self.version, number.clone()),
            (&self.status, text.clone()),
            (&self.reason, text.clone()),
            (&self.reservation_id, text.clone()),
            (&self.drop_id, text.clone()),
            (&self.sku, text.clone()),
            (&self.shopper_id, text.clone()),
            (&self.quantity, number.clone()),
            (&self.amount_minor, number.clone()),
            (&self.currency, text.clone()),
            (&self.payment_id, text.clone()),
            (&self.placed_at_ms, number.clone()),
            (&self.updated_at_ms, number),
            (&self.correlation_id, text),
        ]
    }
}

/// One event's row in the result of [`STATEMENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Whether the order's history did not have this version.
    pub(crate) is_new: bool,
    /// Whether the order is now at the highest version of the batch.
    pub(crate) moved_on: bool,
    /// The order's version before the batch.
    pub(crate) before: Option<i64>,
}

impl Written {
    pub(crate) fn of(row: &Row) -> Result<Self, LedgerError> {
        let read = |error: tokio_postgres::Error| LedgerError::Unavailable(format!("an odd answer: {error}"));
        Ok(Self {
            is_new: row.try_get(1).map_err(read)?,
            moved_on: row.try_get(2).map_err(read)?,
            before: row.try_get(3).map_err(read)?,
        })
    }
}

/// The results of a batch's events, as if they had been written one after the other.
pub(crate) fn answers(events: &[OrderEvent], written: &[Written]) -> Vec<Projected> {
    let mut seen = HashSet::new();
    let mut highest: BTreeMap<&str, i64> = BTreeMap::new();
    let mut answers = Vec::with_capacity(events.len());
    for (OrderEvent { data: order, .. }, written) in events.iter().zip(written) {
        let (id, version) = (order.order_id.as_str(), i64::from(order.version));
        // Of duplicates within the batch only the first counts as new.
        let is_new = written.is_new && seen.insert((id, version));
        let highest = highest.entry(id).or_insert(written.before.unwrap_or(0));
        let is_higher = version > *highest;
        *highest = version.max(*highest);
        answers.push(match (is_new, is_higher && written.moved_on) {
            (false, _) => Projected::Known,
            (true, true) => Projected::Latest,
            // The version is lower than the stored version, or than a version that another transaction wrote in the
            // meantime.
            (true, false) => Projected::Late,
        });
    }
    answers
}
