//! Runs SQS on one machine: the embedded server, its queues from the template, and direct access for this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::dispatch::SqsHandler;
use rustack_sqs_http::response::error_to_response;
use rustack_sqs_http::router::resolve_operation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::faults::Faults;
use crate::faults::relay_crash::Crash;
use crate::http1::{self, AMZ_JSON, Reply};
use crate::meter::{Caller, Meter};
use crate::permissions::{Denied, Need, Permissions, signer};
use crate::template::{ACCOUNT, Queue, REGION, queue_arn};
use crate::wire::Message;

/// SQS's limit for a request is 1 MB. The margin is for the envelope around the messages.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// The time that a receive waits for the first message: the longest that SQS allows.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The time that a killed caller has to exit, before its connection is closed.
const KILLED_CALLER_EXIT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Sqs {
    handler: Arc<RustackSqsHandler>,
    provider: Arc<RustackSqs>,
    meter: Arc<Meter>,
    url: Arc<str>,
    permissions: Arc<Permissions>,
    faults: Arc<Faults>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Messages that can be received.
    pub visible: u64,
    /// Messages that were received and neither deleted nor made visible again.
    pub in_flight: u64,
    /// Messages that become visible later.
    pub delayed: u64,
}

impl Depth {
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// A failed action on a queue, with SQS's error body or the reason why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("SQS: {0}")]
pub struct SqsError(String);

impl Sqs {
    /// An SQS server without queues. The URLs of its queues start with `url`.
    #[must_use]
    pub fn new(url: &str, port: u16, meter: Arc<Meter>) -> Self {
        let provider = Arc::new(RustackSqs::new(SqsConfig {
            skip_signature_validation: true,
            default_region: REGION.to_owned(),
            account_id: ACCOUNT.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
        }));
        let handler = Arc::new(RustackSqsHandler::new(Arc::clone(&provider)));
        Self {
            handler,
            provider,
            meter,
            url: url.into(),
            permissions: Arc::default(),
            faults: Arc::default(),
        }
    }

    /// Enables the check of each function's calls against these permissions.
    #[must_use]
    pub fn guarded(mut self, permissions: Arc<Permissions>) -> Self {
        self.permissions = permissions;
        self
    }

    /// Enables these faults between the queues and the functions.
    #[must_use]
    pub fn faulty(mut self, faults: Arc<Faults>) -> Self {
        self.faults = faults;
        self
    }

    /// Checks the action against the policy of the calling function. A call that no function signed is always allowed.
    /// A batch action needs the permission of the single action.
    fn authorize(&self, function: Option<&str>, action: &str, body: &[u8]) -> Result<(), Denied> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(rename = "QueueUrl")]
            queue_url: String,
        }
        let Some(function) = function else { return Ok(()) };
        let queue = serde_json::from_slice(body).map(|Names { queue_url }| {
            let name = queue_url.rsplit('/').next();
            queue_arn(name.unwrap_or_default())
        });
        let need = Need {
            action: format!("sqs:{}", action.strip_suffix("Batch").unwrap_or(action)).into(),
            resource: queue.unwrap_or_else(|_| "*".to_owned()),
        };
        self.permissions
            .check(function, &[need])
            .map_err(Denied::in_small_letters)
    }

    /// Creates the template's queues.
    ///
    /// # Errors
    /// When the server refuses a queue.
    pub async fn create(&self, queues: &BTreeMap<String, Queue>) -> Result<()> {
        for queue in queues.values() {
            let mut attributes = BTreeMap::from([
                ("VisibilityTimeout", queue.visibility.as_secs().to_string()),
                ("MessageRetentionPeriod", queue.retention.as_secs().to_string()),
            ]);
            if let Some((dead, receives)) = &queue.redrive {
                let policy = json!({"deadLetterTargetArn": queue_arn(dead), "maxReceiveCount": receives});
                attributes.insert("RedrivePolicy", policy.to_string());
            }
            let input = json!({"QueueName": queue.name, "Attributes": attributes});
            let created = self.call("CreateQueue", &input).await;
            created.with_context(|| format!("the queue {}", queue.name))?;
        }
        Ok(())
    }

    #[must_use]
    pub fn queue_url(&self, queue: &str) -> String {
        format!("{}/{ACCOUNT}/{queue}", self.url)
    }

    /// Runs one action in this process, without the network.
    async fn call(&self, action: &str, input: &Value) -> Result<Value, SqsError> {
        let (target, input) = (format!("AmazonSQS.{action}"), input.to_string().into());
        let (status, body) = self.dispatch(&target, input).await.map_err(SqsError)?;
        if !status.is_success() {
            return Err(SqsError(String::from_utf8_lossy(&body).into_owned()));
        }
        serde_json::from_slice(&body).map_err(|e| SqsError(e.to_string()))
    }

    async fn dispatch(&self, target: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-amz-target",
            HeaderValue::from_str(target).map_err(|e| e.to_string())?,
        );
        let operation = resolve_operation(&headers).map_err(|e| e.to_string())?;
        let response = self.handler.handle_operation(operation, body).await;
        let response = response.unwrap_or_else(|error| error_to_response(&error, "local"));
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?;
        Ok((status, body.to_bytes()))
    }

    /// Receives up to `count` messages for a function, and waits up to 20 s for the first.
    ///
    /// # Errors
    /// When SQS refuses the action.
    pub async fn receive(&self, queue: &str, count: usize) -> Result<Vec<Message>, SqsError> {
        self.receive_within(queue, count, LONGEST_WAIT).await
    }

    /// Receives up to `count` messages for a function, and waits for the first as long as `wait`, in whole seconds.
    ///
    /// # Errors
    /// When SQS refuses the action.
    pub async fn receive_within(
        &self,
        queue: &str,
        count: usize,
        wait: Duration,
    ) -> Result<Vec<Message>, SqsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Received {
            #[serde(default)]
            messages: Option<Vec<Message>>,
        }
        self.meter.sqs("ReceiveMessage");
        let input = json!({
            "QueueUrl": self.queue_url(queue),
            "MaxNumberOfMessages": count,
            "WaitTimeSeconds": self.faults.patience(queue, wait).as_secs(),
            "AttributeNames": ["All"],
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let received: Received = serde_json::from_value(self.call("ReceiveMessage", &input).await?)
            .map_err(|e| SqsError(e.to_string()))?;
        let handed = self
            .faults
            .pass(queue, received.messages.unwrap_or_default(), count);
        self.meter.messages(queue, handed.len());
        Ok(handed)
    }

    /// Deletes received messages, at most ten.
    ///
    /// # Errors
    /// When SQS refuses the action.
    pub async fn delete(&self, queue: &str, receipts: &[&str]) -> Result<(), SqsError> {
        self.meter.sqs("DeleteMessageBatch");
        let entries: Vec<Value> = receipts
            .iter()
            .enumerate()
            .map(|(i, receipt)| json!({"Id": i.to_string(), "ReceiptHandle": receipt}))
            .collect();
        let input = json!({"QueueUrl": self.queue_url(queue), "Entries": entries});
        self.call("DeleteMessageBatch", &input).await.map(drop)
    }

    /// Sends one message with the text `body`.
    ///
    /// # Errors
    /// When SQS refuses the action.
    pub async fn send(&self, queue: &str, body: &str) -> Result<(), SqsError> {
        self.meter.sqs("SendMessage");
        let input = json!({"QueueUrl": self.queue_url(queue), "MessageBody": body});
        self.call("SendMessage", &input).await.map(drop)
    }

    /// The numbers of visible, in-flight and delayed messages of a queue.
    ///
    /// # Errors
    /// When SQS refuses the action.
    pub async fn depth(&self, queue: &str) -> Result<Depth, SqsError> {
        let input = json!({"QueueUrl": self.queue_url(queue), "AttributeNames": ["All"]});
        let answer = self.call("GetQueueAttributes", &input).await?;
        let count = |name: &str| {
            answer
                .get("Attributes")
                .and_then(|all| all.get(name)?.as_str())
                .and_then(|n| n.parse().ok())
                .ok_or_else(|| SqsError(format!("no attribute {name}")))
        };
        Ok(Depth {
            visible: count("ApproximateNumberOfMessages")?,
            in_flight: count("ApproximateNumberOfMessagesNotVisible")?,
            delayed: count("ApproximateNumberOfMessagesDelayed")?,
        })
    }

    pub async fn stop(&self) {
        self.provider.shutdown_all().await;
    }

    async fn handle(self, request: Request<Incoming>) -> Option<Reply> {
        let (parts, body) = request.into_parts();
        let target = http1::header(&parts, "x-amz-target").unwrap_or_default();
        let Some(body) = http1::read(body, MAX_BODY_BYTES).await else {
            return Some(http1::reply(StatusCode::PAYLOAD_TOO_LARGE, AMZ_JSON, ""));
        };
        let action = target.rsplit('.').next().unwrap_or_default();
        self.meter.sqs(action);
        let function = signer(http1::header(&parts, "authorization"));
        if let Err(denied) = self.authorize(function, action, &body) {
            let mut refusal = http1::reply(StatusCode::FORBIDDEN, AMZ_JSON, denied.body());
            let code = HeaderValue::from_static("AccessDenied;Sender");
            refusal.headers_mut().insert("x-amzn-query-error", code);
            return Some(refusal);
        }
        let caller = Caller::from_trace(http1::header(&parts, "x-amzn-trace-id"));
        let crash = self.faults.crash(function, action, caller);
        if let Some(crash) = crash {
            if crash == Crash::After {
                let _ = self.dispatch(target, body).await;
            }
            if crash != Crash::Already {
                self.faults.kill_relay(crash, caller);
            }
            // A relay that gets any answer would continue its work. So the request stays unanswered until the kill
            // takes effect, which closes the connection.
            tokio::time::sleep(KILLED_CALLER_EXIT).await;
            return None;
        }
        Some(match self.dispatch(target, body).await {
            Ok((status, body)) => http1::reply(status, AMZ_JSON, body),
            Err(error) => {
                let error = json!({"__type": "com.amazonaws.sqs#InvalidAction", "message": error});
                http1::reply(StatusCode::BAD_REQUEST, AMZ_JSON, error.to_string())
            }
        })
    }
}

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, sqs: Sqs) {
    http1::serve(listener, sqs, |sqs, request, _| sqs.handle(request)).await;
}

/// The port of a listener.
///
/// # Errors
/// When the operating system does not report it.
pub fn port(listener: &TcpListener) -> Result<u16> {
    let address = listener.local_addr().context("a listener without an address")?;
    Ok(address.port())
}
