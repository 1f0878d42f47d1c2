//! Serves the operators' routes, and maps each result to the API's answer.

use std::future::Future;
use std::sync::Arc;

use ::http::StatusCode;
use api::operator::{
    DropBody, EndBody, ExtendBody, KeepBody, MessageBody, OperatorDropView, OperatorOrderList,
    OperatorOrderView, ReadinessView, RescheduleBody, RestockBody,
};
use axum::Router;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use domain::drops::{Drop, DropError};
use domain::ids::{DropId, IdError, OrderId};
use domain::limits::{MAX_GATEWAY_WAIT_SECONDS, MIN_GATEWAY_WAIT_SECONDS};
use domain::order::Order;
use domain::rate::CallRate;
use domain::saga::Turn;
use domain::time::Timestamp;
use ports::drops::{ReadDrop, StoreDrop};
use ports::orders::{AdvanceOrder, ListOpenOrders, ReadOrder};
use ports::prescale::ReadReadiness;
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use ports::stock::{AllocateStock, SurveyStock};
use serde::de::DeserializeOwned;
use web::{
    Caching, Code, Context, DropInPath, Failure, IdempotencyKey, Json, Operator, Page, PathOf, Problem,
    QueryOf, Shared, Tokens, answer, encode_cursor, path_id,
};

use crate::audit::{audited, audited_order};
use crate::change::{Asked, change, read};
use crate::{NotDone, edit, orders, publish, restock};

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
        let extend = |drop: &Drop, body: &ExtendBody, now| drop.extend(body.ends_at.0, now);
        let reschedule = |drop: &Drop, body: &RescheduleBody, now| drop.reschedule(body.starts_at.0, now);
        let message = |drop: &Drop, body: &MessageBody, _: Timestamp| drop.announce(body.message.clone());
        let pause = |drop: &Drop, _: Timestamp| drop.set_paused(true);
        let resume = |drop: &Drop, _: Timestamp| drop.set_paused(false);
        let cancel = |drop: &Drop, _: Timestamp| drop.cancel();
        let routes = Router::new()
            .route("/operator/drops/{drop_id}", get(Self::show).put(Self::put))
            .route("/operator/drops/{drop_id}/readiness", get(Self::readiness))
            .route("/operator/drops/{drop_id}/publish", post(Self::publish))
            .route("/operator/drops/{drop_id}/pause", Self::changed("pause", pause))
            .route(
                "/operator/drops/{drop_id}/resume",
                Self::changed("resume", resume),
            )
            .route(
                "/operator/drops/{drop_id}/extend",
                Self::changed_by("extend", extend),
            )
            .route(
                "/operator/drops/{drop_id}/reschedule",
                Self::changed_by("reschedule", reschedule),
            )
            .route(
                "/operator/drops/{drop_id}/message",
                Self::changed_by("message", message),
            )
            .route("/operator/drops/{drop_id}/restock", post(Self::restock))
            .route(
                "/operator/drops/{drop_id}/cancel",
                Self::changed("cancel", cancel),
            )
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
        Ok(api.view(StatusCode::OK, &read(&api.drops, &api.runtime, &of).await?))
    }

    async fn readiness(
        context: Shared<Self, R>,
        Operator { scope, .. }: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let of = Asked { id, scope };
        let drop = read(&api.drops, &api.runtime, &of).await?;
        let found = retry(&api.runtime, IN_REQUEST, || api.readiness.readiness(&of.id)).await;
        let readiness = found.map_err(NotDone::from)?.ok_or(NotDone::NotPrepared)?;
        let view = ReadinessView::of(readiness, &drop, api.rate);
        Ok(answer(StatusCode::OK, Caching::Never, &view))
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

    /// The handler of the action `act`, which changes only the drop's document, by `apply`.
    fn changed(
        act: &'static str,
        apply: fn(&Drop, Timestamp) -> Result<Drop, DropError>,
    ) -> MethodRouter<Arc<Context<Self, R>>> {
        post(move |context: Shared<Self, R>, operator, drop| async move {
            context.service.change(act, operator, drop, apply).await
        })
    }

    /// The handler of the action `act`, which changes only the drop's document, by `apply` and the request's body.
    fn changed_by<B: DeserializeOwned + Send + Sync + 'static>(
        act: &'static str,
        apply: fn(&Drop, &B, Timestamp) -> Result<Drop, DropError>,
    ) -> MethodRouter<Arc<Context<Self, R>>> {
        post(
            move |context: Shared<Self, R>, operator, drop, Json(body): Json<B>| async move {
                let apply = |drop: &Drop, now| apply(drop, &body, now);
                context.service.change(act, operator, drop, apply).await
            },
        )
    }

    async fn change(
        &self,
        act: &'static str,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        apply: impl Fn(&Drop, Timestamp) -> Result<Drop, DropError> + Send + Sync,
    ) -> Result<Response, Failure> {
        let of = Asked { id, scope };
        let done = change(&self.drops, &self.runtime, &of, apply);
        self.acted(&name, &of, act, done).await
    }

    async fn publish(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let of = Asked { id, scope };
        let done = publish::publish(&api.drops, &api.stock, &api.runtime, &of);
        api.acted(&name, &of, "publish", done).await
    }

    async fn restock(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        DropInPath(id): DropInPath,
        IdempotencyKey(key): IdempotencyKey,
        Json(RestockBody { sku, units }): Json<RestockBody>,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let of = Asked { id, scope };
        let done = restock::restock(&api.drops, &api.stock, &api.runtime, &of, &sku, units, &key);
        api.acted(&name, &of, "restock", done).await
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
        QueryOf(Whose { turn }): QueryOf<Whose>,
    ) -> Result<Response, Failure> {
        let Self { orders, runtime, .. } = &context.service;
        let turn = turn
            .map(|turn| turn.parse::<Turn>())
            .transpose()
            .map_err(|_| Problem::of_parameters().field("turn", "`gateway` or `shopper`"))?;
        let found = orders::list(orders, runtime, &scope, turn, page.limit, page.after).await?;
        let now = runtime.now();
        let view = |order: &Order| OperatorOrderView::of(order, now);
        let body = OperatorOrderList {
            orders: found.orders.iter().map(view).collect(),
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
        let api = &context.service;
        let id: OrderId = path_id("order", &id)?;
        let range = MIN_GATEWAY_WAIT_SECONDS..=MAX_GATEWAY_WAIT_SECONDS;
        if !range.contains(&seconds) {
            let message = format!("{} to {}", range.start(), range.end());
            return Err(Problem::of_fields().field("seconds", message).into());
        }
        let of = (&id, &scope);
        let done = orders::keep(&api.drops, &api.orders, &api.runtime, of, seconds, &key);
        let order = audited_order(&name, &id, "keep", done).await?;
        Ok(order_view(StatusCode::OK, &order, api.runtime.now()))
    }

    async fn end_order(
        context: Shared<Self, R>,
        Operator { name, scope }: Operator,
        PathOf(id): PathOf<String>,
        Json(EndBody { not_at_gateway }): Json<EndBody>,
    ) -> Result<Response, Failure> {
        let api = &context.service;
        let id: OrderId = path_id("order", &id)?;
        let done = orders::end(
            &api.drops,
            &api.orders,
            &api.runtime,
            (&id, &scope),
            not_at_gateway,
        );
        let order = audited_order(&name, &id, "end", done).await?;
        let status = if order.status.is_open() {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        Ok(order_view(status, &order, api.runtime.now()))
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
