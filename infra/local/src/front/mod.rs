//! Serves HTTP as the front end: routes requests as API Gateway's HTTP API does with the template's routes.
//!
//! A request is matched with the routes and becomes an event in payload format 2.0. The function's reply becomes the
//! response. The gateway's own answers (no route, body too large, no free process, failing function) have the gateway's
//! form, not the form of the API's problems.
//!
//! The front end does not throttle: one machine never reaches the template's rate limit.

mod cors;
mod event;
mod reply;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::http1::{self, Reply};
use crate::runtime::{Failure, Functions, Waiting};
use crate::template::{Cors, Model, Route};

/// The largest request body, by the gateway's quota.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// How much of an oversized body is read before the connection is closed.
const MAX_DISCARDED_BYTES: usize = 4 * MAX_BODY_BYTES;

/// The largest request line and headers together, by the gateway's quota.
pub const MAX_HEAD_BYTES: usize = 10_240;

/// The header with the modelled part of the response time, in µs: see [`OnDemand`](crate::runtime::OnDemand). API
/// Gateway does not send this header.
pub const MODELLED: HeaderName = HeaderName::from_static(stack_api::MODELLED_HEADER);

/// The function that a route leads to, and the route's key in events and in the meter.
#[derive(Debug, Clone)]
struct Target {
    function: Arc<str>,
    route_key: Arc<str>,
}

#[derive(Debug)]
pub struct Front {
    functions: Arc<Functions>,
    methods: HashMap<Method, matchit::Router<Target>>,
    any: matchit::Router<Target>,
    default: Option<Target>,
    cors: Option<Cors>,
}

/// A body, or `None` if it is too large. The rest of an oversized body is read and dropped, up to a limit, so that the
/// client gets its answer instead of a connection reset.
async fn read(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let (mut kept, mut bytes) = (Vec::new(), 0usize);
    while let Some(frame) = body.frame().await.transpose()? {
        let Ok(data) = frame.into_data() else { continue };
        bytes = bytes.saturating_add(data.len());
        if bytes > MAX_DISCARDED_BYTES {
            return Ok(None);
        }
        if bytes <= MAX_BODY_BYTES {
            kept.extend_from_slice(&data);
        }
    }
    Ok((bytes <= MAX_BODY_BYTES).then(|| kept.into()))
}

impl Front {
    /// A front end with the routes of the model's functions.
    ///
    /// # Errors
    /// When two routes collide or a route is malformed.
    pub fn new(model: &Model, functions: Arc<Functions>) -> Result<Self> {
        let mut front = Self {
            functions,
            methods: HashMap::new(),
            any: matchit::Router::new(),
            default: None,
            cors: model.cors.clone(),
        };
        for function in model.functions.values() {
            for route in &function.routes {
                let added = front.add(&function.name, route);
                added.with_context(|| format!("{}: {route:?}", function.name))?;
            }
        }
        Ok(front)
    }

    fn add(&mut self, function: &str, route: &Route) -> Result<()> {
        let target = |route_key: &str| Target {
            function: function.into(),
            route_key: route_key.into(),
        };
        match route {
            Route::Default => self.default = Some(target("$default")),
            Route::Path { method, path } => {
                let target = target(&format!("{method} {path}"));
                // The gateway writes `{name+}` for the rest of a path, matchit `{*name}`.
                let rest = path.strip_suffix("+}").and_then(|path| path.rsplit_once('{'));
                let pattern = rest.map(|(head, name)| format!("{head}{{*{name}}}"));
                let pattern = pattern.unwrap_or_else(|| path.clone());
                let router = match method.as_str() {
                    "ANY" => &mut self.any,
                    method => self.methods.entry(method.parse()?).or_default(),
                };
                router.insert(pattern, target)?;
            }
        }
        Ok(())
    }

    fn find<'p>(&self, method: &Method, path: &'p str) -> Option<(&Target, matchit::Params<'_, 'p>)> {
        let of_method = self.methods.get(method).and_then(|router| router.at(path).ok());
        let found = of_method.or_else(|| self.any.at(path).ok())?;
        Some((found.value, found.params))
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Reply {
        let origin = request.headers().get("origin").cloned();
        if let (Some(cors), Some(origin)) = (&self.cors, &origin)
            && let Some(answer) = cors::preflight(cors, &request, origin)
        {
            return answer;
        }
        let mut response = self.forward(request, peer).await;
        if let (Some(cors), Some(origin)) = (&self.cors, origin) {
            cors::mark(cors, &mut response, &origin);
        }
        response
    }

    async fn forward(&self, request: Request<Incoming>, peer: SocketAddr) -> Reply {
        if head_bytes(&request) > MAX_HEAD_BYTES {
            let message = "Request Header Fields Too Large";
            return gateway(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message);
        }
        let (parts, body) = request.into_parts();
        let body = match read(body).await {
            Ok(Some(body)) => body,
            Ok(None) => return gateway(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
            Err(_) => return gateway(StatusCode::BAD_REQUEST, "Bad Request"),
        };
        let path = parts.uri.path();
        let (target, parameters) = match (self.find(&parts.method, path), &self.default) {
            (Some((target, parameters)), _) => (target, Some(parameters)),
            (None, Some(default)) => (default, None),
            (None, None) => return gateway(StatusCode::NOT_FOUND, "Not Found"),
        };
        let invocation = self.functions.identify();
        let event = event::build(&event::Arrival {
            parts: &parts,
            route_key: &target.route_key,
            parameters: parameters.as_ref(),
            body: &body,
            peer,
            request_id: &invocation.request_id,
            trace: &invocation.trace,
        });
        let target = target.clone();
        let functions = Arc::clone(&self.functions);
        // As on Lambda, the invocation continues when the caller closes the connection, which drops this future. So the
        // invocation has a task of its own.
        let work = tokio::spawn(async move {
            let mut response = None;
            let (result, modelled) = functions
                .invoke_modelled(
                    &target.function,
                    &target.route_key,
                    invocation,
                    event,
                    Waiting::Briefly,
                    |result| {
                        let made = respond(result);
                        let status = made.status().as_u16();
                        response = Some(made);
                        status
                    },
                )
                .await;
            let mut response = response.unwrap_or_else(|| respond(&result));
            if !modelled.is_zero() {
                let us = u64::try_from(modelled.as_micros()).unwrap_or(u64::MAX);
                response.headers_mut().insert(MODELLED, us.into());
            }
            response
        });
        work.await.unwrap_or_else(|_| failed())
    }
}

fn respond(result: &Result<Bytes, Failure>) -> Reply {
    match result {
        Ok(reply) => reply::read(reply).unwrap_or_else(failed),
        Err(Failure::Throttled) => gateway(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        Err(_) => failed(),
    }
}

/// The answer when a function fails or its reply forms no response.
fn failed() -> Reply {
    gateway(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

fn head_bytes(request: &Request<Incoming>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
    target + headers.sum::<usize>()
}

/// An answer of the gateway itself, in API Gateway's form.
fn gateway(status: StatusCode, message: &str) -> Reply {
    http1::json(status, format!(r#"{{"message":"{message}"}}"#))
}

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, front: Arc<Front>) {
    http1::serve(listener, front, |front, request, peer| {
        front.handle(request, peer)
    })
    .await;
}
