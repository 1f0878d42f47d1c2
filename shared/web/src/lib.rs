//! HTTP conventions shared by the API functions.
//!
//! A function builds an [`axum::Router`] of its own routes and gives it [`conventions`], or [`with_tokens`] where it must
//! know who asks. Its handlers take what they need as extractors: [`Json`] bodies (bounded, typed, unknown members
//! refused), the [`Shopper`] or [`Operator`] of the bearer token, the [`IdempotencyKey`], identifiers out of the path.
//! Whatever goes wrong becomes a [`Failure`]: a problem document (RFC 9457) on the wire, and one log line if the mistake
//! is ours.
//!
//! Nothing here knows of Lambda or DynamoDB, so a function's whole HTTP behaviour is tested by calling its router.
#![forbid(unsafe_code)]

mod body;
mod cursor;
mod failure;
mod held;
mod identity;
mod path;

use axum::Router;
use axum::response::IntoResponse;
use domain::ids::{OrderId, ReservationId};
use http::{HeaderName, HeaderValue, StatusCode, header};

pub use api::problem::{Code, FieldProblem, Problem};
pub use body::{IdempotencyKey, Json};
pub use cursor::{Page, PageQuery, decode_cursor, encode_cursor};
pub use failure::Failure;
pub use held::{LIFE_MS, PAUSE_MS, STALE_MS, Tokens};
pub use identity::{Context, Operator, Shared, Shopper, out_of_scope, with_tokens};
pub use path::{DropInPath, PathOf, path_id};

/// How a response may be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// It is one person's.
    Never,
    /// Everyone gets the same for a second, and a stale copy for one more while it is renewed.
    PublicSecond,
}

/// A JSON answer.
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

/// Adds to the span of the request, and so to all its log lines, what no path names: the reservation that a body asks to
/// order, and the order that it becomes.
pub fn about_order(reservation: &ReservationId, order: &OrderId) {
    let span = tracing::Span::current();
    span.record("drop", reservation.shard.drop.as_str());
    span.record("reservation", tracing::field::display(reservation));
    span.record("order", order.as_str());
}

/// Adds what all API functions share: problems of our own form for unknown paths and methods.
pub fn conventions<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async { Failure::from(Problem::new(Code::NotFound, "There is nothing at this path.")) })
        .method_not_allowed_fallback(|| async {
            Failure::from(Problem::new(
                Code::MethodNotAllowed,
                "This path does not take this method.",
            ))
        })
}
