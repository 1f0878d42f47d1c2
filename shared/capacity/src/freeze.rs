//! Checks the deployment freeze: no deployment may begin while capacity is held for a drop.
//!
//! A deployment publishes a version and moves the alias, and Lambda must then allocate the alias's
//! provisioned concurrency again. Also, an alias with provisioned concurrency cannot divide its traffic
//! between two versions. So no deployment may run from the beginning of the preparation until the capacity
//! has been returned.

use serde::Serialize;

use domain::ids::DropId;
use domain::time::Timestamp;

use super::documents::Documents;
use super::lead::window;
use super::quotas::Quotas;

/// The refusal of a deployment during a freeze. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("deployments are frozen for drop {}", drop.as_str())]
pub struct Frozen {
    /// The drop for which capacity is held.
    pub drop: DropId,
    /// The time at which the freeze begins.
    pub from: Timestamp,
    /// The time at which the freeze ends at the latest.
    pub until: Timestamp,
}

/// Checks whether a deployment that takes `seconds` may begin at `now`.
///
/// # Errors
/// [`Frozen`] if the deployment would overlap the window of a drop. Of several such drops, it names the one
/// whose window ends last.
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
    frozen.max_by_key(|f| f.until).map_or(Ok(()), Err)
}
