//! Makes the spans of log lines: each names the request, message or order that a line is about.
//!
//! The runtime opens the span of an invocation, whose field `requestId` is Lambda's request id. Inner spans are opened
//! in one place each: the span of an HTTP request (`gateway::span`), of a message (`batch::work`), and of an order or a
//! drop that comes from a stream record or a schedule (this module). No span contains the shopper's id.

use domain::ids::{CorrelationId, DropId, OrderId};
use events::OrderEvent;
use tracing::Span;
use tracing::field::Empty;

/// The span of work on one order. [`correlate`] adds the correlation id after the order was read.
#[must_use]
pub fn of_order(order: &OrderId) -> Span {
    tracing::info_span!("order", order = order.as_str(), correlation_id = Empty)
}

/// The span of work on the order of an event.
#[must_use]
pub fn of_event(event: &OrderEvent) -> Span {
    tracing::info_span!(
        "event",
        order = event.data.order_id.as_str(),
        drop = event.data.drop_id.as_str(),
        version = event.data.version,
        correlation_id = event.correlation.as_ref().map(CorrelationId::as_str),
        message_id = Empty
    )
}

#[must_use]
pub fn of_drop(drop: &DropId) -> Span {
    tracing::info_span!("drop", drop = drop.as_str())
}

/// Adds the order's correlation id to the current span if the order has one and the span has the field.
pub fn correlate(correlation: Option<&CorrelationId>) {
    if let Some(id) = correlation {
        Span::current().record("correlation_id", id.as_str());
    }
}
