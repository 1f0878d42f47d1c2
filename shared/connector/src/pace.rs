//! Limits the rate of requests to a service.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::time::{Instant, sleep_until};

/// A client that begins at most one request, retries included, in each `gap`. All clones share the limit. Later
/// requests wait in order; the time limit of an attempt covers the wait.
#[must_use]
pub fn paced(client: SharedHttpClient, gap: Duration) -> SharedHttpClient {
    SharedHttpClient::new(Paced {
        client,
        turns: Arc::new(Turns {
            gap,
            next: Mutex::new(None),
        }),
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

/// A client or a connector whose requests wait for their start time.
#[derive(Clone)]
struct Paced<C> {
    client: C,
    turns: Arc<Turns>,
}

impl<C> fmt::Debug for Paced<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced")
            .field("gap", &self.turns.gap)
            .finish_non_exhaustive()
    }
}

impl HttpClient for Paced<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Paced {
            client: self.client.http_connector(settings, components),
            turns: Arc::clone(&self.turns),
        })
    }
}

impl HttpConnector for Paced<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (connector, turn) = (self.client.clone(), self.turns.take(Instant::now()));
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
