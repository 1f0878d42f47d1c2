//! What log lines are about: the spans that all lines of a request, a message or an order are written in.
//!
//! The runtime opens the span of an invocation, whose field `requestId` is Lambda's id of it. Within it stand, each opened in
//! one place: the span of an HTTP request (`gateway::span`), of a message (`batch::work`), and of an order or a drop that a
//! record of the stream or a schedule leads to (here). Nothing in them tells who the shopper is.

use domain::ids::{CorrelationId, DropId, OrderId};
use events::OrderEvent;
use tracing::Span;
use tracing::field::Empty;

/// The span of work on one order. [`correlate`] adds the correlation id once the order has been read.
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

/// The span of work on one drop.
#[must_use]
pub fn of_drop(drop: &DropId) -> Span {
    tracing::info_span!("drop", drop = drop.as_str())
}

/// Adds the order's correlation id to the current span, when the order has one and the span a field for it.
pub fn correlate(correlation: Option<&CorrelationId>) {
    if let Some(id) = correlation {
        Span::current().record("correlation_id", id.as_str());
    }
}
