//! A server that answers each request with its next scripted answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A status and a body that is not JSON.
    Text(u16, &'static str),
    /// The connection is closed once the request has been read.
    Close,
    /// The request is read and never answered.
    Silence,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The operation of the request.
    pub(crate) operation: String,
    pub(crate) body: String,
}

/// The scripted server.
pub(crate) struct ScriptedServer {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    server: JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl ScriptedServer {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&seen)));
            }
        });
        Self {
            url,
            requests,
            server,
        }
    }

    /// A client that retries reads and writes as far as a client can, and has a short time limit.
    pub(crate) fn client(&self) -> Client {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(300));
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "tests"))
            .http_client(connector::plain(Duration::from_secs(1)))
            .timeout_config(timeouts.build())
            .endpoint_url(&self.url)
            .build();
        Client::from_conf(config)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) async fn stop(mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

/// Serves one connection, with the parts of HTTP/1.1 that the SDK uses.
async fn serve(stream: TcpStream, answers: Arc<Mutex<VecDeque<Answer>>>, requests: Arc<Mutex<Vec<Request>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        requests.lock().unwrap().push(request);
        let answer = answers.lock().unwrap().pop_front();
        let (status, body) = match answer {
            Some(Answer::Json(status, body)) => (status, body.to_string()),
            Some(Answer::Text(status, body)) => (status, body.to_owned()),
            Some(Answer::Silence) => std::future::pending().await,
            Some(Answer::Close) | None => return,
        };
        let head = format!(
            "HTTP/1.1 {status} scripted\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
    }
}

/// Reads one request; `None` when the connection has ended.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut operation, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "x-amz-target" => operation = value.split('.').next_back()?.to_owned(),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        operation,
        body: String::from_utf8(body).unwrap(),
    })
}
