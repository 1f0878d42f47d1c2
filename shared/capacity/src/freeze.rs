//! The deployment freeze: while capacity is held, no deployment may begin.
//!
//! A deployment publishes a version and moves the alias, whose provisioned concurrency must then be allocated again.
//! And an alias with provisioned concurrency cannot have weights. So no deployment may run from the beginning of the
//! preparation until the capacity has been returned.

use serde::Serialize;

use domain::ids::DropId;
use domain::time::Timestamp;

use super::documents::Documents;
use super::lead::window;
use super::quotas::Quotas;

/// A deployment must not begin. Moments are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("deployments are frozen for drop {}", drop.as_str())]
pub struct Frozen {
    /// The drop that causes the freeze.
    pub drop: DropId,
    /// When the freeze begins.
    pub from: Timestamp,
    /// When the freeze ends at the latest.
    pub until: Timestamp,
}

/// Whether a deployment of `seconds` may begin at `now`.
///
/// # Errors
/// [`Frozen`], with the drop whose window the deployment would overlap and that ends last.
pub fn check(docs: &Documents, quotas: &Quotas, now: Timestamp, seconds: u32) -> Result<(), Frozen> {
    let done = now.plus_seconds(seconds);
    let frozen = docs
        .calendar
        .iter()
        .filter(|drop| drop.is_on())
        .filter_map(|drop| {
            let window = window(docs, quotas, drop);
            (window.begins_at <= done && now < window.released_at).then(|| Frozen {
                drop: drop.id.clone(),
                from: window.begins_at,
                until: window.released_at,
            })
        });
    match frozen.max_by_key(|f| f.until) {
        Some(frozen) => Err(frozen),
        None => Ok(()),
    }
}
