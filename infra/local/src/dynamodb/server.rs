//! Serves the HTTP endpoint of DynamoDB, which the functions' SDK calls.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::Dynamo;
use crate::faults::tables::{Fate, HELD, Loss};
use crate::http1::{self, AMZ_JSON, Cut};
use crate::meter::Caller;
use crate::permissions::signer;
use crate::wire::Answer;

/// DynamoDB's limit for a request is 16 MB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, dynamo: Dynamo) {
    http1::serve(listener, move |request, _peer: SocketAddr| {
        let dynamo = dynamo.clone();
        async move { handle(dynamo, request).await }
    })
    .await;
}

async fn handle(dynamo: Dynamo, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    if request.method() != Method::POST {
        return Ok(response(200, Bytes::from_static(b"healthy")));
    }
    let (parts, body) = request.into_parts();
    let Some(body) = http1::read(body, MAX_BODY_BYTES).await else {
        return Ok(response(413, Bytes::new()));
    };
    let target = http1::header(&parts, "x-amz-target").unwrap_or_default();
    let asked = Asked {
        operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
        body,
        caller: Caller::from_trace(http1::header(&parts, "x-amzn-trace-id")),
    };
    let function = signer(http1::header(&parts, "authorization"));
    if let Err(refusal) = dynamo.authorize(function, &asked.operation, &asked.body) {
        return Ok(response(refusal.status, refusal.body));
    }
    let fate = match function {
        Some(_) => dynamo.faults().fate(&asked.operation, &asked.body),
        None => Fate::Answered,
    };
    let answer = meet(fate, dynamo, asked).await?;
    Ok(response(answer.status, answer.body))
}

/// A request to DynamoDB: its operation, its JSON body, and its caller.
struct Asked {
    operation: String,
    body: Bytes,
    caller: Caller,
}

/// Applies the fault `fate` to a request.
async fn meet(fate: Fate, dynamo: Dynamo, mut asked: Asked) -> Result<Answer, Cut> {
    match fate {
        Fate::Answered => Ok(run(dynamo, asked).await),
        Fate::Refused(answer) => Ok(answer),
        Fate::Partly(body, unprocessed) => {
            asked.body = body.into();
            Ok(with_unprocessed(run(dynamo, asked).await, unprocessed))
        }
        Fate::Slow(before, after) => {
            tokio::time::sleep(before).await;
            let answer = run(dynamo, asked).await;
            tokio::time::sleep(after).await;
            Ok(answer)
        }
        Fate::LostBefore(loss) => lose(loss).await,
        Fate::LostAfter(loss) => {
            run(dynamo, asked).await;
            lose(loss).await
        }
        Fate::Late(after) => {
            // The caller closes the connection before the write is done, which drops this future. A task goes on.
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                run(dynamo, asked).await;
            });
            lose(Loss::Held).await
        }
    }
}

async fn lose(loss: Loss) -> Result<Answer, Cut> {
    if loss == Loss::Held {
        tokio::time::sleep(HELD).await;
    }
    Err(Cut)
}

async fn run(dynamo: Dynamo, asked: Asked) -> Answer {
    let Asked {
        operation,
        body,
        caller,
    } = asked;
    if operation != "Scan" {
        return dynamo.answer(&operation, &body, caller);
    }
    // A scan reads whole tables, so it must not block the thread that serves other requests.
    let work = tokio::task::spawn_blocking(move || dynamo.answer(&operation, &body, caller));
    work.await.unwrap_or(Answer {
        status: 500,
        body: Bytes::new(),
    })
}

/// Adds unprocessed keys to the answer to a batch of reads.
fn with_unprocessed(answer: Answer, unprocessed: serde_json::Value) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return answer;
    };
    if let (200, Some(fields)) = (answer.status, body.as_object_mut()) {
        fields.insert("UnprocessedKeys".to_owned(), unprocessed);
    }
    Answer {
        status: answer.status,
        body: body.to_string().into(),
    }
}

fn response(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    http1::reply(status, AMZ_JSON, body)
}
