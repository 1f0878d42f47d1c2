//! Limits the rate of requests to a service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use tokio::time::{Instant, sleep_until};

/// A client that begins at most one request, retries included, in each `gap`. All clones share the limit. Later
/// requests wait in order; the time limit of an attempt covers the wait.
#[must_use]
pub fn paced(client: SharedHttpClient, gap: Duration) -> SharedHttpClient {
    let turns = Arc::new(Turns {
        gap,
        next: Mutex::new(None),
    });
    http_client_fn(move |settings, components| {
        SharedHttpConnector::new(Paced {
            connector: client.http_connector(settings, components),
            turns: Arc::clone(&turns),
        })
    })
}

/// The time at which the next request may begin.
#[derive(Debug)]
struct Turns {
    gap: Duration,
    next: Mutex<Option<Instant>>,
}

impl Turns {
    /// Reserves the next start time, at `now` or later.
    fn take(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + self.gap);
        turn
    }
}

/// A connector whose requests wait for their start time.
#[derive(Debug)]
struct Paced {
    connector: SharedHttpConnector,
    turns: Arc<Turns>,
}

impl HttpConnector for Paced {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (connector, turn) = (self.connector.clone(), self.turns.take(Instant::now()));
        HttpConnectorFuture::new(async move {
            sleep_until(turn).await;
            connector.call(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_a_gap_apart_and_unused_ones_are_not_saved_up() {
        let turns = Turns {
            gap: Duration::from_millis(125),
            next: Mutex::new(None),
        };
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        for (now, turn) in [(0, 0), (0, 125), (10, 250), (60_000, 60_000), (60_000, 60_125)] {
            assert_eq!(turns.take(at(now)), at(turn), "{now}");
        }
    }
}
