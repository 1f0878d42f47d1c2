//! Who is asking: the bearer token of a shopper or an operator.

use axum::extract::FromRequestParts;
use domain::ids::ShopperId;
use domain::time::Timestamp;
use http::header;
use http::request::Parts;
use tokens::VerifyingKey;

use crate::Failure;
use api::problem::{Code, Problem};

/// What a function's state must offer for tokens to be checked.
pub trait Authority {
    /// The key that signs this function's tokens, of shoppers or of operators.
    fn verifying_key(&self) -> &VerifyingKey;
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The shopper of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shopper(pub ShopperId);

/// The operator of the token, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator(pub String);

/// The subject of the request's token. Why a token was refused is not told: it would help only a forger.
fn subject<S: Authority>(parts: &Parts, state: &S) -> Result<String, Failure> {
    let refused = |detail: &str| Failure::from(Problem::new(Code::Unauthenticated, detail));
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = header.and_then(|text| text.split_once(' ')) else {
        return Err(refused("Send `Authorization: Bearer` and a token."));
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused("Send `Authorization: Bearer` and a token."));
    }
    match state
        .verifying_key()
        .verify(token.trim(), state.now().as_seconds())
    {
        Ok(claims) => Ok(claims.sub),
        Err(error) => {
            tracing::debug!(%error, "a token was refused");
            Err(refused("The token is not valid or has expired. Sign in again."))
        }
    }
}

impl<S: Authority + Send + Sync> FromRequestParts<S> for Shopper {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let problem = || {
            Problem::new(
                Code::Unauthenticated,
                "The token names no shopper. Sign in again.",
            )
        };
        subject(parts, state)?
            .parse()
            .map(Self)
            .map_err(|_| problem().into())
    }
}

impl<S: Authority + Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        subject(parts, state).map(Self)
    }
}
