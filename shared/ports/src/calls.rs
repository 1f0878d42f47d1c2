//! The lines of the calls to the payment gateway: all workers share its rate.

use std::future::Future;

use domain::rate::{CallsWanted, Turn};

use crate::StoreError;

/// Grants turns for gateway calls.
pub trait TakeCalls: Send + Sync {
    /// Takes the next turns of one line, or none if they begin too late. If the answer is lost, the turns may
    /// have been taken. A repeat then leaves some turns unused, which costs time and never exceeds the rate.
    fn take_calls(&self, wanted: CallsWanted) -> impl Future<Output = Result<Turn, StoreError>> + Send;
}
