//! Reads the query parameters of requests.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::Failure;
use api::problem::Problem;

/// The query parameters of a request. A query with a repeated parameter is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryOf<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(_) => {
                let problem = Problem::of_parameters();
                Err(problem
                    .field("query", "each parameter at most once, as UTF-8")
                    .into())
            }
        }
    }
}
