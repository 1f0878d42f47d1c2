//! Serves HTTP for tests with scripted answers, including those that no emulator gives.
//!
//! A script decides the answer to each request. The server records every request and stops when it is dropped. It
//! implements only the parts of HTTP/1.1 that the clients of this workspace use.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "only tests use this crate, and a test fails by panicking"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The reaction of the server to a request: an answer, or a fault of the connection.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Sends a status, further headers, and a body.
    Body(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Sends these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes, keeps the connection and sends nothing more.
    Stall(Vec<u8>),
    /// Sends these bytes, and spaces without end.
    Endless(Vec<u8>),
    /// Closes the connection.
    Close,
    /// Keeps the connection and sends nothing.
    Silence,
    /// Waits for the notification, and gives the other answer then.
    When(Arc<Notify>, Box<Answer>),
}

impl Answer {
    /// An answer with a body and without further headers.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::Body(status, Vec::new(), body.into().into_bytes())
    }

    /// A JSON body with the content type of DynamoDB and SQS.
    #[must_use]
    pub fn json(status: u16, body: serde_json::Value) -> Self {
        let kind = ("content-type", "application/x-amz-json-1.0".to_owned());
        Self::Body(status, vec![kind], body.to_string().into_bytes())
    }
}

/// A request that the server received, for tests to examine.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request line: method, path with query, and version.
    pub line: String,
    /// The names of the headers in lower case, and their values.
    pub headers: Vec<(String, String)>,
    /// The body. Bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl Request {
    /// The path with its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// A header's value, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(found, _)| found == name);
        header.map(|(_, value)| value.as_str())
    }

    /// The operation, where AWS's protocol names it, or method and path.
    #[must_use]
    pub fn operation(&self) -> &str {
        let target = self.header("x-amz-target").and_then(|t| t.split('.').next_back());
        let action = || self.body.strip_prefix("Action=")?.split('&').next();
        target
            .or_else(action)
            .unwrap_or_else(|| self.line.trim_end_matches(" HTTP/1.1"))
    }

    /// Reads one request. `None` when the connection has ended.
    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let line = read_line(stream).await?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(stream).await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self {
            line,
            headers,
            body: String::new(),
        };
        let length = request.header("content-length");
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.ok()?;
        request.body = String::from_utf8_lossy(&body).into_owned();
        Some(request)
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

type Script = Arc<Mutex<dyn FnMut(&Request) -> Answer + Send>>;

/// A server on a free port of this machine.
#[derive(Debug)]
pub struct Server {
    /// The server's base URL.
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a server whose answers `script` decides.
    pub async fn start(script: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script: Script = Arc::new(Mutex::new(script));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        Self { url, requests, task }
    }

    /// Starts a server that always gives the same answer.
    pub async fn always(answer: Answer) -> Self {
        Self::start(move |_| answer.clone()).await
    }

    /// Starts a server that gives each answer once, and then closes connections.
    pub async fn in_turn(answers: Vec<Answer>) -> Self {
        let mut answers = VecDeque::from(answers);
        Self::start(move |_| answers.pop_front().unwrap_or(Answer::Close)).await
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Stops the server: it accepts no further connection.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

/// The base URL of a server that has stopped, so that connections to it are refused.
pub async fn nobody() -> String {
    let mut server = Server::always(Answer::Close).await;
    server.stop().await;
    server.url.clone()
}

async fn serve(stream: TcpStream, script: Script, requests: Arc<Mutex<Vec<Request>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream).await {
        requests.lock().unwrap().push(request.clone());
        let mut answer = (*script.lock().unwrap())(&request);
        while let Answer::When(notified, then) = answer {
            notified.notified().await;
            answer = *then;
        }
        if send(&mut stream, answer).await.is_none() {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Sends an answer. `None` when the connection is to be closed.
async fn send(stream: &mut BufReader<TcpStream>, answer: Answer) -> Option<()> {
    match answer {
        Answer::Body(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} scripted\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()
        }
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            None
        }
        Answer::Stall(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            std::future::pending().await
        }
        Answer::Endless(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            while stream.write_all(&[b' '; 4_096]).await.is_ok() {}
            None
        }
        Answer::Close | Answer::When(..) => None,
        Answer::Silence => std::future::pending().await,
    }
}
