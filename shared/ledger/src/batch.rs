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

/// A column of a batch: an array with one value of each event, and its type, so that the driver does not ask the server
/// for the type.
type Column<'a> = (Box<dyn ToSql + Sync + Send + 'a>, Type);

/// The events of a batch: one array for each column of the statement, in the statement's order.
pub(crate) struct Columns<'a>([Column<'a>; 15]);

impl<'a> Columns<'a> {
    pub(crate) fn of(events: &'a [OrderEvent]) -> Self {
        let text = |value: fn(&'a OrderData) -> &'a str| -> Column<'a> {
            let values: Vec<&str> = events.iter().map(|event| value(&event.data)).collect();
            (Box::new(values), Type::TEXT_ARRAY)
        };
        let optional_text = |value: fn(&'a OrderEvent) -> Option<&'a str>| -> Column<'a> {
            let values: Vec<Option<&str>> = events.iter().map(value).collect();
            (Box::new(values), Type::TEXT_ARRAY)
        };
        let number = |value: fn(&OrderData) -> i64| -> Column<'a> {
            let values: Vec<i64> = events.iter().map(|event| value(&event.data)).collect();
            (Box::new(values), Type::INT8_ARRAY)
        };
        let reservations = events.iter().map(|event| event.data.reservation_id.to_string());
        let reservations: Vec<String> = reservations.collect();
        Self([
            text(|order| order.order_id.as_str()),
            number(|order| i64::from(order.version)),
            text(|order| order.status.as_str()),
            optional_text(|event| event.data.reason.map(EndReason::as_str)),
            (Box::new(reservations), Type::TEXT_ARRAY),
            text(|order| order.drop_id.as_str()),
            text(|order| order.sku.as_str()),
            text(|order| order.shopper_id.as_str()),
            number(|order| i64::from(order.quantity)),
            number(|order| order.amount_minor),
            text(|order| order.currency.as_str()),
            optional_text(|event| event.data.payment_id.as_deref()),
            number(|order| order.placed_at_ms.as_millis()),
            number(|order| order.updated_at_ms.as_millis()),
            optional_text(|event| event.correlation.as_ref().map(CorrelationId::as_str)),
        ])
    }

    pub(crate) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let columns = self.0.iter();
        columns
            .map(|(values, kind)| (&**values as &(dyn ToSql + Sync), kind.clone()))
            .collect()
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
