//! Serves the Runtime API. Each process has a listener of its own, so the listener identifies the calling
//! process.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::MAX_ANSWER_BYTES;
use super::pool::{Failure, Next, Pool};
use super::process::Process;
use crate::http1::{self, Reply, bare};
use crate::template::function_arn;

const PREFIX: &str = "/2018-06-01/runtime/";

/// Serves one process until the returned future is dropped.
pub(super) async fn serve(listener: TcpListener, pool: Arc<Pool>, process: Arc<Process>) {
    http1::serve(listener, (pool, process), |(pool, process), request, _| {
        handle(pool, process, request)
    })
    .await;
}

async fn handle(pool: Arc<Pool>, process: Arc<Process>, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let Some(path) = parts.uri.path().strip_prefix(PREFIX) else {
        return bare(StatusCode::NOT_FOUND, "");
    };
    if parts.method == Method::GET && path == "invocation/next" {
        return next(&pool, &process).await;
    }
    if parts.method != Method::POST {
        return bare(StatusCode::METHOD_NOT_ALLOWED, "");
    }
    // The body cannot be read if it is too large, or if the process dies while it sends the body.
    let too_large = Bytes::from_static(br#"{"errorType":"Function.ResponseSizeTooLarge"}"#);
    let body = http1::read(body, MAX_ANSWER_BYTES + 1).await.unwrap_or(too_large);
    if path == "init/error" {
        tracing::error!(function = %pool.function.name, error = %String::from_utf8_lossy(&body), "the function's process reported an error before it could serve");
        return bare(StatusCode::ACCEPTED, "");
    }
    let answered = match path
        .strip_prefix("invocation/")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((id, "response")) => process.answers(id, Ok(body)),
        Some((id, "error")) => process.answers(id, Err(Failure::Reported(body))),
        _ => return bare(StatusCode::NOT_FOUND, ""),
    };
    if !answered {
        return bare(StatusCode::BAD_REQUEST, "");
    }
    bare(StatusCode::ACCEPTED, "")
}

async fn next(pool: &Arc<Pool>, process: &Arc<Process>) -> Reply {
    process.asks();
    let work = match pool.next(process) {
        Next::Work(work) => work,
        Next::Idle(work) => match work.await {
            Ok(work) => work,
            // The process is about to be ended too. It would take any answer for work.
            Err(_) => std::future::pending().await,
        },
        Next::Never => std::future::pending().await,
    };
    let deadline = SystemTime::now() + pool.function.timeout;
    let deadline_ms = deadline.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let arn = function_arn(&pool.function.name);
    let headers = [
        (
            "lambda-runtime-aws-request-id",
            work.invocation.request_id.clone(),
        ),
        ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", arn),
        ("lambda-runtime-trace-id", work.invocation.trace.clone()),
    ];
    process.takes(work.invocation, work.reply);
    let scheduled = !pool.function.schedules.is_empty();
    if let Some(after) = pool.settings.faults.dies_after(scheduled) {
        let process = Arc::clone(process);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            process.strike();
        });
    }
    let mut response = http1::json(StatusCode::OK, work.event);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
