//! Follow an order: list, show, cancel, pay with another card. A shopper's own orders only; anybody else's do not exist.
//!
//! Cancelling before a payment exists undoes the order at once. Once the gateway has one, only the gateway knows whether
//! money moves: the wish is noted, `process-order` cancels there first, and the order's status tells how it ended.
#![forbid(unsafe_code)]

pub mod cancel;
pub mod http;
pub mod pay;

use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};

pub use http::Api;

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);
