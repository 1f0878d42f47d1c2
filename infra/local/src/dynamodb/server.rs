//! Serves the HTTP endpoint of DynamoDB, which the functions' SDK calls.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use super::Dynamo;
use crate::faults::tables::{Fate, HELD, Loss};
use crate::http1::{self, AMZ_JSON, Reply};
use crate::meter::Caller;
use crate::permissions::signer;
use crate::wire::Answer;

/// DynamoDB's limit for a request is 16 MB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Serves requests until the returned future is dropped.
pub async fn serve(listener: TcpListener, dynamo: Dynamo) {
    http1::serve(listener, dynamo, |dynamo, request, _| handle(dynamo, request)).await;
}

/// Answers a request; `None` if a fault loses the answer.
async fn handle(dynamo: Dynamo, request: Request<Incoming>) -> Option<Reply> {
    if request.method() != Method::POST {
        return Some(response(Answer::new(200, "healthy")));
    }
    let (parts, body) = request.into_parts();
    let Some(body) = http1::read(body, MAX_BODY_BYTES).await else {
        return Some(response(Answer::new(413, "")));
    };
    let target = http1::header(&parts, "x-amz-target").unwrap_or_default();
    let asked = Asked {
        operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
        body,
        caller: Caller::from_trace(http1::header(&parts, "x-amzn-trace-id")),
    };
    let function = signer(http1::header(&parts, "authorization"));
    if let Err(refusal) = dynamo.authorize(function, &asked.operation, &asked.body) {
        return Some(response(refusal));
    }
    let fate = match function {
        Some(_) => dynamo.faults().fate(&asked.operation, &asked.body),
        None => Fate::Answered,
    };
    meet(fate, dynamo, asked).await.map(response)
}

/// A request to DynamoDB: its operation, its JSON body, and its caller.
struct Asked {
    operation: String,
    body: Bytes,
    caller: Caller,
}

/// Applies the fault `fate` to a request. `None` if the answer is lost.
async fn meet(fate: Fate, dynamo: Dynamo, mut asked: Asked) -> Option<Answer> {
    match fate {
        Fate::Answered => Some(run(dynamo, asked).await),
        Fate::Refused(answer) => Some(answer),
        Fate::Partly(body, unprocessed) => {
            asked.body = body.into();
            Some(with_unprocessed(run(dynamo, asked).await, unprocessed))
        }
        Fate::Slow(before, after) => {
            tokio::time::sleep(before).await;
            let answer = run(dynamo, asked).await;
            tokio::time::sleep(after).await;
            Some(answer)
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

async fn lose(loss: Loss) -> Option<Answer> {
    if loss == Loss::Held {
        tokio::time::sleep(HELD).await;
    }
    None
}

async fn run(dynamo: Dynamo, asked: Asked) -> Answer {
    let is_scan = asked.operation == "Scan";
    let answer = move || dynamo.answer(&asked.operation, &asked.body, asked.caller);
    if !is_scan {
        return answer();
    }
    // A scan reads whole tables, so it must not block the thread that serves other requests.
    let work = tokio::task::spawn_blocking(answer);
    work.await.unwrap_or_else(|_| Answer::new(500, ""))
}

/// Adds unprocessed keys to the answer to a batch of reads.
fn with_unprocessed(mut answer: Answer, unprocessed: Value) -> Answer {
    if let (200, Ok(mut fields)) = (
        answer.status,
        serde_json::from_slice::<Map<String, Value>>(&answer.body),
    ) {
        fields.insert("UnprocessedKeys".to_owned(), unprocessed);
        answer.body = Value::Object(fields).to_string().into();
    }
    answer
}

fn response(answer: Answer) -> Reply {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    http1::reply(status, AMZ_JSON, answer.body)
}
