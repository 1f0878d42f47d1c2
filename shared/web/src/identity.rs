//! Who is asking: the bearer token of a shopper or an operator.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use domain::ids::ShopperId;
use http::header;
use http::request::Parts;
use ports::edge::Edge;
use tokens::{Identity, Scope};

use crate::held::{Tokens, Unidentified};
use crate::{Failure, conventions};
use api::problem::{Code, Problem};

/// What the routes of a function share: its use cases, and what checks the tokens of those who ask.
pub struct Context<S, E> {
    /// The use cases.
    pub service: S,
    tokens: Tokens,
    edge: E,
}

/// Extracts the [`Context`] in a handler.
pub type Shared<S, E> = axum::extract::State<Arc<Context<S, E>>>;

/// The function whose routes share `service`. `tokens` checks the tokens of its [`Shopper`]s or [`Operator`]s by the clock
/// of `edge`.
pub fn with_tokens<S, E>(
    routes: Router<Arc<Context<S, E>>>,
    service: S,
    tokens: impl Into<Tokens>,
    edge: E,
) -> Router
where
    S: Send + Sync + 'static,
    E: Edge,
{
    conventions(routes).with_state(Arc::new(Context {
        service,
        tokens: tokens.into(),
        edge,
    }))
}

/// The shopper of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shopper {
    /// Who.
    pub id: ShopperId,
    /// Which drops the token is good for.
    pub scope: Scope,
}

/// The operator of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name for the audit trail.
    pub name: String,
    /// Which drops the token is good for.
    pub scope: Scope,
}

/// What somebody is told whose token is not good for a drop.
#[must_use]
pub fn out_of_scope() -> Problem {
    Problem::new(
        Code::Forbidden,
        "This token is good for unlisted drops only, and the drop is listed.",
    )
}

/// Who the request's token says is asking. Why a token was refused is not told: it would help only a forger.
async fn identity<S, E: Edge>(parts: &Parts, context: &Context<S, E>) -> Result<Identity, Failure> {
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
    let checked = context.tokens.check(token.trim(), context.edge.now()).await;
    checked.map_err(|unidentified| match unidentified {
        Unidentified::Refused(error) => {
            tracing::debug!(%error, "a token was refused");
            refused("The token is not valid or has expired. Sign in again.")
        }
        Unidentified::Unknown(error) => Failure::store("read the issuers' keys", &error),
    })
}

impl<S: Send + Sync, E: Edge> FromRequestParts<Arc<Context<S, E>>> for Shopper {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context<S, E>>) -> Result<Self, Failure> {
        let identity = identity(parts, context).await?;
        Ok(Self {
            id: ShopperId::of(&identity.claims.iss, &identity.claims.sub),
            scope: identity.scope,
        })
    }
}

impl<S: Send + Sync, E: Edge> FromRequestParts<Arc<Context<S, E>>> for Operator {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context<S, E>>) -> Result<Self, Failure> {
        let identity = identity(parts, context).await?;
        Ok(Self {
            name: identity.claims.sub,
            scope: identity.scope,
        })
    }
}
