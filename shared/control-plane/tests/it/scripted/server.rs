//! A server that answers each kind of request with its next scripted answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::scripted::answers::lambda_error;

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A status, further headers, and a body.
    Body(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The connection is closed once the request has been read.
    Close,
    /// The request is read and never answered.
    Silence,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The operation, where the protocol names it, or method and path.
    pub(crate) operation: String,
    pub(crate) body: String,
}

/// The answers to requests whose operation contains this text; the last one repeats.
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

/// The scripted server.
pub(crate) struct ScriptedServer {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl ScriptedServer {
    /// If several rules match a request, the first is used.
    pub(crate) async fn start(rules: Vec<Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            rules: rules.into_iter().map(|(key, all)| (key, all.into())).collect(),
            requests: Vec::new(),
            bucket: None,
        }));
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, state, server }
    }

    /// Accepts at most this many requests a second from now on. Further ones are throttled as Lambda does.
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
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl State {
    fn answer(&mut self, request: Request) -> Answer {
        // Lambda's requests have a path. The other services have separate limits.
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

/// Serves one connection, with the parts of HTTP/1.1 that the SDK uses.
async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let answer = state.lock().unwrap().answer(request);
        let (status, headers, body) = match answer {
            Answer::Body(status, headers, body) => (status, headers, body),
            Answer::Silence => std::future::pending().await,
            Answer::Close => return,
        };
        let mut head = format!("HTTP/1.1 {status} scripted\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
    }
}

/// Reads one request; `None` when the connection has ended.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut first, mut target, mut length) = (None, None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if first.is_none() {
            first = Some(line.trim_end_matches(" HTTP/1.1").to_owned());
        } else if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "x-amz-target" => target = value.split('.').next_back().map(str::to_owned),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let action = body
        .strip_prefix("Action=")
        .and_then(|rest| rest.split('&').next());
    let operation = target.or_else(|| action.map(str::to_owned)).or(first)?;
    Some(Request { operation, body })
}
