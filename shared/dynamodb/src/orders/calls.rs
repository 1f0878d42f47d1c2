//! Stores the lines of the calls to the payment gateway, one item for each line. A worker that takes call slots moves
//! the line's time to later.
//!
//! | key | item |
//! |---|---|
//! | `#gateway#{line}` | `line`: the end of the last slot that was taken, in microseconds since 1970 |
//!
//! The lines are in the table `purchases`, which `process-order` writes anyway and which has no stream. A purchase
//! counter's key begins with its drop's id, so no counter can have the key of a line.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::limits::MAX_LINES;
use domain::rate::{CallsWanted, Turn, from_micros, micros};
use ports::StoreError;
use ports::calls::TakeCalls;

use crate::error::{Written, written};
use crate::item::{n, number};
use crate::orders::OrderStore;

const TABLE: &str = "purchases";
/// The only attribute of a line.
const LINE: &str = "line";
/// The largest number of writes for one request for slots. A write is refused if another worker has moved, created or
/// removed the line since this process read it.
const MOST_WRITES: usize = 4;

/// For each rate line of the gateway, the position that this process read last. It selects the conditional write that
/// will probably succeed.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinesSeen(Arc<[AtomicI64; MAX_LINES as usize]>);

impl LinesSeen {
    fn get(&self, line: u8) -> Option<i64> {
        (self.0.get(usize::from(line))).map(|seen| seen.load(Ordering::Relaxed))
    }

    fn note(&self, line: u8, seen: i64) {
        if let Some(place) = self.0.get(usize::from(line)) {
            place.store(seen, Ordering::Relaxed);
        }
    }
}

impl OrderStore {
    fn move_line(&self, line: u8) -> UpdateItemFluentBuilder {
        let table = &self.clients.tables.purchases;
        let update = self.clients.update(table, format!("#gateway#{line}"));
        update
            .expression_attribute_names("#line", LINE)
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

impl TakeCalls for OrderStore {
    async fn take_calls(&self, wanted: CallsWanted) -> Result<Turn, StoreError> {
        let (span, now) = (wanted.rate.span_us(wanted.calls), micros(wanted.now));
        let (latest, farthest) = (micros(wanted.latest), micros(wanted.farthest()));
        let mut line = self.lines.get(wanted.line);
        for _ in 0..MOST_WRITES {
            let begins = wanted.begins_us(line);
            // A line within `farthest` never moves back, so the stored line is at least as late as the line that was
            // read.
            if begins > latest {
                return Ok(Turn::Later(from_micros(begins)));
            }
            let update = if line == Some(begins) {
                // Earlier slots are not over. The new slots follow the line's position at the time of the write.
                self.move_line(wanted.line)
                    .update_expression("SET #line = #line + :span")
                    .condition_expression("#line BETWEEN :now AND :latest")
                    .expression_attribute_values(":span", n(span))
                    .expression_attribute_values(":now", n(now))
                    .expression_attribute_values(":latest", n(latest))
            } else {
                self.move_line(wanted.line)
                    .update_expression("SET #line = :line")
                    .condition_expression("attribute_not_exists(#line) OR #line < :now OR #line > :farthest")
                    .expression_attribute_values(":line", n(now.saturating_add(span)))
                    .expression_attribute_values(":now", n(now))
                    .expression_attribute_values(":farthest", n(farthest))
            };
            let seen = match written("UpdateItem", &self.clients.tables.purchases, update.send().await)? {
                Written::Done(output) => {
                    let item = output.attributes.unwrap_or_default();
                    let line: i64 = number(TABLE, &item, LINE)?;
                    self.lines.note(wanted.line, line);
                    return Ok(Turn::From(from_micros(line.saturating_sub(span))));
                }
                Written::Refused(None) => None,
                Written::Refused(Some(item)) => Some(number(TABLE, &item, LINE)?),
            };
            self.lines.note(wanted.line, seen.unwrap_or_default());
            line = seen;
        }
        Err(StoreError::Busy)
    }
}
