//! The routes of this function and their answers.

use std::future::Future;
use std::sync::Arc;

use ::http::StatusCode;
use api::operator::{DropBody, ExtendBody, OperatorDropView, ReadinessView, RestockBody};
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use domain::drops::Drop;
use domain::ids::{DropId, IdError};
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::edge::Edge;
use ports::prescale::ReadReadiness;
use ports::stock::{AllocateStock, SurveyStock};
use tokens::VerifyingKey;
use web::{
    Authority, Caching, Code, DropInPath, Failure, IdempotencyKey, Json, Operator, PathOf, Problem, answer,
};

use crate::audit::audited;
use crate::{NotDone, acts, edit, publish, restock};

/// What the routes share.
pub struct State<D, S, R, E> {
    /// The drops.
    pub drops: D,
    /// The stock.
    pub stock: S,
    /// How ready drops are.
    pub readiness: R,
    /// The key of the operators' tokens.
    pub operators: VerifyingKey,
    /// Clock and chance.
    pub edge: E,
}

/// A shared [`State`]; axum wants it cheap to clone.
pub struct Shared<D, S, R, E>(Arc<State<D, S, R, E>>);

impl<D, S, R, E> Clone for Shared<D, S, R, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D, S, R, E: Edge> Authority for Shared<D, S, R, E> {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.0.operators
    }

    fn now(&self) -> Timestamp {
        self.0.edge.now()
    }
}

/// The function's router.
pub fn router<D, S, R, E>(state: State<D, S, R, E>) -> Router
where
    D: ReadDrop + StoreDrop + 'static,
    S: SurveyStock + AllocateStock + 'static,
    R: ReadReadiness + 'static,
    E: Edge,
{
    let routes = Router::new()
        .route(
            "/operator/drops/{drop_id}",
            get(show_one::<D, S, R, E>).put(put::<D, S, R, E>),
        )
        .route(
            "/operator/drops/{drop_id}/readiness",
            get(readiness::<D, S, R, E>),
        )
        .route(
            "/operator/drops/{drop_id}/publish",
            post(publish_one::<D, S, R, E>),
        )
        .route("/operator/drops/{drop_id}/pause", post(pause_one::<D, S, R, E>))
        .route("/operator/drops/{drop_id}/resume", post(resume_one::<D, S, R, E>))
        .route("/operator/drops/{drop_id}/extend", post(extend_one::<D, S, R, E>))
        .route(
            "/operator/drops/{drop_id}/restock",
            post(restock_one::<D, S, R, E>),
        )
        .route("/operator/drops/{drop_id}/cancel", post(cancel_one::<D, S, R, E>));
    web::conventions(routes).with_state(Shared(Arc::new(state)))
}

type FromState<D, S, R, E> = axum::extract::State<Shared<D, S, R, E>>;

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
    Ok(view(
        StatusCode::OK,
        &audited(operator, id, name, act, |drop| drop).await?,
    ))
}

async fn show_one<D: ReadDrop, S, R, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    _operator: Operator,
    DropInPath(id): DropInPath,
) -> Result<Response, Failure> {
    Ok(view(
        StatusCode::OK,
        &acts::show(&state.drops, &state.edge, &id).await?,
    ))
}

async fn readiness<D: ReadDrop, S, R: ReadReadiness, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    _operator: Operator,
    DropInPath(id): DropInPath,
) -> Result<Response, Failure> {
    let readiness = acts::readiness(&state.drops, &state.readiness, &state.edge, &id).await?;
    Ok(answer(
        StatusCode::OK,
        Caching::Never,
        &ReadinessView::from(readiness),
    ))
}

async fn put<D: ReadDrop + StoreDrop, S, R, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    Operator(operator): Operator,
    path: Result<PathOf<String>, Failure>,
    Json(body): Json<DropBody>,
) -> Result<Response, Failure> {
    let id = new_drop_id(path)?;
    let act = edit::write_draft(&state.drops, &state.edge, &id, body.into());
    let written = audited(&operator, &id, "put", act, |written| &written.drop).await?;
    let status = if written.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(view(status, &written.drop))
}

async fn publish_one<D, S, R, E>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    Operator(operator): Operator,
    DropInPath(id): DropInPath,
) -> Result<Response, Failure>
where
    D: ReadDrop + StoreDrop,
    S: SurveyStock + AllocateStock,
    E: Edge,
{
    let act = publish::publish(&state.drops, &state.stock, &state.edge, &id);
    acted(&operator, &id, "publish", act).await
}

async fn pause_one<D: ReadDrop + StoreDrop, S, R, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    Operator(operator): Operator,
    DropInPath(id): DropInPath,
) -> Result<Response, Failure> {
    let act = acts::set_paused(&state.drops, &state.edge, &id, true);
    acted(&operator, &id, "pause", act).await
}

async fn resume_one<D: ReadDrop + StoreDrop, S, R, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    Operator(operator): Operator,
    DropInPath(id): DropInPath,
) -> Result<Response, Failure> {
    let act = acts::set_paused(&state.drops, &state.edge, &id, false);
    acted(&operator, &id, "resume", act).await
}

async fn extend_one<D: ReadDrop + StoreDrop, S, R, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    Operator(operator): Operator,
    DropInPath(id): DropInPath,
    Json(body): Json<ExtendBody>,
) -> Result<Response, Failure> {
    let act = acts::extend(&state.drops, &state.edge, &id, body.ends_at.0);
    acted(&operator, &id, "extend", act).await
}

async fn restock_one<D, S, R, E>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    Operator(operator): Operator,
    DropInPath(id): DropInPath,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<RestockBody>,
) -> Result<Response, Failure>
where
    D: ReadDrop + StoreDrop,
    S: SurveyStock + AllocateStock,
    E: Edge,
{
    let act = restock::restock(
        &state.drops,
        &state.stock,
        &state.edge,
        &id,
        &body.sku,
        body.units,
        &key,
    );
    acted(&operator, &id, "restock", act).await
}

async fn cancel_one<D: ReadDrop + StoreDrop, S, R, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, S, R, E>,
    Operator(operator): Operator,
    DropInPath(id): DropInPath,
) -> Result<Response, Failure> {
    let act = acts::cancel(&state.drops, &state.edge, &id);
    acted(&operator, &id, "cancel", act).await
}
