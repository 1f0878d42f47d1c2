//! The routes of this function and their answers.

use std::sync::Arc;

use ::http::StatusCode;
use axum::Router;
use axum::response::Response;
use axum::routing::get;
use domain::ids::DropId;
use ports::drops::{ListDrops, ReadDrop, ReadStatus};
use ports::edge::Edge;
use web::{Caching, Code, DropInPath, Failure, Page, Problem, answer};

use crate::browse::{Browse, NotShown};
use crate::status::Statuses;

/// What the routes share.
pub struct State<D, L, T, E> {
    /// Drops and their list.
    pub browse: Browse<D, L, E>,
    /// Status documents.
    pub statuses: Statuses<T, E>,
}

/// A shared [`State`]; axum wants it cheap to clone.
pub struct Shared<D, L, T, E>(Arc<State<D, L, T, E>>);

impl<D, L, T, E> Clone for Shared<D, L, T, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The function's router.
pub fn router<D, L, T, E>(state: State<D, L, T, E>) -> Router
where
    D: ReadDrop + 'static,
    L: ListDrops + 'static,
    T: ReadStatus + 'static,
    E: Edge,
{
    let routes = Router::new()
        .route("/drops", get(list::<D, L, T, E>))
        .route("/drops/{drop_id}", get(show::<D, L, T, E>))
        .route("/drops/{drop_id}/status", get(status::<D, L, T, E>));
    web::conventions(routes).with_state(Shared(Arc::new(state)))
}

type FromState<D, L, T, E> = axum::extract::State<Shared<D, L, T, E>>;

async fn list<D: ReadDrop, L: ListDrops, T, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, L, T, E>,
    page: Page<DropId>,
) -> Result<Response, Failure> {
    let list = state.browse.list(&page).await?;
    Ok(answer(StatusCode::OK, Caching::PublicSecond, &list))
}

async fn show<D: ReadDrop, L: ListDrops, T, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, L, T, E>,
    DropInPath(id): DropInPath,
) -> Result<Response, Failure> {
    let drop = state.browse.show(&id).await?;
    Ok(answer(StatusCode::OK, Caching::PublicSecond, &drop))
}

async fn status<D: ReadDrop, L: ListDrops, T: ReadStatus, E: Edge>(
    axum::extract::State(Shared(state)): FromState<D, L, T, E>,
    DropInPath(id): DropInPath,
) -> Result<Response, Failure> {
    let status = state.statuses.show(&state.browse, &id).await?;
    Ok(answer(StatusCode::OK, Caching::PublicSecond, &status))
}

impl From<NotShown> for Failure {
    fn from(error: NotShown) -> Self {
        match error {
            NotShown::Unknown => Problem::new(Code::NotFound, "There is no such drop.").into(),
            NotShown::Store(error) => Self::store("read a drop", &error),
        }
    }
}
