//! Sets the wait that clients are asked for while a process's database does not answer.
//!
//! Each consecutive 503 doubles the `Retry-After` of the next, up to [`LONGEST_SECONDS`]: if all clients repeated after
//! a second, they would keep a database busy that cannot serve them. An answer with another status resets the wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use crate::{Failure, Problem};

/// The longest wait that a process asks for, in seconds.
const LONGEST_SECONDS: u32 = 16;

/// The number of consecutive answers 503 of one process. Clones share the number.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailuresInARow(Arc<AtomicU32>);

/// Replaces the `Retry-After` in an answer 503.
pub(crate) async fn replace_retry_after(
    State(FailuresInARow(in_a_row)): State<FailuresInARow>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if response.status() != StatusCode::SERVICE_UNAVAILABLE {
        in_a_row.store(0, Ordering::Relaxed);
        return response;
    }
    let earlier = in_a_row.fetch_add(1, Ordering::Relaxed);
    let seconds = 1u32
        .checked_shl(earlier)
        .map_or(LONGEST_SECONDS, |s| s.min(LONGEST_SECONDS));
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) => Failure::from(problem.retry_after(seconds)).into_response(),
        None => response,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::{Request, header};
    use ports::StoreError;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn each_503_in_a_row_asks_for_twice_the_wait_and_another_answer_ends_the_row() {
        let busy = || async { Failure::store("read", &StoreError::Busy) };
        let routes = Router::new()
            .route("/busy", get(busy))
            .route("/fine", get(|| async {}));
        let router: Router = crate::conventions(routes);
        let mut waits = Vec::new();
        for path in [
            "/busy", "/busy", "/busy", "/busy", "/busy", "/busy", "/fine", "/busy", "/unknown", "/busy",
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let wait = response.headers().get(header::RETRY_AFTER).cloned();
            waits.push(wait.map(|wait| wait.to_str().unwrap().to_owned()));
        }
        let told: Vec<Option<&str>> = waits.iter().map(Option::as_deref).collect();
        let row = ["1", "2", "4", "8", "16", "16"].map(Some);
        assert_eq!(told, [&row[..], &[None, Some("1"), None, Some("1")]].concat());
    }
}
