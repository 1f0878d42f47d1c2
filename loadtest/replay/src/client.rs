//! Sends requests of shoppers and operators: a client sends a request, waits for a limited time, and sends it again
//! with the same key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use http::{Method, Request, header};
use loadtest::audit::Promise;
use loadtest::facts::Entry;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::chance::{key_of, keyed};
use crate::faults::{Fault, Stroke};
use crate::fleet::{Answer, Fleet, Invoked};
use crate::function::Function;
use crate::plan::Sends;
use crate::tokens::Keys;
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
#[derive(Clone)]
pub struct Client {
    pub world: Arc<World>,
    /// The functions behind the API.
    pub fleet: Arc<Fleet>,
    /// The keys that sign tokens.
    pub keys: Arc<Keys>,
    /// The journal of the answers to shoppers.
    pub journal: Arc<Journal>,
    /// The client's name in the history.
    pub name: String,
    /// The client's bearer token.
    pub token: Arc<str>,
    sent: Arc<Mutex<u64>>,
}

/// The answers to shoppers, as the shoppers received them.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Vec<Entry>>);

impl Journal {
    /// Adds an entry.
    pub fn write(&self, entry: Entry) {
        self.entries().push(entry);
    }

    /// All entries so far.
    pub fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// A client that is `name` in the history and sends `token` with each request.
    #[must_use]
    pub fn new(
        world: &Arc<World>,
        fleet: &Arc<Fleet>,
        keys: &Arc<Keys>,
        journal: &Arc<Journal>,
        name: String,
        token: Arc<str>,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            fleet: Arc::clone(fleet),
            keys: Arc::clone(keys),
            journal: Arc::clone(journal),
            name,
            token,
            sent: Arc::default(),
        }
    }

    /// A number from `from` to `to`, from this client's own generator.
    #[must_use]
    pub fn drawn(&self, purpose: u64, from: u64, to: u64) -> i64 {
        let number = keyed(
            self.world.seed ^ purpose,
            key_of(&self.name),
            self.world.now_ms().unsigned_abs(),
        );
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
        for attempt in 1..=MOST_TRIES {
            let first = self.send(call);
            let second = (clicks > 1).then(|| self.send(call));
            clicks = 1;
            let mut answers = Vec::new();
            for pending in [Some(first), second].into_iter().flatten() {
                let patience = self.world.sleep(i64::from(sends.patience_ms));
                match futures_util::future::select(pending, patience).await {
                    futures_util::future::Either::Left((Ok(Some(answer)), _)) => answers.push(answer),
                    futures_util::future::Either::Left(_) => {}
                    futures_util::future::Either::Right(_) => {
                        self.world.note("a shopper did not wait for an answer")
                    }
                }
            }
            for answer in answers.iter().filter(|answer| answer.status == 500) {
                if !self.world.may_fail_for_good() {
                    let body = String::from_utf8_lossy(&answer.body).into_owned();
                    self.world.broken(
                        Promise::UnexpectedAnswers,
                        format!("{} was answered 500 {body}", self.name),
                    );
                }
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

    /// Sends a request once. The function processes it even if the client no longer waits.
    fn send(&self, call: &Call) -> oneshot::Receiver<Option<Answer>> {
        let nth = {
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            *sent += 1;
            *sent
        };
        let label = format!("{}:{}:{nth}", call.function.name(), self.name);
        let (answer, answered) = oneshot::channel();
        let request = self.request(call);
        let (world, fleet, function) = (Arc::clone(&self.world), Arc::clone(&self.fleet), call.function);
        self.world.tell(|| {
            let key = call
                .key
                .as_deref()
                .map(|key| format!(" key {key}"))
                .unwrap_or_default();
            format!("{} > {} {}{key} [{label}]", self.name, call.method, call.path)
        });
        let name = self.name.clone();
        world.begin();
        self.world.spawn(None, async move {
            let invoked = match request {
                Some(request) => fleet.request(function, label.clone(), request).await,
                None => Invoked::Failed,
            };
            let lost = world.strikes(Fault::LostAnswers, &format!("answer:{label}"), 1, |_| {
                Some(Stroke::UnknownAfter)
            });
            world.tell(|| {
                let told = match &invoked {
                    Invoked::Answered(answer) => told(answer),
                    Invoked::Failed => "no answer from the function".to_owned(),
                };
                format!(
                    "{name} < {told}{} [{label}]",
                    if lost.is_some() { ", lost" } else { "" }
                )
            });
            world.done();
            if lost.is_some() {
                // The client receives neither an answer nor an error, so it waits for its time limit.
                world.sleep(SILENCE_MS).await;
            }
            let told = match invoked {
                Invoked::Answered(given) if lost.is_none() => Some(given),
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
            .json::<api::problem::Problem>()
            .is_some_and(|problem| problem.code == api::problem::Code::Conflict),
        _ => false,
    }
}

fn told(answer: &Answer) -> String {
    let text = match answer.json::<serde_json::Value>() {
        Some(body) => {
            let member = |name: &str| body.get(name).map(|value| format!(" {name}={value}"));
            [
                "code",
                "reservation_id",
                "order_id",
                "status",
                "availability",
                "phase",
                "state",
            ]
            .into_iter()
            .filter_map(member)
            .collect()
        }
        None => String::new(),
    };
    format!("{}{text}", answer.status)
}
