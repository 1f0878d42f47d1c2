//! HTTP/1.1 servers of this crate: one way to accept and to serve.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Room for the longest request head that is read at all; longer ones get 431 from hyper.
const HEAD_BYTES: usize = 32 * 1024;

/// What a service answers instead of a response to have the connection closed without one.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(crate) struct Cut;

/// A response whose body is JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, body.into(), "application/json")
}

/// A response in AWS's JSON protocol, as DynamoDB and SQS speak it.
pub(crate) fn aws_json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, body.into(), "application/x-amz-json-1.0")
}

fn response(status: StatusCode, body: Bytes, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Serves connections with keep-alive until dropped; then every connection ends with it. A client that hangs up drops the
/// service's future.
pub(crate) async fn serve<S, F, E>(listener: TcpListener, service: S)
where
    S: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
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
                // Out of descriptors, most likely: the next connection may fare better once others have closed.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| service(request, peer));
            let served = http1::Builder::new()
                .max_buf_size(HEAD_BYTES)
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}
