//! Sends a shopper's requests, measured from the intended start, with double clicks, reloads, and retries with the
//! same key.

use std::sync::Arc;
use std::time::Duration;

use api::problem::Problem;
use http::{HeaderValue, Method, Uri};
use serde::Serialize;
use tokio::time::Instant;

use super::Shopper;
use crate::client::{Answer, Call, Silence};
use crate::measure::Endpoint;

/// The longest pause before a retry when the server requested none, in ms. docs/API.md states the same
/// number.
const MAX_BACK_OFF_MS: u64 = 30_000;

impl Shopper {
    pub(super) async fn ask(&mut self, endpoint: Endpoint, call: &Call) -> Option<Answer> {
        let intended = self.intended();
        let result = self.world.reach.send(call).await;
        self.record(endpoint, intended, &result);
        result.ok()
    }

    /// Takes the time at which the next request should be sent.
    fn intended(&mut self) -> Instant {
        let intended = self.intended.take();
        intended.unwrap_or_else(|| self.world.reach.now())
    }

    fn record(&self, endpoint: Endpoint, intended: Instant, result: &Result<Answer, Silence>) {
        let (outcome, modelled_us) = match result {
            Ok(answer) => (outcome(answer), answer.modelled_us),
            Err(silence) => (silence.to_string(), 0),
        };
        self.record_as(endpoint, intended, modelled_us, &outcome);
    }

    fn record_as(&self, endpoint: Endpoint, intended: Instant, modelled_us: u32, outcome: &str) {
        let at_ms = i32::try_from(self.world.opening.since(intended)).unwrap_or(i32::MAX);
        let (recorder, latency) = (&self.world.recorder, self.world.since(intended));
        recorder.request_modelled(endpoint, at_ms, latency, modelled_us, outcome);
    }

    /// Repeats the same request with the same key, at increasing intervals, until it gets a final answer. A double
    /// click at the start returns up to two answers. The result is empty if every try failed.
    pub(super) async fn insist(
        &mut self,
        endpoint: Endpoint,
        call: &Call,
        double: bool,
        reload: bool,
    ) -> Vec<Answer> {
        let tries = self.world.tries;
        for attempt in 1..=tries {
            let first = attempt == 1;
            let repeats = endpoint == Endpoint::Reserve;
            let call = &Call {
                attempt: if repeats {
                    self.unanswered.saturating_add(1)
                } else {
                    1
                },
                ..call.clone()
            };
            self.asked_ms = self.world.now_ms();
            if first && reload {
                self.reload(endpoint, call).await;
                self.unanswered = self.unanswered.saturating_add(repeats.into());
                continue;
            }
            let answers: Vec<Answer> = if first && double {
                let intended = self.intended();
                let (one, two) = tokio::join!(self.world.reach.send(call), self.world.reach.send(call));
                self.record(endpoint, intended, &one);
                self.record(endpoint, intended, &two);
                [one, two].into_iter().flatten().collect()
            } else {
                self.ask(endpoint, call).await.into_iter().collect()
            };
            let settled: Vec<Answer> = answers.iter().filter(|a| !is_passing(a)).cloned().collect();
            if !settled.is_empty() {
                return settled;
            }
            self.unanswered = self.unanswered.saturating_add(repeats.into());
            if attempt < tries {
                let asked = answers.iter().filter_map(|a| a.retry_after).max();
                self.back_off(attempt, asked).await;
            }
        }
        Vec::new()
    }

    /// Sends a request, reloads the page after at most 60 ms, and uses no answer. The journal contains the reservation of
    /// an answer that came before.
    async fn reload(&mut self, endpoint: Endpoint, call: &Call) {
        let intended = self.intended();
        let patience = Duration::from_millis(self.rng.u64(2..60));
        let reach = Arc::clone(&self.world.reach);
        let reloads_at = reach.now() + patience;
        tokio::select! {
            biased;
            result = reach.send(call) => {
                self.record(endpoint, intended, &result);
                if let (Endpoint::Reserve, Ok(answer)) = (endpoint, result) {
                    self.journal_reservations(&[answer]);
                }
            }
            () = reach.wait_until(reloads_at) => self.record_as(endpoint, intended, 0, "reloaded"),
        }
        self.think(200, 800).await;
    }

    /// Waits before the next try: twice as long each time, with jitter, plus the time that the server asked for.
    pub(super) async fn back_off(&mut self, tries: u32, asked_seconds: Option<u32>) {
        let base = 250_u64.saturating_mul(1 << tries.min(8)).min(MAX_BACK_OFF_MS);
        let least = u64::from(asked_seconds.unwrap_or(0)) * 1_000;
        let wait = self.rng.u64(base / 2..=base) + least;
        self.pause(wait).await;
    }

    /// A call with the shopper's token, without a key and a body.
    pub(super) fn call(&self, method: Method, uri: Uri) -> Call {
        Call {
            method,
            bearer: Some(self.bearer.clone()),
            ..Call::get(uri)
        }
    }

    /// A POST with an idempotency key and a JSON body; `None` if the body is no JSON.
    pub(super) fn post(&self, uri: Uri, key: &str, body: &impl Serialize) -> Option<Call> {
        let mut call = self.call(Method::POST, uri);
        call.key = HeaderValue::from_str(key).ok();
        Some(call.json(serde_json::to_vec(body).ok()?))
    }
}

/// Whether a repeat of the same request may soon get another answer.
fn is_passing(answer: &Answer) -> bool {
    answer.status == 429 || answer.status >= 500
}

/// An answer's name in the report: status, problem code, availability.
fn outcome(answer: &Answer) -> String {
    let status = answer.status;
    let problem = (status >= 400).then(|| answer.json::<Problem>()).flatten();
    let Some(problem) = problem else {
        return status.to_string();
    };
    let code = problem.code.as_str();
    match problem.availability {
        Some(availability) => format!("{status} {code} {}", availability.as_str()),
        None => format!("{status} {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            modelled_us: 0,
            status,
            retry_after: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn outcomes_name_status_code_and_availability() {
        let sold_out = r#"{"type":"t","title":"t","status":409,"code":"sold_out","detail":"d","availability":"all_held"}"#;
        assert_eq!(outcome(&answer(201, "{}")), "201");
        assert_eq!(outcome(&answer(409, sold_out)), "409 sold_out all_held");
        assert_eq!(
            outcome(&answer(503, r#"{"message":"Service Unavailable"}"#)),
            "503"
        );
    }

    #[test]
    fn only_passing_trouble_is_retried() {
        for (status, passing) in [
            (201, false),
            (409, false),
            (422, false),
            (429, true),
            (500, true),
            (503, true),
        ] {
            assert_eq!(is_passing(&answer(status, "")), passing, "{status}");
        }
    }
}
