//! Makes the answer to a failed request: a problem for the client, and a log line if the server is at
//! fault.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use ports::StoreError;

use api::problem::{Code, Problem};

/// The error of a handler: the problem document for the client.
#[derive(Debug)]
pub struct Failure(Box<Problem>);

impl Failure {
    /// A server error. `doing` and `error` go to the log and not to the client.
    pub fn internal(doing: &'static str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(doing, %error, "a request failed because of an internal error; answered 500");
        let detail = "Something is wrong on our side. Nothing is lost; please look again later.";
        Problem::new(Code::Internal, detail).into()
    }

    /// The failure of a call of a database port: 503 if a repeat may succeed, otherwise 500.
    pub fn store(doing: &'static str, error: &StoreError) -> Self {
        match error {
            StoreError::Broken(_) => Self::internal(doing, error),
            StoreError::Busy | StoreError::Unknown => {
                tracing::warn!(doing, %error, "the database is busy or the outcome is unknown; answered 503");
                let detail = "Too much at once. Send the same request again, with the same key.";
                Problem::new(Code::Throttled, detail).retry_after(1).into()
            }
        }
    }

    /// The problem that the client receives.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = *self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = problem.retry_after_seconds;
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.extensions_mut().insert(problem);
        }
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
