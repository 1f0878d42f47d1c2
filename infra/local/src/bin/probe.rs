//! Runs as a function in the stack's own tests: it uses the Runtime API over plain sockets and carries out the event's
//! instructions.
//!
//! The answer to an HTTP event contains the event. The path `/crash` ends the process, `/hang` never answers, `/error`
//! reports an error, and `/wait` waits for a file. A queue message whose body starts with `bad` and a stream record
//! with an attribute `bad` are reported as failed; a message with the body `crash` ends the process. Any other event is
//! returned unchanged. The variable `PROBE_LOG` names a file that gets a line for each message or record.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

const PREFIX: &str = "/2018-06-01/runtime";

struct Runtime {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Runtime {
    fn connect() -> Self {
        let host = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap();
        let stream = TcpStream::connect(&host).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            host,
            stream: BufReader::new(stream),
        }
    }

    /// Sends a request, and returns the request id and the body of the answer.
    fn exchange(&mut self, method: &str, path: &str, body: &str) -> (String, Vec<u8>) {
        let host = &self.host;
        let request = format!(
            "{method} {PREFIX}{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut length, mut id, mut line) = (0, String::new(), String::new());
        loop {
            line.clear();
            if self.stream.read_line(&mut line).unwrap() == 0 {
                std::process::exit(0);
            }
            let trimmed = line.trim();
            if trimmed.is_empty() {
                break;
            }
            if let Some((name, value)) = trimmed.split_once(':') {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "lambda-runtime-aws-request-id" => id = value.trim().to_owned(),
                    _ => {}
                }
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (id, body)
    }
}

fn note(line: &str) {
    if let Ok(path) = std::env::var("PROBE_LOG") {
        let mut log = OpenOptions::new().create(true).append(true).open(path).unwrap();
        log.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Carries out the event's instruction, and returns the answer or the error to report.
fn handle(event: Value) -> Result<Value, Value> {
    if let Some(path) = event["rawPath"].as_str() {
        return match path {
            "/crash" => std::process::exit(3),
            "/hang" => loop {
                std::thread::park();
            },
            // The test creates the file when the request may go on.
            "/wait" => {
                let go = format!("{}.go", std::env::var("PROBE_LOG").unwrap());
                while !std::path::Path::new(&go).exists() {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                Ok(json!({"statusCode": 200, "body": "{}"}))
            }
            "/error" => Err(json!({"errorType": "Probe", "errorMessage": "as asked"})),
            _ => {
                let key = std::env::var("AWS_ACCESS_KEY_ID").ok();
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let clock_ms = u64::try_from(since.unwrap().as_millis()).unwrap();
                let body =
                    json!({"event": event, "pid": std::process::id(), "access_key": key, "clock_ms": clock_ms})
                        .to_string();
                Ok(json!({"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body}))
            }
        };
    }
    let Some(records) = event["Records"].as_array() else {
        return Ok(event);
    };
    let mut failed = Vec::new();
    for record in records {
        let (id, text) = match record["dynamodb"]["SequenceNumber"].as_str() {
            Some(sequence) => (
                sequence,
                record["dynamodb"]["NewImage"]["bad"]["S"]
                    .as_str()
                    .map_or("", |_| "bad"),
            ),
            None => (
                record["messageId"].as_str().unwrap(),
                record["body"].as_str().unwrap(),
            ),
        };
        let name = match record["dynamodb"]["Keys"]["pk"]["S"].as_str() {
            Some(key) => format!("{key} {id}"),
            None => text.to_owned(),
        };
        match text {
            "crash" => std::process::exit(3),
            text if text.starts_with("bad") => {
                note(&format!("failed {name}"));
                failed.push(json!({"itemIdentifier": id}));
                if record["dynamodb"].is_object() {
                    break;
                }
            }
            _ => note(&format!("handled {name}")),
        }
    }
    Ok(json!({"batchItemFailures": failed}))
}

fn main() {
    if std::env::var("PROBE_START").is_ok_and(|v| v == "fails") {
        std::process::exit(4);
    }
    let mut runtime = Runtime::connect();
    loop {
        let (id, event) = runtime.exchange("GET", "/invocation/next", "");
        match handle(serde_json::from_slice(&event).unwrap()) {
            Ok(answer) => {
                runtime.exchange("POST", &format!("/invocation/{id}/response"), &answer.to_string())
            }
            Err(error) => runtime.exchange("POST", &format!("/invocation/{id}/error"), &error.to_string()),
        };
    }
}
