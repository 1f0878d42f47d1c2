//! Sends webhooks: changes of an intent are posted to an address, signed as Stripe signs, and delivered as unreliably
//! as the faults require.
//!
//! The faults' seed and the event's id determine which event is late, sent twice or lost. A late event arrives
//! after events that were made later, so the order changes too. An event whose address does not answer 2xx is
//! sent again, [`ATTEMPTS`] times in all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Request, header};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Clock;
use crate::ids::{draw, mix};
use crate::log::Event;

/// The largest number of sends of an event.
pub const ATTEMPTS: u32 = 6;
/// The time limit of one attempt.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The pause after the first attempt. It doubles after each further attempt.
const PAUSE: Duration = Duration::from_millis(250);

/// The address of webhooks and the faults of their delivery.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The address, `http` only.
    pub url: String,
    /// The secret with which events are signed.
    pub secret: String,
    /// The faults of the delivery.
    #[serde(default)]
    pub faults: WebhookFaults,
}

/// Faults of webhooks. Shares are from 0 to 1; an absent field means no fault.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookFaults {
    /// The share of events that are never sent.
    pub lost: f64,
    /// The share of events that are sent twice.
    pub twice: f64,
    /// The share of events that are sent late.
    pub late: f64,
    /// The delay of late events, in milliseconds.
    pub late_ms: u64,
    /// The seed of the random draws.
    pub seed: u64,
}

impl WebhookFaults {
    /// Whether all shares are from 0 to 1.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let shares = [self.lost, self.twice, self.late];
        shares.iter().all(|share| (0.0..=1.0).contains(share))
    }

    /// The delay of each send of the event, from now; empty for a lost event.
    #[must_use]
    pub fn delays(&self, event: &str) -> Vec<Duration> {
        let hits = |what: &[u8], share: f64| draw(self.seed, &[what, event.as_bytes()]) < share;
        if hits(b"lost", self.lost) {
            return Vec::new();
        }
        let late = Duration::from_millis(if hits(b"late", self.late) { self.late_ms } else { 0 });
        if hits(b"twice", self.twice) {
            vec![late, late]
        } else {
            vec![late]
        }
    }
}

/// The numbers of events that were delivered with each fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebhooksStruck {
    /// Events that were never sent.
    pub lost: u64,
    /// Events that were sent twice.
    pub twice: u64,
    /// Events that were sent late.
    pub late: u64,
}

/// Sends a sandbox's webhooks. Their address, secret and faults can change while the sandbox runs.
#[derive(Default)]
pub struct Webhooks {
    target: Mutex<Option<Target>>,
    struck: Mutex<WebhooksStruck>,
}

impl Webhooks {
    fn target(&self) -> MutexGuard<'_, Option<Target>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends webhooks to `target` from now on; `None` stops them.
    pub fn send_to(&self, target: Option<Target>) {
        *self.target() = target;
    }

    /// Changes the faults from now on. Without a target they have no effect.
    pub fn strike_with(&self, faults: WebhookFaults) {
        if let Some(target) = self.target().as_mut() {
            target.faults = faults;
        }
    }

    /// The numbers of events that have been lost, sent twice or sent late so far.
    #[must_use]
    pub fn struck(&self) -> WebhooksStruck {
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, delays: &[Duration]) {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        struck.lost += u64::from(delays.is_empty());
        struck.twice += u64::from(delays.len() > 1);
        struck.late += u64::from(delays.first().is_some_and(|delay| !delay.is_zero()));
    }
}

/// The type of the webhook that an entry of the log leads to, by <https://docs.stripe.com/api/events/types>.
fn type_of(event: Event) -> Option<&'static str> {
    match event {
        Event::Created => Some("payment_intent.created"),
        Event::Charged => Some("payment_intent.succeeded"),
        Event::Declined => Some("payment_intent.payment_failed"),
        Event::ActionRequired => Some("payment_intent.requires_action"),
        Event::Cancelled => Some("payment_intent.canceled"),
        _ => None,
    }
}

/// Announces the changes of one book.
pub(crate) struct Announcer {
    webhooks: Arc<Webhooks>,
    seed: u64,
    clock: Clock,
    made: u64,
    next: Option<&'static str>,
}

impl Announcer {
    pub(crate) fn new(webhooks: Arc<Webhooks>, seed: u64, clock: Clock) -> Self {
        Self {
            webhooks,
            seed,
            clock,
            made: 0,
            next: None,
        }
    }

    /// Records that `event` is in the log. [`Announcer::announce`] sends it once the intent shows the change.
    pub(crate) fn note(&mut self, event: Event) {
        self.next = type_of(event).or(self.next);
    }

    /// Sends the last recorded event, with the current intent.
    pub(crate) fn announce(&mut self, intent: &Value) {
        let Some(kind) = self.next.take() else { return };
        let Some(target) = self.webhooks.target().clone() else {
            return;
        };
        self.made += 1;
        let id = format!(
            "evt_{:016x}{:08x}",
            mix(self.seed, &[b"evt", &self.made.to_be_bytes()]),
            self.made
        );
        let body = json!({
            "id": id,
            "object": "event",
            "api_version": "2024-06-20",
            "created": (self.clock)() / 1_000,
            "data": { "object": intent },
            "livemode": false,
            "type": kind,
        });
        let body = Bytes::from(body.to_string());
        let delays = target.faults.delays(&id);
        self.webhooks.count(&delays);
        for delay in delays {
            tokio::spawn(deliver(
                target.clone(),
                body.clone(),
                delay,
                Arc::clone(&self.clock),
            ));
        }
    }
}

/// The header `Stripe-Signature` of a body that is sent at `seconds` since 1970.
#[must_use]
pub fn signature(secret: &str, seconds: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut signed = hmac::Context::with_key(&key);
    signed.update(seconds.to_string().as_bytes());
    signed.update(b".");
    signed.update(body);
    let hex = HEXLOWER.encode(signed.sign().as_ref());
    format!("t={seconds},v1={hex}")
}

/// Sends one event until its address answers 2xx, at most [`ATTEMPTS`] times. Each attempt is signed anew.
async fn deliver(target: Target, body: Bytes, delay: Duration, clock: Clock) {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    tokio::time::sleep(delay).await;
    let mut pause = PAUSE;
    for attempt in 1..=ATTEMPTS {
        let signed = signature(&target.secret, clock() / 1_000, &body);
        let request = Request::post(&target.url)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header("stripe-signature", signed)
            .body(Full::new(body.clone()));
        let Ok(request) = request else { return };
        let answer = tokio::time::timeout(ATTEMPT, client.request(request)).await;
        if matches!(&answer, Ok(Ok(response)) if response.status().is_success()) {
            return;
        }
        if attempt < ATTEMPTS {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
    tracing::warn!(url = target.url, "a webhook was not accepted; no retry is left");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with OpenSSL: `printf '1800000000.{}' | openssl dgst -sha256 -hmac whsec_test`.
    #[test]
    fn a_signature_is_as_another_program_computes_it() {
        let expected = "t=1800000000,v1=482e6337ac5272392d375c6fdc4d52a7e615dc2facedab0ffe155ddfd6a56e66";
        assert_eq!(signature("whsec_test", 1_800_000_000, b"{}"), expected);
    }

    #[test]
    fn faults_follow_from_the_seed() {
        let faults = WebhookFaults {
            lost: 0.2,
            twice: 0.3,
            late: 0.5,
            late_ms: 900,
            seed: 7,
        };
        let all: Vec<_> = (0..10_000).map(|n| faults.delays(&format!("evt_{n}"))).collect();
        let of = |count: usize| all.iter().filter(|delays| delays.len() == count).count();
        assert!((1_800..2_200).contains(&of(0)), "{}", of(0));
        assert!((2_200..2_600).contains(&of(2)), "{}", of(2));
        let late = all
            .iter()
            .filter(|delays| delays.first().is_some_and(|delay| delay.as_millis() == 900));
        assert!((3_700..4_300).contains(&late.count()));
        let again: Vec<_> = (0..10_000).map(|n| faults.delays(&format!("evt_{n}"))).collect();
        assert_eq!(all, again);
        assert_eq!(WebhookFaults::default().delays("evt_1"), [Duration::ZERO]);
        let impossible = WebhookFaults { late: 1.5, ..faults };
        assert!(faults.is_possible() && !impossible.is_possible());
    }
}
