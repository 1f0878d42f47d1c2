//! Starts a server that answers each kind of request with its next scripted answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

pub(crate) use scripted_http::Answer;
use scripted_http::{Request as Received, Server};
use tokio::time::Instant;

use crate::scripted::answers::lambda_error;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The operation, where the protocol names it, or method and path.
    pub(crate) operation: String,
    pub(crate) body: String,
}

impl From<&Received> for Request {
    fn from(received: &Received) -> Self {
        Self {
            operation: received.operation().to_owned(),
            body: received.body.clone(),
        }
    }
}

/// The answers to requests whose operation contains this text. The last answer repeats.
pub(crate) type Rule = (&'static str, Vec<Answer>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<(&'static str, VecDeque<Answer>)>,
    requests: Vec<Request>,
    bucket: Option<Bucket>,
}

/// A token bucket, as Lambda's control plane has one for the whole account. Other clients use a part of it.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn takes(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * self.per_second;
        (self.filled, self.tokens) = (now, (self.tokens + gained).min(self.per_second));
        let takes = self.tokens >= 1.0;
        if takes {
            self.tokens -= 1.0;
        }
        takes
    }
}

pub(crate) struct ScriptedServer {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    server: Server,
}

impl ScriptedServer {
    /// Starts a server. If several rules match a request, the first rule is used.
    pub(crate) async fn start(rules: Vec<Rule>) -> Self {
        let state = Arc::new(Mutex::new(State {
            rules: rules.into_iter().map(|(key, all)| (key, all.into())).collect(),
            requests: Vec::new(),
            bucket: None,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| shared.lock().unwrap().answer(request.into())).await;
        let url = server.url.clone();
        Self { url, state, server }
    }

    /// From now on, answers at most this many of Lambda's requests a second; further requests are throttled.
    pub(crate) fn limit(&self, per_second: f64) {
        let (tokens, filled) = (per_second, Instant::now());
        self.state.lock().unwrap().bucket = Some(Bucket {
            per_second,
            tokens,
            filled,
        });
    }

    /// The requests so far whose operation contains `key`.
    pub(crate) fn requests(&self, key: &str) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        let of_key = state.requests.iter().filter(|r| r.operation.contains(key));
        of_key.cloned().collect()
    }

    pub(crate) async fn stop(&mut self) {
        self.server.stop().await;
    }
}

impl State {
    fn answer(&mut self, request: Request) -> Answer {
        // Only Lambda's requests have a path. The other services have separate limits, so this limit does not apply to
        // them.
        let lambda = request.operation.contains('/');
        if lambda && self.bucket.as_mut().is_some_and(|bucket| !bucket.takes()) {
            self.requests.push(Request {
                operation: "throttled".to_owned(),
                ..request
            });
            return lambda_error(429, "TooManyRequestsException");
        }
        let fitting = |(key, _): &&mut (&'static str, VecDeque<Answer>)| request.operation.contains(*key);
        let rule = self.rules.iter_mut().find(fitting);
        let (_, answers) = rule.unwrap_or_else(|| panic!("no rule matches {request:?}"));
        let answer = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        self.requests.push(request);
        answer.unwrap()
    }
}
