//! Serves the operators' routes, and maps each result to the API's answer.

use std::future::Future;

use ::http::StatusCode;
use api::operator::{
    DropBody, EndBody, ExtendBody, KeepBody, MessageBody, OperatorDropView, OperatorOrderList,
    OperatorOrderView, ReadinessView, RescheduleBody, RestockBody,
};
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::{get, post};
use domain::drops::Drop;
use domain::ids::{DropId, IdError, OrderId};
use domain::limits::{MAX_GATEWAY_WAIT_SECONDS, MIN_GATEWAY_WAIT_SECONDS};
use domain::order::Order;
use domain::rate::CallRate;
use domain::saga::Turn;
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::orders::{AdvanceOrder, ListOpenOrders, ReadOrder};
use ports::prescale::ReadReadiness;
use ports::runtime::Runtime;
use ports::stock::{AllocateStock, SurveyStock};
use web::{
    Caching, Code, DropInPath, Failure, IdempotencyKey, Json, Operator, Page, PathOf, Problem, Shared,
    Tokens, answer, encode_cursor, path_id,
};

use crate::audit::{audited, audited_order};
use crate::change::Asked;
use crate::{NotDone, acts, edit, orders, publish, restock};

/// The operators' routes, with the ports that all requests share.
pub struct Api<D, S, P, O, R> {
    drops: D,
    stock: S,
    readiness: P,
    orders: O,
    /// The rate at which the payment gateway is called. Answers warn if it is too low for a drop.
    rate: CallRate,
    runtime: R,
}

/// An action on a drop whose request has no body.
#[derive(Clone, Copy)]
enum Act {
    Publish,
    Pause,
    Resume,
    Cancel,
}

impl<D, S, P, O, R> Api<D, S, P, O, R>
where
    D: ReadDrop + StoreDrop + 'static,
    S: SurveyStock + AllocateStock + 'static,
    P: ReadReadiness + 'static,
    O: ReadOrder + ListOpenOrders + AdvanceOrder + 'static,
    R: Runtime,
{
    /// Builds the function's router, whose handlers use these ports. The payment gateway is called at `rate`.
    pub fn router(
        drops: D,
        stock: S,
        readiness: P,
        orders: O,
        rate: CallRate,
        operators: impl Into<Tokens>,
        runtime: R,
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
            .route("/operator/drops/{drop_id}/cancel", act(Act::Cancel))
            .route("/operator/orders", get(Self::list_orders))
            .route("/operator/orders/{order_id}/keep", post(Self::keep_order))
            .route("/operator/orders/{order_id}/end", post(Self::end_order));
        let api = Self {
            drops,
            stock,
            readiness,
            orders,
            rate,
            runtime: runtime.clone(),
        };
        web::with_tokens(routes, api, operators, runtime)
    }

    async fn show(
        context: Shared<Self, R>,
        Operator { scope, .. }: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let of = Asked { id, scope };
        Ok(api.view(StatusCode::OK, &acts::show(&api.drops, &api.runtime, &of).await?))
    }

    async fn readiness(
        context: Shared<Self, R>,
        Operator { scope, .. }: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let of = Asked { id, scope };
        let (drop, readiness) = acts::readiness(&api.drops, &api.readiness, &api.runtime, &of).await?;
        Ok(answer(
            StatusCode::OK,
            Caching::Never,
            &ReadinessView::of(readiness, &drop, api.rate),
        ))
    }

    async fn put(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        path: Result<PathOf<String>, Failure>,
        Json(body): Json<DropBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, runtime, .. } = &context.service;
        let id = new_drop_id(path)?;
        let of = Asked { id, scope };
        let start_may_be_past = body.start_may_be_past;
        let act = edit::write_draft(drops, runtime, &of, body.into(), start_may_be_past);
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
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let Self {
            drops,
            stock,
            runtime,
            ..
        } = api;
        let of = Asked { id, scope };
        let (name, of) = (&*name, &of);
        match act {
            Act::Publish => {
                api.acted(name, of, "publish", publish::publish(drops, stock, runtime, of))
                    .await
            }
            Act::Pause => {
                api.acted(name, of, "pause", acts::set_paused(drops, runtime, of, true))
                    .await
            }
            Act::Resume => {
                api.acted(name, of, "resume", acts::set_paused(drops, runtime, of, false))
                    .await
            }
            Act::Cancel => {
                api.acted(name, of, "cancel", acts::cancel(drops, runtime, of))
                    .await
            }
        }
    }

    async fn extend(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        Json(body): Json<ExtendBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, runtime, .. } = &context.service;
        let of = Asked { id, scope };
        let done = acts::extend(drops, runtime, &of, body.ends_at.0);
        context.service.acted(&name, &of, "extend", done).await
    }

    async fn reschedule(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        Json(body): Json<RescheduleBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, runtime, .. } = &context.service;
        let of = Asked { id, scope };
        let done = acts::reschedule(drops, runtime, &of, body.starts_at.0);
        context.service.acted(&name, &of, "reschedule", done).await
    }

    async fn message(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        Json(body): Json<MessageBody>,
    ) -> Result<Response, Failure> {
        let Self { drops, runtime, .. } = &context.service;
        let of = Asked { id, scope };
        let done = acts::tell(drops, runtime, &of, body.message.as_deref());
        context.service.acted(&name, &of, "message", done).await
    }

    async fn restock(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        IdempotencyKey(key): IdempotencyKey,
        Json(RestockBody { sku, units }): Json<RestockBody>,
    ) -> Result<Response, Failure> {
        let Self {
            drops,
            stock,
            runtime,
            ..
        } = &context.service;
        let of = Asked { id, scope };
        let done = restock::restock(drops, stock, runtime, &of, &sku, units, &key);
        context.service.acted(&name, &of, "restock", done).await
    }

    fn view(&self, status: StatusCode, drop: &Drop) -> Response {
        answer(status, Caching::Never, &OperatorDropView::of(drop, self.rate))
    }

    /// Awaits `done`, writes the action `act` to the audit trail, and answers with the drop after the action.
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

    async fn list_orders(
        context: Shared<Self, R>,
        Operator { scope, .. }: Operator,
        page: Page<OrderId>,
        Query(Whose { turn }): Query<Whose>,
    ) -> Result<Response, Failure> {
        let Self { orders, runtime, .. } = &context.service;
        let turn = turn.map(|turn| turn.parse::<Turn>()).transpose().map_err(|_| {
            Problem::new(Code::InvalidRequest, "Correct the parameters named.")
                .field("turn", "`gateway` or `shopper`")
        })?;
        let found = orders::list(orders, runtime, &scope, turn, page.limit, page.after).await?;
        let now = runtime.now();
        let body = OperatorOrderList {
            orders: found
                .orders
                .iter()
                .map(|order| OperatorOrderView::of(order, now))
                .collect(),
            next_cursor: found.next.map(|(at, id)| encode_cursor(at, &id)),
        };
        Ok(answer(StatusCode::OK, Caching::Never, &body))
    }

    async fn keep_order(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        PathOf(id): PathOf<String>,
        IdempotencyKey(key): IdempotencyKey,
        Json(KeepBody { seconds }): Json<KeepBody>,
    ) -> Result<Response, Failure> {
        let Self {
            drops,
            orders,
            runtime,
            ..
        } = &context.service;
        let id: OrderId = path_id("order", &id)?;
        let range = MIN_GATEWAY_WAIT_SECONDS..=MAX_GATEWAY_WAIT_SECONDS;
        if !range.contains(&seconds) {
            let message = format!("{} to {}", range.start(), range.end());
            return Err(Problem::new(
                Code::InvalidRequest,
                "Correct the fields named and send the request again.",
            )
            .field("seconds", message)
            .into());
        }
        let done = orders::keep(drops, orders, runtime, (&id, &scope), seconds, &key);
        let order = audited_order(&name, &id, "keep", done).await?;
        Ok(order_view(StatusCode::OK, &order, runtime.now()))
    }

    async fn end_order(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        PathOf(id): PathOf<String>,
        Json(EndBody { not_at_gateway }): Json<EndBody>,
    ) -> Result<Response, Failure> {
        let Self {
            drops,
            orders,
            runtime,
            ..
        } = &context.service;
        let id: OrderId = path_id("order", &id)?;
        let done = orders::end(drops, orders, runtime, (&id, &scope), not_at_gateway);
        let order = audited_order(&name, &id, "end", done).await?;
        let status = if order.status.is_open() {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        Ok(order_view(status, &order, runtime.now()))
    }
}

/// The query's parameter `turn`, which [`Page`] does not parse.
#[derive(serde::Deserialize)]
struct Whose {
    turn: Option<String>,
}

fn order_view(status: StatusCode, order: &Order, now: Timestamp) -> Response {
    answer(status, Caching::Never, &OperatorOrderView::of(order, now))
}

/// The id of a drop that may not exist yet. An invalid id is answered 400 and not 404, so that the operator chooses
/// another id.
fn new_drop_id(path: Result<PathOf<String>, Failure>) -> Result<DropId, Failure> {
    let text = path.map(|PathOf(text)| text).unwrap_or_default();
    text.parse().map_err(|error: IdError| {
        Problem::new(Code::InvalidRequest, "Choose another id for the drop.")
            .field("drop_id", error.rule)
            .into()
    })
}
