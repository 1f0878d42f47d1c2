//! Lets a shopper follow orders: list, show, cancel, pay with another card. A shopper sees only their own
//! orders; for any other order the answer is 404.
//!
//! An order without a payment is cancelled immediately. For an order with a payment, only the gateway knows
//! whether money was taken. So this function stores the request, `process-order` cancels the payment at the
//! gateway first, and the order's status shows the result.
#![forbid(unsafe_code)]

pub mod cancel;
pub mod http;
pub mod pay;

use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};

pub use http::Api;

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);
