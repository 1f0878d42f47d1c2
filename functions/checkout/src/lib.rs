//! Changes a reservation into an order, exactly once.
//!
//! One transaction changes the hold to *ordered*, counts the units against the shopper's limit, and stores the order
//! and the address. The order's id is a hash of the reservation's id. So there is one order however often the request
//! is repeated, also after a process died: a repeat finds the existing order. The answer is 202, sent after the
//! transaction. The payment begins when the order leaves the outbox.
//!
//! The function calls no gateway and no queue: a function that writes to two systems needs an outbox between them, and
//! the orders table's stream is that outbox.
#![forbid(unsafe_code)]

pub mod http;
pub mod place_order;

use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};

pub use http::Api;

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);
