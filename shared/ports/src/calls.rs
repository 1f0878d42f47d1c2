//! Defines the port by which workers get slots for calls to the payment gateway. All workers share the
//! gateway's rate.

use std::future::Future;

use domain::rate::{CallsWanted, Turn};

use crate::StoreError;

/// Grants slots for gateway calls ([`domain::rate`]). A call may be made when its slot begins.
pub trait TakeCalls: Send + Sync {
    /// Takes the next slots of one line, or no slot if they would begin too late. If the answer is lost,
    /// the slots may have been taken. A repeat then leaves some slots unused, which costs time but never
    /// exceeds the rate.
    fn take_calls(&self, wanted: CallsWanted) -> impl Future<Output = Result<Turn, StoreError>> + Send;
}
