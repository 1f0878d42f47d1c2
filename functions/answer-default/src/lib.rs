//! Serves the `$default` route: answers requests that no other route matches with the API's own problems, and serves
//! the API's description.
//!
//! **The problem.** API Gateway answers a request without a route in its own format. It also treats a known path with
//! another method like an unknown path.
//!
//! **The model.** [`ROUTES`] lists every route of the API. A path of the list is answered 405 with its methods in the
//! header `Allow`, as RFC 9110 (section 15.5.6) requires; any other path 404. A test compares the list with the
//! template, which defines the routes.
//!
//! `GET /openapi.json` is served here because it needs no data either: the text is compiled in, and requests for it use
//! no process of another function.
//!
//! **What it does not do.** It reads no body, no token and no database.
#![forbid(unsafe_code)]

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};
use http::{HeaderValue, Method, Uri, header};
use web::{Code, Failure, Problem};

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits {
    memory_mb: 128,
    ..FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http)
};

/// The path of the API's description.
pub const DESCRIPTION_PATH: &str = "/openapi.json";

/// The API's description. Tests of `shared/api` compare this file with the types.
const DESCRIPTION: &str = include_str!("../../../docs/openapi.json");

/// `Cache-Control` of the description. Five minutes are allowed, since the description changes only with a deployment,
/// and the API only gains members.
const DESCRIPTION_CACHING: &str = "public, max-age=300";

/// Every route of the API, `$default` excepted: method and path, with `{…}` for a segment that varies.
pub const ROUTES: [(Method, &str); 27] = [
    (Method::GET, DESCRIPTION_PATH),
    (Method::GET, "/drops"),
    (Method::GET, "/drops/{drop_id}"),
    (Method::GET, "/drops/{drop_id}/status"),
    (Method::POST, "/drops/{drop_id}/reservations"),
    (Method::GET, "/drops/{drop_id}/reservations/{reservation_id}"),
    (Method::DELETE, "/drops/{drop_id}/reservations/{reservation_id}"),
    (Method::POST, "/orders"),
    (Method::GET, "/orders"),
    (Method::GET, "/orders/{order_id}"),
    (Method::POST, "/orders/{order_id}/cancel"),
    (Method::POST, "/orders/{order_id}/payments"),
    (Method::POST, "/payments/{gateway}/webhook"),
    (Method::PUT, "/operator/drops/{drop_id}"),
    (Method::GET, "/operator/drops/{drop_id}"),
    (Method::GET, "/operator/drops/{drop_id}/readiness"),
    (Method::POST, "/operator/drops/{drop_id}/publish"),
    (Method::POST, "/operator/drops/{drop_id}/pause"),
    (Method::POST, "/operator/drops/{drop_id}/resume"),
    (Method::POST, "/operator/drops/{drop_id}/extend"),
    (Method::POST, "/operator/drops/{drop_id}/reschedule"),
    (Method::POST, "/operator/drops/{drop_id}/message"),
    (Method::POST, "/operator/drops/{drop_id}/restock"),
    (Method::POST, "/operator/drops/{drop_id}/cancel"),
    (Method::GET, "/operator/orders"),
    (Method::POST, "/operator/orders/{order_id}/keep"),
    (Method::POST, "/operator/orders/{order_id}/end"),
];

pub fn router() -> Router {
    Router::new().fallback(|method: Method, uri: Uri| async move { answer(&method, uri.path()) })
}

fn answer(method: &Method, path: &str) -> Response {
    if method == Method::GET && path == DESCRIPTION_PATH {
        let headers = [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, DESCRIPTION_CACHING),
        ];
        return (headers, DESCRIPTION).into_response();
    }
    let allowed: Vec<&str> = ROUTES
        .iter()
        .filter(|(_, template)| matches(template, path))
        .map(|(method, _)| method.as_str())
        .collect();
    if allowed.is_empty() || allowed.contains(&method.as_str()) {
        return Failure::from(Problem::new(Code::NotFound, "There is nothing at this path.")).into_response();
    }
    let allowed = allowed.join(", ");
    let detail = format!("This path takes {allowed}.");
    let mut response = Failure::from(Problem::new(Code::MethodNotAllowed, detail)).into_response();
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// Whether `path` matches `template`, as API Gateway compares them: segment by segment, and a variable segment is never
/// empty.
#[must_use]
pub fn matches(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let all = template.split('/').all(|expected| {
        segments.next().is_some_and(|segment| {
            if expected.starts_with('{') {
                !segment.is_empty()
            } else {
                expected == segment
            }
        })
    });
    all && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_segment_by_segment() {
        for (template, path, expected) in [
            ("/drops", "/drops", true),
            ("/drops", "/drops/", false),
            ("/drops", "/Drops", false),
            ("/drops/{drop_id}", "/drops/autumn", true),
            ("/drops/{drop_id}", "/drops/", false),
            ("/drops/{drop_id}", "/drops/a/b", false),
            ("/drops/{drop_id}/status", "/drops/a/status", true),
            ("/drops/{drop_id}/status", "/drops//status", false),
        ] {
            assert_eq!(matches(template, path), expected, "{template} {path}");
        }
    }
}
