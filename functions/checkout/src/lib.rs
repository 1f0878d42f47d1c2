//! Check out: turn a reservation into an order, once.
//!
//! One transaction makes the hold *ordered*, counts the units against the shopper's limit, and stores the order and the
//! address. The order's id is a hash of the reservation's, so however often the request is repeated, and whatever died
//! in between, there is one order: a repeat finds it. The answer is 202, given once the transaction is in; the payment
//! begins when the order leaves the outbox.
//!
//! It talks to no gateway and no queue: a function that writes to two systems needs an outbox between them, and the
//! order's stream is that outbox.
#![forbid(unsafe_code)]

pub mod http;
pub mod place;

use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};

pub use http::Api;

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);
