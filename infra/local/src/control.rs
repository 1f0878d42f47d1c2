//! Serves the control endpoint, which reports metered figures, permissions, queue depths, injected faults and whether
//! work is left. The endpoint can end the faults, invoke a function, and set a secret or a stored parameter.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;
use stack_api::Idle;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::faults::Faults;
use crate::http1::{self, Reply};
use crate::meter::Meter;
use crate::permissions::Permissions;
use crate::postgres::Postgres;
use crate::runtime::{Failure, Functions};
use crate::secrets::Secrets;
use crate::sources::Stream;
use crate::sqs::{Depth, Sqs};
use crate::template::Model;

/// Lambda's limit for a synchronous invocation's event.
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// The parts of the local stack that the control endpoint reports on or changes.
pub struct Control {
    pub model: Model,
    pub functions: Arc<Functions>,
    pub sqs: Sqs,
    /// The readers of the tables' streams.
    pub streams: Vec<Arc<Stream>>,
    pub meter: Arc<Meter>,
    pub permissions: Arc<Permissions>,
    pub secrets: Arc<Secrets>,
    pub faults: Arc<Faults>,
    /// The ledger's server. The fault that crashes the server holds the lock until the server runs again.
    pub postgres: Arc<Mutex<Postgres>>,
}

/// The depth of a queue and of its dead-letter queue.
#[derive(Debug, Serialize)]
struct QueueFigures {
    #[serde(flatten)]
    depth: Depth,
    dlq: Option<Depth>,
}

impl Control {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let result = match (&parts.method, path) {
            (&Method::GET, "/meter") => encode(&self.meter.report()),
            (&Method::GET, "/functions") => encode(&self.functions.figures()),
            (&Method::GET, "/permissions") => encode(&self.permissions.report()),
            (&Method::GET, "/queues") => self.queues().await.and_then(|q| encode(&q)),
            (&Method::GET, "/idle") => self.idle().await.and_then(|i| encode(&i)),
            (&Method::GET, "/faults") => encode(&self.faults.report()),
            (&Method::POST, "/faults/end") => {
                self.faults.end();
                // The fault that crashes the server holds this lock until the server runs again.
                drop(self.postgres.lock().await);
                encode(&self.faults.report())
            }
            (&Method::PUT, _) => {
                let secret = path.strip_prefix("/secrets/");
                // The name of a stored parameter begins with a slash, so the slash is not part of the prefix.
                let parameter = path
                    .strip_prefix("/parameters")
                    .filter(|name| name.starts_with('/'));
                if secret.is_none() && parameter.is_none() {
                    return http1::json(StatusCode::NOT_FOUND, "");
                }
                let text = http1::read(body, MAX_EVENT_BYTES).await;
                let Some(text) = text.and_then(|text| String::from_utf8(text.into()).ok()) else {
                    return http1::json(StatusCode::BAD_REQUEST, "");
                };
                match (secret, parameter) {
                    (Some(name), _) => self.secrets.put(name, text),
                    (None, name) => self.secrets.put_parameter(name.unwrap_or_default(), text),
                }
                return http1::json(StatusCode::NO_CONTENT, "");
            }
            (&Method::POST, _) => {
                let invoked = path.strip_prefix("/functions/");
                let Some(function) = invoked.and_then(|path| path.strip_suffix("/invoke")) else {
                    return http1::json(StatusCode::NOT_FOUND, "");
                };
                return match http1::read(body, MAX_EVENT_BYTES).await {
                    Some(event) => self.invoke(function, event).await,
                    None => http1::json(StatusCode::PAYLOAD_TOO_LARGE, ""),
                };
            }
            _ => return http1::json(StatusCode::NOT_FOUND, ""),
        };
        result.map_or_else(
            |error| {
                let error = json!({"error": format!("{error:#}")}).to_string();
                http1::json(StatusCode::INTERNAL_SERVER_ERROR, error)
            },
            |body| http1::json(StatusCode::OK, body),
        )
    }

    async fn invoke(&self, function: &str, event: Bytes) -> Reply {
        match self.functions.call(function, "invoke", event).await {
            Ok(answer) => http1::json(StatusCode::OK, answer),
            Err(Failure::Unknown) => http1::json(StatusCode::NOT_FOUND, ""),
            Err(failure) => http1::json(StatusCode::BAD_GATEWAY, failure.body()),
        }
    }

    async fn queues(&self) -> Result<BTreeMap<&str, QueueFigures>> {
        let mut figures = BTreeMap::new();
        for (name, queue) in &self.model.queues {
            let dlq = match &queue.redrive {
                Some((dead, _)) => Some(self.sqs.depth(dead).await?),
                None => None,
            };
            figures.insert(
                name.as_str(),
                QueueFigures {
                    depth: self.sqs.depth(name).await?,
                    dlq,
                },
            );
        }
        Ok(figures)
    }

    async fn idle(&self) -> Result<Idle> {
        // The order of the checks is the order of the work: streams, queues, functions. So no work moves from a part
        // that is not checked yet to a part that is already checked.
        let mut streams_drained = true;
        for stream in &self.streams {
            streams_drained &= stream.drained()?;
        }
        let mut queue_messages = 0;
        for source in self.model.functions.values().flat_map(|f| &f.queues) {
            let depth = self.sqs.depth(&source.queue).await?;
            let kept = u64::from(self.faults.keeps(&source.queue));
            queue_messages += depth.visible + depth.in_flight + depth.delayed + kept;
        }
        let running: BTreeMap<String, usize> = self
            .functions
            .figures()
            .into_iter()
            .filter(|f| f.running > 0)
            .map(|f| (f.function, f.running))
            .collect();
        let busy = running.keys().any(|name| !self.model.scheduled(name));
        // A function may have written to a table since the first check of the streams.
        for stream in &self.streams {
            streams_drained &= stream.drained()?;
        }
        Ok(Idle {
            idle: streams_drained && queue_messages == 0 && !busy,
            streams_drained,
            stream_records_pending: self.streams.iter().map(|s| s.pending()).sum(),
            queue_messages,
            running,
        })
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes> {
    Ok(serde_json::to_vec(value)?.into())
}

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, control: Arc<Control>) {
    http1::serve(listener, control, |control, request, _| control.handle(request)).await;
}
