//! Serves the API's routes. A request is authenticated and validated, claims its idempotency key, and is carried out;
//! then it is answered, or its answer is held back.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};

use crate::book::Book;
use crate::error::{self, Reply};
use crate::gateway::{Done, Gateway, Refused};
use crate::idempotency::MAX_KEY_CHARS;
use crate::request::{self, Operation, Params};
use crate::{amounts, pages};

/// All routes over one sandbox.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/payment_intents", post(create))
        .route("/v1/payment_intents/{id}", get(show_intent))
        .route("/v1/payment_intents/{id}/confirm", post(confirm))
        .route("/v1/payment_intents/{id}/cancel", post(cancel))
        .route("/v1/refunds", post(refund))
        .route("/v1/refunds/{id}", get(show_refund))
        .merge(pages::router())
        .fallback(|| async { error::no_route() })
        .with_state(gateway)
}

type Shared = State<Arc<Gateway>>;

/// The answer to a POST, or its refusal.
type Answered = Result<Response<Body>, Refused>;

async fn create(State(gateway): Shared, request: Request) -> Answered {
    run(gateway, request, request::create).await
}

async fn confirm(State(gateway): Shared, Path(id): Path<String>, request: Request) -> Answered {
    run(gateway, request, |params| request::confirm(&id, params)).await
}

async fn cancel(State(gateway): Shared, Path(id): Path<String>, request: Request) -> Answered {
    run(gateway, request, |params| request::cancel(&id, params)).await
}

async fn refund(State(gateway): Shared, request: Request) -> Answered {
    run(gateway, request, request::refund).await
}

async fn show_intent(
    State(gateway): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Reply, Refused> {
    show(&gateway, &headers, |book| book.show_intent(&id)).await
}

async fn show_refund(
    State(gateway): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Reply, Refused> {
    show(&gateway, &headers, |book| book.show_refund(&id)).await
}

async fn show(
    gateway: &Gateway,
    headers: &HeaderMap,
    read: impl FnOnce(&Book) -> Reply,
) -> Result<Reply, Refused> {
    gateway.admit(headers)?;
    let latency_ms = gateway.faults().faults().latency_ms;
    if latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
    }
    Ok(read(&gateway.book()))
}

async fn run(
    gateway: Arc<Gateway>,
    request: Request,
    read: impl FnOnce(&Params) -> Result<Operation, Reply>,
) -> Answered {
    gateway.admit(request.headers())?;
    let key = idempotency_key(request.headers())?;
    let path = request.uri().path().to_owned();
    let params = form(request).await?;
    let operation = read(&params)?;
    if let Operation::Create { amount, currency, .. } = &operation
        && amounts::is_too_small(*amount, currency, gateway.settlement())
    {
        return Err(error::invalid(
            "amount_too_small",
            "amount",
            "Amount must convert to at least the minimum.",
        )
        .into());
    }
    let fingerprint = request::fingerprint(&path, &params);
    // The request has a task of its own, so that it completes even if the client closes the connection.
    let task = {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { gateway.carry_out(operation, key, &fingerprint).await })
    };
    match task.await {
        Ok(Done::Answered(reply)) => Ok(reply.into_response()),
        Ok(Done::Replayed(reply)) => Ok(([("idempotent-replayed", "true")], reply).into_response()),
        Ok(Done::Lost) => {
            gateway.keep_back().await;
            Err(error::gave_up().into())
        }
        Err(_) => Err(error::internal("The request's task failed.").into()),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Reply> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY_CHARS => Ok(Some(key.to_owned())),
        _ => Err(error::invalid_text(
            "Idempotency-Key",
            "A key has 1 to 255 characters.",
        )),
    }
}

async fn form(mut request: Request) -> Result<Params, Reply> {
    // An empty POST often has no content type, so a missing one means a form.
    request
        .headers_mut()
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/x-www-form-urlencoded"));
    match Form::<Params>::from_request(request, &()).await {
        Ok(Form(params)) => Ok(params),
        Err(_) => Err(error::invalid(
            "parameter_invalid_empty",
            "body",
            "The body is not form-encoded.",
        )),
    }
}
