//! Contains the HTTP/1.1 server code that all endpoints of this crate share.

use std::net::SocketAddr;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The buffer for a request head. hyper answers longer heads with 431.
const HEAD_BYTES: usize = 32 * 1024;

/// The content type of DynamoDB's and SQS's bodies.
pub(crate) const AMZ_JSON: &str = "application/x-amz-json-1.0";

/// A complete response.
pub(crate) type Reply = Response<Full<Bytes>>;

/// The error with which a service closes the connection without a response.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection is cut on purpose")]
struct Cut;

/// A body of at most `most` bytes; `None` if it is larger or incomplete.
pub(crate) async fn read(body: Incoming, most: usize) -> Option<Bytes> {
    let body = Limited::new(body, most).collect().await.ok()?;
    Some(body.to_bytes())
}

pub(crate) fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

/// A response without headers.
pub(crate) fn bare(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

pub(crate) fn reply(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut response = bare(status, body);
    let media = HeaderValue::from_static(media);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, "application/json", body)
}

/// Serves connections with keep-alive until the returned future is dropped, which closes every connection. `service`
/// gets `state` with each request; if it returns no response, the request's connection is closed. When a client closes
/// its connection, the service's future for the running request is dropped.
pub(crate) async fn serve<T, F, R>(
    listener: TcpListener,
    state: T,
    service: fn(T, Request<Incoming>, SocketAddr) -> F,
) where
    T: Clone + Send + Sync + 'static,
    F: Future<Output = R> + Send + 'static,
    R: Into<Option<Reply>>,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Probably no file descriptors are left; the next accept may succeed after other connections have
                // closed.
                tracing::warn!(%error, "a connection could not be accepted; the server tries again in 20 ms");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answer = service(state.clone(), request, peer);
                async move {
                    let reply: Option<Reply> = answer.await.into();
                    reply.ok_or(Cut)
                }
            });
            let served = http1::Builder::new()
                .max_buf_size(HEAD_BYTES)
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "an HTTP connection ended with an error");
            }
        });
    }
}
