//! Bounded repeats of gateway calls, with jitter.

use std::future::Future;

use ports::edge::Edge;
use ports::payment::GatewayError;

/// Tries of one call: enough to outwait an outage of a few seconds, which the budget bounds in any case. A message that is
/// given up comes again only after its queue's visibility time.
const TRIES: u32 = 7;
/// The first wait, in milliseconds, before jitter; each further one is twice as long.
const FIRST_WAIT_MS: u64 = 50;

/// A pause of `base_ms` to twice that.
pub(crate) async fn pause<E: Edge>(edge: &E, base_ms: u64) {
    edge.sleep(base_ms + edge.random() % base_ms.max(1)).await;
}

/// Calls until it succeeds, `again` says that a repeat is no use or no longer harmless, or `within_ms` would be passed.
pub(crate) async fn patiently<E, T, F>(
    edge: &E,
    within_ms: u64,
    again: fn(&GatewayError) -> bool,
    mut call: impl FnMut() -> F,
) -> Result<T, GatewayError>
where
    E: Edge,
    F: Future<Output = Result<T, GatewayError>>,
{
    let began = edge.now();
    let mut wait_ms = FIRST_WAIT_MS;
    for _ in 1..TRIES {
        let error = match call().await {
            Err(error) if again(&error) => error,
            answer => return answer,
        };
        let base_ms = match error {
            GatewayError::Throttled { retry_after_ms } => retry_after_ms.max(wait_ms),
            _ => wait_ms,
        };
        let spent_ms = u64::try_from(edge.now().millis_since(began)).unwrap_or(0);
        if spent_ms.saturating_add(base_ms.saturating_mul(2)) > within_ms {
            return Err(error);
        }
        pause(edge, base_ms).await;
        wait_ms *= 2;
    }
    call().await
}
