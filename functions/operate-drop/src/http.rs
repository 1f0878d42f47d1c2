//! The routes of this function and their answers.

use std::future::Future;

use ::http::StatusCode;
use api::operator::{
    DropBody, ExtendBody, MessageBody, OperatorDropView, ReadinessView, RescheduleBody, RestockBody,
};
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use domain::drops::Drop;
use domain::ids::{DropId, IdError};
use domain::rate::CallRate;
use ports::drops::{ReadDrop, StoreDrop};
use ports::edge::Edge;
use ports::prescale::ReadReadiness;
use ports::stock::{AllocateStock, SurveyStock};
use web::{
    Caching, Code, DropInPath, Failure, IdempotencyKey, Json, Operator, PathOf, Problem, Shared, Tokens,
    answer,
};

use crate::audit::audited;
use crate::change::Asked;
use crate::{NotDone, acts, edit, publish, restock};

/// What the routes share.
pub struct Api<D, S, R, E> {
    drops: D,
    stock: S,
    readiness: R,
    /// The payment gateway's rate.
    rate: CallRate,
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
    /// The function over its ports, where the payment gateway is called at `rate`.
    pub fn router(
        drops: D,
        stock: S,
        readiness: R,
        rate: CallRate,
        operators: impl Into<Tokens>,
        edge: E,
    ) -> Router {
        let act = |act| post(move |context, operator, drop| Self::act(act, context, operator, drop));
        let routes = Router::new()
            .route("/operator/drops/{drop_id}", get(Self::show).put(Self::put))
            .route("/operator/drops/{drop_id}/readiness", get(Self::readiness))
            .route("/operator/drops/{drop_id}/publish", act(Act::Publish))
            .route("/operator/drops/{drop_id}/pause", act(Act::Pause))
            .route("/operator/drops/{drop_id}/resume", act(Act::Resume))
            .route("/operator/drops/{drop_id}/extend", post(Self::extend))
            .route("/operator/drops/{drop_id}/reschedule", post(Self::reschedule))
            .route("/operator/drops/{drop_id}/message", post(Self::message))
            .route("/operator/drops/{drop_id}/restock", post(Self::restock))
            .route("/operator/drops/{drop_id}/cancel", act(Act::Cancel));
        let api = Self {
            drops,
            stock,
            readiness,
            rate,
            edge: edge.clone(),
        };
        web::with_tokens(routes, api, operators, edge)
    }

    async fn show(
        context: Shared<Self, E>,
        Operator { scope, .. }: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let of = Asked { id, scope };
        Ok(api.view(StatusCode::OK, &acts::show(&api.drops, &api.edge, &of).await?))
    }

    async fn readiness(
        context: Shared<Self, E>,
        Operator { scope, .. }: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let of = Asked { id, scope };
        let (drop, readiness) = acts::readiness(&api.drops, &api.readiness, &api.edge, &of).await?;
        Ok(answer(
            StatusCode::OK,
            Caching::Never,
            &ReadinessView::of(readiness, &drop, api.rate),
        ))
    }

    async fn put(
        context: Shared<Self, E>,
        Operator { name, scope }: Operator,
        path: Result<PathOf<String>, Failure>,
        Json(body): Json<DropBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, edge, .. } = &context.service;
        let id = new_drop_id(path)?;
        let of = Asked { id, scope };
        let start_may_be_past = body.start_may_be_past;
        let act = edit::write_draft(drops, edge, &of, body.into(), start_may_be_past);
        let written = audited(&name, &of.id, "put", act, |written| &written.drop).await?;
        let status = if written.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok(context.service.view(status, &written.drop))
    }

    async fn act(
        act: Act,
        context: Shared<Self, E>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let Self {
            drops, stock, edge, ..
        } = api;
        let of = Asked { id, scope };
        let (name, of) = (&*name, &of);
        match act {
            Act::Publish => {
                api.acted(name, of, "publish", publish::publish(drops, stock, edge, of))
                    .await
            }
            Act::Pause => {
                api.acted(name, of, "pause", acts::set_paused(drops, edge, of, true))
                    .await
            }
            Act::Resume => {
                api.acted(name, of, "resume", acts::set_paused(drops, edge, of, false))
                    .await
            }
            Act::Cancel => api.acted(name, of, "cancel", acts::cancel(drops, edge, of)).await,
        }
    }

    async fn extend(
        context: Shared<Self, E>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        Json(body): Json<ExtendBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, edge, .. } = &context.service;
        let of = Asked { id, scope };
        let done = acts::extend(drops, edge, &of, body.ends_at.0);
        context.service.acted(&name, &of, "extend", done).await
    }

    async fn reschedule(
        context: Shared<Self, E>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        Json(body): Json<RescheduleBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, edge, .. } = &context.service;
        let of = Asked { id, scope };
        let done = acts::reschedule(drops, edge, &of, body.starts_at.0);
        context.service.acted(&name, &of, "reschedule", done).await
    }

    async fn message(
        context: Shared<Self, E>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        Json(body): Json<MessageBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, edge, .. } = &context.service;
        let of = Asked { id, scope };
        let done = acts::tell(drops, edge, &of, body.message.as_deref());
        context.service.acted(&name, &of, "message", done).await
    }

    async fn restock(
        context: Shared<Self, E>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        IdempotencyKey(key): IdempotencyKey,
        Json(RestockBody { sku, units }): Json<RestockBody>,
    ) -> Result<Response, Failure> {
        let Self {
            drops, stock, edge, ..
        } = &context.service;
        let of = Asked { id, scope };
        let done = restock::restock(drops, stock, edge, &of, &sku, units, &key);
        context.service.acted(&name, &of, "restock", done).await
    }

    fn view(&self, status: StatusCode, drop: &Drop) -> Response {
        answer(status, Caching::Never, &OperatorDropView::of(drop, self.rate))
    }

    /// Does the act to the drop, writes it to the audit trail, and shows the drop as it is then.
    async fn acted(
        &self,
        operator: &str,
        of: &Asked,
        act: &'static str,
        done: impl Future<Output = Result<Drop, NotDone>>,
    ) -> Result<Response, Failure> {
        let drop = audited(operator, &of.id, act, done, |drop| drop).await?;
        Ok(self.view(StatusCode::OK, &drop))
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
