//! Serves the routes of drops and statuses, and maps each result to the API's answer.

use std::sync::Arc;

use ::http::StatusCode;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use domain::ids::DropId;
use ports::drops::{ListDrops, ReadDrop, ReadStatus};
use ports::runtime::Runtime;
use web::{Caching, Code, DropInPath, Failure, Page, Problem, answer};

use crate::browse::{Browse, NotShown};
use crate::status::Statuses;

pub struct Api<D, T, R> {
    browse: Browse<D, D, R>,
    statuses: Statuses<T, R>,
}

impl<D, T, R> Api<D, T, R>
where
    D: ReadDrop + ListDrops + Clone + 'static,
    T: ReadStatus + 'static,
    R: Runtime,
{
    /// Builds the function's router, whose handlers use these ports.
    pub fn router(drops: D, statuses: T, runtime: R) -> Router {
        let routes = Router::new()
            .route("/drops", get(Self::list))
            .route("/drops/{drop_id}", get(Self::show))
            .route("/drops/{drop_id}/status", get(Self::status));
        web::conventions(routes).with_state(Arc::new(Self {
            browse: Browse::new(drops.clone(), drops, runtime.clone()),
            statuses: Statuses::new(statuses, runtime),
        }))
    }

    async fn list(State(api): State<Arc<Self>>, page: Page<DropId>) -> Result<Response, Failure> {
        let list = api.browse.list(&page).await?;
        Ok(answer(StatusCode::OK, Caching::PublicSecond, &list))
    }

    async fn show(State(api): State<Arc<Self>>, DropInPath(id): DropInPath) -> Result<Response, Failure> {
        let drop = api.browse.show(&id).await?;
        Ok(answer(StatusCode::OK, Caching::PublicSecond, &drop))
    }

    async fn status(State(api): State<Arc<Self>>, DropInPath(id): DropInPath) -> Result<Response, Failure> {
        let status = api.statuses.show(&api.browse, &id).await?;
        Ok(answer(StatusCode::OK, Caching::PublicSecond, &status))
    }
}

impl From<NotShown> for Failure {
    fn from(error: NotShown) -> Self {
        match error {
            NotShown::Unknown => Problem::new(Code::NotFound, "There is no such drop.").into(),
            NotShown::Store(error) => Self::store("read a drop", &error),
        }
    }
}
