//! The lines of the calls to the payment gateway: all workers share its rate.

use std::future::Future;

use domain::rate::{CallsWanted, Turn};

use crate::StoreError;

/// Hands out turns to make calls.
pub trait TakeCalls: Send + Sync {
    /// Takes the next turns of one line, or none if they begin too late. A lost answer may have taken them; whoever asks again then leaves some
    /// unused, which costs time and never makes the calls faster than the rate.
    fn take_calls(&self, wanted: CallsWanted) -> impl Future<Output = Result<Turn, StoreError>> + Send;
}
