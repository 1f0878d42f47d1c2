//! Defines the HTTP conventions that the API functions share.
//!
//! A function builds an [`axum::Router`] of its routes and passes it to [`conventions`], or to [`with_tokens`] if it
//! needs the caller's identity. Handlers use extractors: [`Json`] bodies (bounded, typed, unknown members refused), the
//! [`Shopper`] or [`Operator`] of the bearer token, the [`IdempotencyKey`], identifiers of the path, parameters of the
//! query. Every error becomes a [`Failure`]: a problem document (RFC 9457) for the client, and one log line if the
//! server is at fault.
//!
//! This crate does not depend on Lambda or DynamoDB, so tests of a function's HTTP behaviour call its router directly.
#![forbid(unsafe_code)]

mod body;
mod cursor;
mod failure;
mod identity;
mod path;
mod query;
mod retry_after;
mod token_check;

use axum::response::IntoResponse;
use axum::{Router, middleware};
use domain::ids::{OrderId, ReservationId};
use http::{HeaderName, HeaderValue, StatusCode, header};

pub use api::problem::{Code, FieldProblem, Problem};
pub use body::{Attempt, IdempotencyKey, Json};
pub use cursor::{Page, PageQuery, decode_cursor, encode_cursor};
pub use failure::Failure;
pub use identity::{Context, Operator, Shared, Shopper, out_of_scope, with_tokens};
pub use path::{DropInPath, PathOf, path_id};
pub use query::QueryOf;
pub use token_check::{LIFE_MS, PAUSE_MS, STALE_MS, Tokens};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// The response belongs to one person, so no cache may store it.
    Never,
    /// All clients may share the response for one second, and a stale copy for one more second while it is renewed.
    PublicSecond,
}

pub fn answer<T: serde::Serialize>(
    status: StatusCode,
    caching: Caching,
    body: &T,
) -> axum::response::Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let caching = match caching {
                Caching::Never => "no-store",
                Caching::PublicSecond => "public, max-age=1, stale-while-revalidate=1",
            };
            let headers: [(HeaderName, HeaderValue); 2] = [
                (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
            ];
            (status, headers, bytes).into_response()
        }
        Err(error) => Failure::internal("encode the answer", &error).into_response(),
    }
}

/// Adds the ids of drop, reservation and order to the span of the request, and so to all log lines of the request.
pub fn about_order(reservation: &ReservationId, order: &OrderId) {
    let span = tracing::Span::current();
    span.record("drop", reservation.shard.drop.as_str());
    span.record("reservation", tracing::field::display(reservation));
    span.record("order", order.as_str());
}

/// Adds the behaviour that all API functions share: the problem documents for unknown paths and methods, and a
/// `Retry-After` that grows while the process answers 503.
pub fn conventions<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async { Failure::from(Problem::new(Code::NotFound, "There is nothing at this path.")) })
        .method_not_allowed_fallback(|| async {
            let detail = "This path does not take this method.";
            Failure::from(Problem::new(Code::MethodNotAllowed, detail))
        })
        .layer(middleware::from_fn_with_state(
            retry_after::FailuresInARow::default(),
            retry_after::replace_retry_after,
        ))
}
