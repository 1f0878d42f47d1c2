//! The routes of this function and their answers.

use std::future::Future;

use ::http::StatusCode;
use api::operator::{DropBody, ExtendBody, OperatorDropView, ReadinessView, RestockBody};
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use domain::drops::Drop;
use domain::ids::{DropId, IdError};
use ports::drops::{ReadDrop, StoreDrop};
use ports::edge::Edge;
use ports::prescale::ReadReadiness;
use ports::stock::{AllocateStock, SurveyStock};
use tokens::VerifyingKey;
use web::{
    Caching, Code, DropInPath, Failure, IdempotencyKey, Json, Operator, PathOf, Problem, Shared, answer,
};

use crate::audit::audited;
use crate::{NotDone, acts, edit, publish, restock};

/// What the routes share.
pub struct Api<D, S, R, E> {
    drops: D,
    stock: S,
    readiness: R,
    edge: E,
}

/// An act that takes no body.
#[derive(Clone, Copy)]
enum Act {
    Publish,
    Pause,
    Resume,
    Cancel,
}

impl<D, S, R, E> Api<D, S, R, E>
where
    D: ReadDrop + StoreDrop + 'static,
    S: SurveyStock + AllocateStock + 'static,
    R: ReadReadiness + 'static,
    E: Edge,
{
    /// The function over its ports.
    pub fn router(drops: D, stock: S, readiness: R, operators: VerifyingKey, edge: E) -> Router {
        let act = |act| post(move |context, operator, drop| Self::act(act, context, operator, drop));
        let routes = Router::new()
            .route("/operator/drops/{drop_id}", get(Self::show).put(Self::put))
            .route("/operator/drops/{drop_id}/readiness", get(Self::readiness))
            .route("/operator/drops/{drop_id}/publish", act(Act::Publish))
            .route("/operator/drops/{drop_id}/pause", act(Act::Pause))
            .route("/operator/drops/{drop_id}/resume", act(Act::Resume))
            .route("/operator/drops/{drop_id}/extend", post(Self::extend))
            .route("/operator/drops/{drop_id}/restock", post(Self::restock))
            .route("/operator/drops/{drop_id}/cancel", act(Act::Cancel));
        let api = Self {
            drops,
            stock,
            readiness,
            edge: edge.clone(),
        };
        web::with_tokens(routes, api, operators, edge)
    }

    async fn show(
        context: Shared<Self, E>,
        _operator: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let Self { drops, edge, .. } = &context.service;
        Ok(view(StatusCode::OK, &acts::show(drops, edge, &id).await?))
    }

    async fn readiness(
        context: Shared<Self, E>,
        _operator: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let readiness = acts::readiness(&api.drops, &api.readiness, &api.edge, &id).await?;
        Ok(answer(
            StatusCode::OK,
            Caching::Never,
            &ReadinessView::from(readiness),
        ))
    }

    async fn put(
        context: Shared<Self, E>,
        Operator(operator): Operator,
        path: Result<PathOf<String>, Failure>,
        Json(body): Json<DropBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, edge, .. } = &context.service;
        let id = new_drop_id(path)?;
        let act = edit::write_draft(drops, edge, &id, body.into());
        let written = audited(&operator, &id, "put", act, |written| &written.drop).await?;
        let status = if written.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok(view(status, &written.drop))
    }

    async fn act(
        act: Act,
        context: Shared<Self, E>,
        Operator(operator): Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let Self {
            drops, stock, edge, ..
        } = &context.service;
        match act {
            Act::Publish => {
                let done = publish::publish(drops, stock, edge, &id);
                acted(&operator, &id, "publish", done).await
            }
            Act::Pause => acted(&operator, &id, "pause", acts::set_paused(drops, edge, &id, true)).await,
            Act::Resume => {
                acted(
                    &operator,
                    &id,
                    "resume",
                    acts::set_paused(drops, edge, &id, false),
                )
                .await
            }
            Act::Cancel => acted(&operator, &id, "cancel", acts::cancel(drops, edge, &id)).await,
        }
    }

    async fn extend(
        context: Shared<Self, E>,
        Operator(operator): Operator,
        DropInPath(id): DropInPath,
        Json(body): Json<ExtendBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, edge, .. } = &context.service;
        let done = acts::extend(drops, edge, &id, body.ends_at.0);
        acted(&operator, &id, "extend", done).await
    }

    async fn restock(
        context: Shared<Self, E>,
        Operator(operator): Operator,
        DropInPath(id): DropInPath,
        IdempotencyKey(key): IdempotencyKey,
        Json(RestockBody { sku, units }): Json<RestockBody>,
    ) -> Result<Response, Failure> {
        let Self {
            drops, stock, edge, ..
        } = &context.service;
        let done = restock::restock(drops, stock, edge, &id, &sku, units, &key);
        acted(&operator, &id, "restock", done).await
    }
}

/// The id of a drop that may be about to be made: here a bad one is the operator's mistake.
fn new_drop_id(path: Result<PathOf<String>, Failure>) -> Result<DropId, Failure> {
    let text = path.map(|PathOf(text)| text).unwrap_or_default();
    text.parse().map_err(|error: IdError| {
        Problem::new(Code::InvalidRequest, "Choose another id for the drop.")
            .field("drop_id", error.rule)
            .into()
    })
}

fn view(status: StatusCode, drop: &Drop) -> Response {
    answer(status, Caching::Never, &OperatorDropView::from(drop))
}

/// Does `act` to the drop, writes it to the audit trail, and shows the drop as it is then.
async fn acted(
    operator: &str,
    id: &DropId,
    name: &'static str,
    act: impl Future<Output = Result<Drop, NotDone>>,
) -> Result<Response, Failure> {
    let drop = audited(operator, id, name, act, |drop| drop).await?;
    Ok(view(StatusCode::OK, &drop))
}
