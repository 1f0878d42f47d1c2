//! The HTTP endpoint the SDK talks to.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::{Answer, Dynamo};
use crate::http1;
use crate::meter::Caller;
use crate::permissions::signer;

/// DynamoDB takes requests of up to 16 MB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Serves until the listener fails or the task is dropped.
pub async fn serve(listener: TcpListener, dynamo: Dynamo) {
    http1::serve(listener, move |request, _peer: SocketAddr| {
        let dynamo = dynamo.clone();
        async move { Ok::<_, Infallible>(handle(dynamo, request).await) }
    })
    .await;
}

async fn handle(dynamo: Dynamo, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return response(200, Bytes::from_static(b"healthy"));
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
    else {
        return response(413, Bytes::new());
    };
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let caller = Caller::from_trace(header("x-amzn-trace-id"));
    let operation = header("x-amz-target")
        .and_then(|t| t.rsplit('.').next())
        .unwrap_or_default()
        .to_owned();
    if let Err(refusal) = dynamo.authorize(signer(header("authorization")), &operation, &body) {
        return response(refusal.status, refusal.body);
    }
    // A scan reads whole tables; it must not hold up the thread that serves the others.
    let answer = if operation == "Scan" {
        let work = tokio::task::spawn_blocking(move || dynamo.answer(&operation, &body, caller));
        work.await.unwrap_or(Answer {
            status: 500,
            body: Bytes::new(),
        })
    } else {
        dynamo.answer(&operation, &body, caller)
    };
    response(answer.status, answer.body)
}

fn response(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        "content-type",
        HeaderValue::from_static("application/x-amz-json-1.0"),
    );
    response
}
