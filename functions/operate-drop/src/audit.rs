//! Logs the audit trail: who requested which action on which drop or order, and its result.

use std::future::Future;

use domain::drops::Drop;
use domain::ids::{DropId, OrderId};
use domain::order::Order;

use crate::NotDone;

/// Awaits `done`, the action `act` on an order, and writes a log line before and after it, as [`audited`] does.
///
/// # Errors
///
/// Those of `done`.
pub async fn audited_order(
    operator: &str,
    order: &OrderId,
    act: &'static str,
    done: impl Future<Output = Result<Order, NotDone>>,
) -> Result<Order, NotDone> {
    tracing::info!(audit = true, operator, %order, act, "operator request received");
    let outcome = done.await;
    match &outcome {
        Ok(after) => {
            let status = after.status.as_str();
            tracing::info!(audit = true, operator, %order, act, version = after.version, status, "operator request carried out");
        }
        Err(error) => {
            tracing::info!(audit = true, operator, %order, act, %error, "operator request refused or not completed; `error` says why");
        }
    }
    outcome
}

/// Awaits `done`, the action `act` on a drop, and writes a log line before and after it. The first line is
/// written before any change, so that the trail also contains an action whose process died.
///
/// # Errors
///
/// Those of `done`.
pub async fn audited<T>(
    operator: &str,
    drop: &DropId,
    act: &'static str,
    done: impl Future<Output = Result<T, NotDone>>,
    after: impl Fn(&T) -> &Drop,
) -> Result<T, NotDone> {
    tracing::info!(audit = true, operator, %drop, act, "operator request received");
    let outcome = done.await;
    match &outcome {
        Ok(value) => {
            let after = after(value);
            tracing::info!(
                audit = true, operator, %drop, act,
                version = after.version, state = ?after.state, paused = after.paused,
                "operator request carried out"
            );
        }
        Err(error) => {
            tracing::info!(audit = true, operator, %drop, act, %error, "operator request refused or not completed; `error` says why")
        }
    }
    outcome
}
