//! Sends requests of shoppers and operators: a client sends a request, waits for a limited time, and sends it again
//! with the same key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::problem::{Code, Problem};
use axum::body::Body;
use futures_util::future::{Either, select};
use http::{Method, Request, header};
use loadtest::audit::Promise;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Stroke};
use crate::fleet::{Answer, Fleet, Invoked};
use crate::function::Function;
use crate::plan::Sends;
use crate::world::World;

/// The largest number of sends of one request before the client gives up.
const MOST_TRIES: u32 = 7;

/// The time that a client waits for an answer that was lost, in milliseconds.
const SILENCE_MS: i64 = 20_000;

/// A request that a client sends, and sends again unchanged.
#[derive(Debug, Clone)]
pub struct Call {
    /// The function that serves the request's route.
    pub function: Function,
    pub method: Method,
    pub path: String,
    /// The request's idempotency key; `None` if it has none.
    pub key: Option<String>,
    /// The number of the attempt with this key; the header `Idempotency-Attempt` has it from the second on.
    pub attempt: u16,
    pub body: Option<Vec<u8>>,
}

impl Call {
    /// A request without key and body.
    #[must_use]
    pub fn new(function: Function, method: Method, path: impl Into<String>) -> Self {
        Self {
            function,
            method,
            path: path.into(),
            key: None,
            attempt: 1,
            body: None,
        }
    }

    /// The same request with an idempotency key.
    #[must_use]
    pub fn key(mut self, key: String) -> Self {
        self.key = Some(key);
        self
    }

    /// The same request with a JSON body.
    #[must_use]
    pub fn json<T: Serialize>(mut self, body: &T) -> Self {
        self.body = serde_json::to_vec(body).ok();
        self
    }
}

/// A client of the API: a shopper's device, or the operator.
pub struct Client {
    pub world: Arc<World>,
    /// The functions behind the API.
    pub fleet: Arc<Fleet>,
    /// The client's name in the history.
    pub name: String,
    /// The client's bearer token.
    pub token: Arc<str>,
    sent: AtomicU64,
}

impl Client {
    /// A client that is `name` in the history and sends `token` with each request.
    #[must_use]
    pub fn new(fleet: &Arc<Fleet>, name: String, token: Arc<str>) -> Self {
        Self {
            world: Arc::clone(&fleet.world),
            fleet: Arc::clone(fleet),
            name,
            token,
            sent: AtomicU64::new(0),
        }
    }

    /// A number from `from` to `to`, from this client's own generator.
    #[must_use]
    pub fn drawn(&self, purpose: u64, from: u64, to: u64) -> i64 {
        let now_ms = self.world.now_ms().unsigned_abs();
        let number = keyed(self.world.plan.seed ^ purpose, key_of(&self.name), now_ms);
        i64::try_from(from + number % (to.saturating_sub(from) + 1)).unwrap_or(0)
    }

    /// Waits for a number of milliseconds from this client's own generator.
    pub async fn pause(&self, purpose: u64, from: u64, to: u64) {
        self.world.sleep(self.drawn(purpose, from, to)).await;
    }

    /// Sends a request as `sends` says, and repeats it until an answer is final. Returns the final answers in
    /// order; empty if all tries failed.
    pub async fn insist(&self, call: &Call, sends: Sends) -> Vec<Answer> {
        let mut clicks = sends.clicks.max(1);
        let mut call = call.clone();
        for attempt in 1..=MOST_TRIES {
            let first = self.send(&call);
            let second = (clicks > 1).then(|| self.send(&call));
            call.attempt += 1;
            clicks = 1;
            let mut answers = Vec::new();
            for pending in [Some(first), second].into_iter().flatten() {
                let patience = self.world.sleep(i64::from(sends.patience_ms));
                match select(pending, patience).await {
                    Either::Left((Ok(Some(answer)), _)) => answers.push(answer),
                    Either::Left(_) => {}
                    Either::Right(_) => self.world.note("a shopper did not wait for an answer"),
                }
            }
            // Unless calls of the database fail permanently, the API never answers 500.
            if !self.world.plan.faults.may_strike(Fault::BrokenCall) {
                let failed = answers.iter().filter(|answer| answer.status == 500);
                failed.for_each(|answer| self.surprised(answer));
            }
            answers.retain(|answer| !means_later(answer));
            if !answers.is_empty() {
                return answers;
            }
            self.world.note("a request was sent again");
            let pause = 100 * u64::from(attempt);
            let pause = match self.drawn(0x1ea7, 0, 11) {
                // Sometimes the pause is so long that the hold may expire in the meantime.
                0 => self.drawn(0x90be, 12_000, 30_000),
                _ => self.drawn(0xbac0, pause, 3 * pause),
            };
            self.world.sleep(pause).await;
        }
        Vec::new()
    }

    /// Sends a request, and repeats it until an answer is final; `None` if all tries failed.
    pub async fn ask(&self, call: &Call, patience_ms: u32) -> Option<Answer> {
        let answers = self.insist(call, Sends::once(patience_ms)).await;
        answers.into_iter().next()
    }

    /// Reports an answer that the API does not promise as a broken promise.
    pub fn surprised(&self, answer: &Answer) {
        let what = format!("{} was answered {answer}", self.name);
        self.world.broken(Promise::UnexpectedAnswers, what);
    }

    /// Sends a request once. The function processes it even if the client no longer waits.
    fn send(&self, call: &Call) -> oneshot::Receiver<Option<Answer>> {
        let nth = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let label = format!("{}:{}:{nth}", call.function.name(), self.name);
        let (answer, answered) = oneshot::channel();
        let request = self.request(call);
        let (world, fleet, function) = (Arc::clone(&self.world), Arc::clone(&self.fleet), call.function);
        world.tell(|| {
            let key = call.key.as_ref().map(|key| format!(" key {key}"));
            let key = key.unwrap_or_default();
            format!("{} > {} {}{key} [{label}]", self.name, call.method, call.path)
        });
        let name = self.name.clone();
        world.begin();
        self.world.spawn(None, async move {
            let invoked = match request {
                Some(request) => fleet.request(function, label.clone(), request).await,
                None => Invoked::Failed,
            };
            let place = format!("answer:{label}");
            let lost = world
                .strikes(Fault::LostAnswers, &place, 1, |_| Stroke::UnknownAfter)
                .is_some();
            world.tell(|| {
                let told = match &invoked {
                    Invoked::Answered(answer) => told(answer),
                    Invoked::Failed => "no answer from the function".to_owned(),
                };
                let lost = if lost { ", lost" } else { "" };
                format!("{name} < {told}{lost} [{label}]")
            });
            world.done();
            if lost {
                // The client receives neither an answer nor an error, so it waits for its time limit.
                world.sleep(SILENCE_MS).await;
            }
            let told = match invoked {
                Invoked::Answered(given) if !lost => Some(given),
                _ => None,
            };
            answer.send(told).ok();
        });
        answered
    }

    fn request(&self, call: &Call) -> Option<Request<Body>> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
            if call.attempt > 1 {
                request = request.header("idempotency-attempt", call.attempt);
            }
        }
        let body = match &call.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.clone())
            }
            None => Body::empty(),
        };
        request.body(body).ok()
    }
}

/// Whether the client should send the same request again later. The API documents this for 409 `conflict`, 500 and
/// 503.
fn means_later(answer: &Answer) -> bool {
    match answer.status {
        500..600 => true,
        409 => answer
            .json()
            .is_some_and(|problem: Problem| problem.code == Code::Conflict),
        _ => false,
    }
}

fn told(answer: &Answer) -> String {
    let body: Value = answer.json().unwrap_or_default();
    let members = [
        "code",
        "reservation_id",
        "order_id",
        "status",
        "availability",
        "phase",
        "state",
    ];
    let member = |name: &str| body.get(name).map(|value| format!(" {name}={value}"));
    let text: String = members.into_iter().filter_map(member).collect();
    format!("{}{text}", answer.status)
}
