//! Finds the caller's identity: the bearer token of a shopper or an operator.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use domain::ids::ShopperId;
use http::header;
use http::request::Parts;
use ports::runtime::Clock;
use tokens::{Identity, Scope};

use crate::token_check::{Tokens, Unidentified};
use crate::{Failure, conventions};
use api::problem::{Code, Problem};

/// The state that the routes of a function share: its use cases and its token checks.
pub struct Context<S, C> {
    pub service: S,
    tokens: Tokens,
    clock: C,
}

/// Extracts the [`Context`] in a handler.
pub type Shared<S, C> = axum::extract::State<Arc<Context<S, C>>>;

/// Adds the shared `service` to the routes. `tokens` checks the tokens of [`Shopper`]s or [`Operator`]s by
/// `clock`.
pub fn with_tokens<S, C>(
    routes: Router<Arc<Context<S, C>>>,
    service: S,
    tokens: impl Into<Tokens>,
    clock: C,
) -> Router
where
    S: Send + Sync + 'static,
    C: Clock,
{
    conventions(routes).with_state(Arc::new(Context {
        service,
        tokens: tokens.into(),
        clock,
    }))
}

/// The shopper that the token identifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shopper {
    pub id: ShopperId,
    /// The drops that the token is valid for.
    pub scope: Scope,
}

/// The operator that the token identifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The operator's name for the audit trail.
    pub name: String,
    /// The drops that the token is valid for.
    pub scope: Scope,
}

/// The problem for a token that is not valid for the requested drop.
#[must_use]
pub fn out_of_scope() -> Problem {
    let detail = "This token is good for unlisted drops only, and the drop is listed.";
    Problem::new(Code::Forbidden, detail)
}

/// The identity of the request's token. The answer does not say why a token was refused, since that would help only an
/// attacker.
async fn identity<S, C: Clock>(parts: &Parts, context: &Context<S, C>) -> Result<Identity, Failure> {
    let refused = |detail: &str| Failure::from(Problem::new(Code::Unauthenticated, detail));
    let header = parts.headers.get(header::AUTHORIZATION);
    let bearer = header
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = bearer else {
        return Err(refused("Send `Authorization: Bearer` and a token."));
    };
    let checked = context.tokens.check(token.trim(), context.clock.now()).await;
    checked.map_err(|unidentified| match unidentified {
        Unidentified::Refused(error) => {
            tracing::debug!(%error, "a token was refused");
            refused("The token is not valid or has expired. Sign in again.")
        }
        Unidentified::Unknown(error) => Failure::store("read the issuers' keys", &error),
    })
}

impl<S: Send + Sync, C: Clock> FromRequestParts<Arc<Context<S, C>>> for Shopper {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context<S, C>>) -> Result<Self, Failure> {
        let identity = identity(parts, context).await?;
        Ok(Self {
            id: ShopperId::of(&identity.claims.iss, &identity.claims.sub),
            scope: identity.scope,
        })
    }
}

impl<S: Send + Sync, C: Clock> FromRequestParts<Arc<Context<S, C>>> for Operator {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context<S, C>>) -> Result<Self, Failure> {
        let identity = identity(parts, context).await?;
        Ok(Self {
            name: identity.claims.sub,
            scope: identity.scope,
        })
    }
}
