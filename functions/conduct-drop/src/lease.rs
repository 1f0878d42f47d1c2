//! Takes, renews and releases the lease of a drop, which is the right to conduct the drop.

use domain::ids::DropId;
use ports::StoreError;
use ports::drops::{HoldLease, Lease};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::{Clock, Runtime};

use crate::bounds::LEASE_MS;

/// Takes or renews the lease of `drop`; `None` while another run holds it.
///
/// # Errors
/// [`StoreError`]. The lease may have been taken; the next call shows it.
pub async fn hold<L: HoldLease, R: Runtime>(
    leases: &L,
    runtime: &R,
    drop: &DropId,
    holder: &str,
) -> Result<Option<Lease>, StoreError> {
    let answer = retry(runtime, IN_REQUEST, || {
        let now = runtime.now();
        leases.acquire(drop, holder, now, now.plus_millis(LEASE_MS))
    });
    Ok(answer.await?.ok())
}

/// Ends the lease of `drop` now, so that the next run need not wait for it. A failure costs only that wait.
pub async fn release<L: HoldLease>(leases: &L, clock: &impl Clock, drop: &DropId, holder: &str) {
    let now = clock.now();
    if let Err(error) = leases.acquire(drop, holder, now, now).await {
        tracing::debug!(%drop, %error, "the lease could not be released; another run takes over when it expires");
    }
}
