//! Serves routes that a real gateway does not have: the bank's page, the log, the faults, the key.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use stack_api::gateway_log::Calls;

use crate::book::Outcome;
use crate::error;
use crate::faults::Faults;
use crate::gateway::Gateway;
use crate::webhooks::Target;

pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/sandbox/authenticate/{id}", get(page).post(authenticate))
        .route("/sandbox/log", get(log))
        .route("/sandbox/calls", get(calls))
        .route("/sandbox/faults", get(show_faults).post(set_faults))
        .route("/sandbox/webhooks", post(set_webhooks))
        .route("/sandbox/key", post(replace_key))
}

type Shared = State<Arc<Gateway>>;

#[derive(Debug, Default, Deserialize)]
struct Visit {
    outcome: Option<String>,
}

/// The bank's page. `?outcome=` decides immediately, for clients without buttons.
async fn page(
    State(gateway): Shared,
    Path(id): Path<String>,
    Query(visit): Query<Visit>,
    headers: HeaderMap,
) -> Response<Body> {
    if visit.outcome.is_some() {
        return decide(&gateway, &id, &visit, &headers);
    }
    let Some(shown) = gateway
        .book()
        .intent(&id)
        .map(|i| (i.amount, i.currency.clone(), i.status))
    else {
        return error::missing("payment_intent").into_response();
    };
    let (amount, currency, status) = shown;
    // The id was found in the book, so it needs no escaping; the currency has three letters.
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Sandbox bank</title>\
         <h1>Sandbox bank</h1><p>Payment {id} of {amount} minor units of {currency}: {}.</p>\
         <form method=\"post\"><button name=\"outcome\" value=\"complete\">Approve</button> \
         <button name=\"outcome\" value=\"fail\">Refuse</button></form></html>",
        status.name()
    ))
    .into_response()
}

async fn authenticate(
    State(gateway): Shared,
    Path(id): Path<String>,
    Query(in_query): Query<Visit>,
    headers: HeaderMap,
    form: Result<Form<Visit>, FormRejection>,
) -> Response<Body> {
    let visit = match form {
        Ok(Form(visit)) if visit.outcome.is_some() => visit,
        _ => in_query,
    };
    decide(&gateway, &id, &visit, &headers)
}

fn decide(gateway: &Gateway, id: &str, visit: &Visit, headers: &HeaderMap) -> Response<Body> {
    let outcome = match visit.outcome.as_deref() {
        Some("complete") => Outcome::Complete,
        Some("fail") => Outcome::Fail,
        _ => {
            let refused = error::invalid_text("outcome", "Either complete or fail.");
            return refused.into_response();
        }
    };
    let mut book = gateway.book();
    let reply = book.authenticate(id, outcome);
    let return_url = book.intent(id).and_then(|intent| intent.return_url.clone());
    drop(book);
    if reply.status != StatusCode::OK {
        return reply.into_response();
    }
    let redirect_status = if outcome == Outcome::Complete {
        "succeeded"
    } else {
        "failed"
    };
    // A browser is redirected to the shop; a program gets the result as an answer.
    let browser = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if let (true, Some(url)) = (browser, return_url) {
        let separator = if url.contains('?') { '&' } else { '?' };
        let target = format!("{url}{separator}payment_intent={id}&redirect_status={redirect_status}");
        if let Ok(location) = HeaderValue::from_str(&target) {
            return (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
        }
    }
    Json(json!({ "payment_intent": id, "redirect_status": redirect_status })).into_response()
}

async fn log(State(gateway): Shared) -> Response<Body> {
    let path = gateway.book().log_path();
    match tokio::fs::read(path).await {
        Ok(lines) => ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response(),
        Err(failed) => {
            tracing::error!(error = %failed, "the gateway's log could not be read; the caller gets status 500");
            error::internal("The log could not be read.").into_response()
        }
    }
}

async fn calls(State(gateway): Shared) -> Json<Calls> {
    Json(gateway.faults().calls())
}

async fn show_faults(State(gateway): Shared) -> Json<Faults> {
    Json(gateway.faults().faults())
}

async fn set_faults(State(gateway): Shared, Json(faults): Json<Faults>) -> Response<Body> {
    let shares = [
        faults.timeout_before_charge,
        faults.timeout_after_charge,
        faults.lost_answer,
        faults.stored_failure_before,
        faults.stored_failure_after,
    ];
    if shares.iter().any(|share| !(0.0..=1.0).contains(share))
        || faults.timeout_before_charge + faults.timeout_after_charge > 1.0
        || faults.stored_failure_before + faults.stored_failure_after > 1.0
        || faults.calls_per_second == Some(0)
    {
        let rule = "Shares are from 0 to 1, calls a second at least 1.";
        return error::invalid("parameter_invalid", "faults", rule).into_response();
    }
    gateway.faults().change(|now| *now = faults);
    Json(faults).into_response()
}

async fn set_webhooks(State(gateway): Shared, Json(target): Json<Option<Target>>) -> Response<Body> {
    if target.as_ref().is_some_and(|target| !target.faults.is_possible()) {
        return error::invalid("parameter_invalid", "faults", "Shares are from 0 to 1.").into_response();
    }
    gateway.webhooks().send_to(target);
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    api_key: String,
}

async fn replace_key(State(gateway): Shared, Json(NewKey { api_key }): Json<NewKey>) -> StatusCode {
    gateway.api_key().replace(api_key);
    StatusCode::NO_CONTENT
}
