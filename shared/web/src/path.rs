//! Reads identifiers from the path.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::Failure;
use api::problem::{Code, Problem};
use domain::ids::DropId;

/// The path's parameters as texts. A path that is not UTF-8 is answered `not_found`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathOf<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(parameters)) => Ok(Self(parameters)),
            Err(_) => Err(Problem::new(Code::NotFound, "There is nothing at this path.").into()),
        }
    }
}

/// The drop of a path with one parameter. A text that is not a valid drop id is answered `not_found`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropInPath(pub DropId);

impl<S: Send + Sync> FromRequestParts<S> for DropInPath {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let text = PathOf::<String>::from_request_parts(parts, state).await;
        path_id("drop", &text.map(|PathOf(text)| text).unwrap_or_default()).map(Self)
    }
}

/// The identifier in the path. An invalid identifier gets the same answer as an identifier that does not exist.
///
/// # Errors
/// `not_found`.
pub fn path_id<T: FromStr>(what: &str, text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|_| Problem::new(Code::NotFound, format!("There is no such {what}.")).into())
}
