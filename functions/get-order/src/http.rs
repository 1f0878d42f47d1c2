//! Serves the routes of a shopper's orders, and maps each result to the API's answer.

use api::orders::{OrderList, OrderView, PaymentBody};
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use domain::ids::OrderId;
use domain::order::{Fingerprint, Order, OrderStatus};
use http::StatusCode;
use ports::change::{NotChanged, change};
use ports::orders::{AdvanceOrder, ListOrders, ReadOrder};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use web::{
    Caching, Code, Failure, IdempotencyKey, Json, Page, PathOf, Problem, Shared, Shopper, Tokens, answer,
    encode_cursor, path_id,
};

use crate::cancel::cancel;
use crate::pay::{NotAccepted, pay};

/// The routes of orders, with the ports that all requests share.
pub struct Api<O, R> {
    orders: O,
    runtime: R,
}

impl<O, R> Api<O, R>
where
    O: ReadOrder + ListOrders + AdvanceOrder + 'static,
    R: Runtime,
{
    /// Builds the function's router, whose handlers use these ports.
    pub fn router(orders: O, shoppers: impl Into<Tokens>, runtime: R) -> Router {
        let routes = Router::new()
            .route("/orders", get(Self::list))
            .route("/orders/{order_id}", get(Self::show))
            .route("/orders/{order_id}/cancel", post(Self::cancel))
            .route("/orders/{order_id}/payments", post(Self::pay));
        let api = Self {
            orders,
            runtime: runtime.clone(),
        };
        web::with_tokens(routes, api, shoppers, runtime)
    }

    async fn list(
        context: Shared<Self, R>,
        Shopper { id: shopper, .. }: Shopper,
        page: Page<OrderId>,
    ) -> Result<Response, Failure> {
        let Self { orders, runtime } = &context.service;
        let found = retry(runtime, IN_REQUEST, || {
            orders.orders_of(&shopper, page.after.as_ref(), page.limit)
        })
        .await
        .map_err(|error| Failure::store("list orders", &error))?;
        let body = OrderList {
            orders: found.orders.iter().map(OrderView::from).collect(),
            next_cursor: found.next.map(|(at, id)| encode_cursor(at, &id)),
        };
        Ok(answer(StatusCode::OK, Caching::Never, &body))
    }

    async fn show(
        context: Shared<Self, R>,
        PathOf(id): PathOf<String>,
        Shopper { id: shopper, .. }: Shopper,
    ) -> Result<Response, Failure> {
        let Self { orders, runtime } = &context.service;
        let id: OrderId = path_id("order", &id)?;
        let found = retry(runtime, IN_REQUEST, || orders.order(&id))
            .await
            .map_err(|error| Failure::store("show an order", &error))?;
        match found.filter(|order| order.shopper == shopper) {
            Some(order) => Ok(answer(StatusCode::OK, Caching::Never, &OrderView::from(&order))),
            None => Err(Problem::new(Code::NotFound, "You have no such order.").into()),
        }
    }

    async fn cancel(
        context: Shared<Self, R>,
        PathOf(id): PathOf<String>,
        Shopper { id: shopper, .. }: Shopper,
    ) -> Result<Response, Failure> {
        let Self { orders, runtime } = &context.service;
        let id: OrderId = path_id("order", &id)?;
        let own = |order: &Order| order.shopper == shopper;
        let order = change(orders, runtime, &id, own, |order| cancel(order, runtime.now()))
            .await
            .map_err(|error| not_changed("cancel an order", error, not_cancelled))?;
        let status = if order.status.is_open() {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        Ok(answer(status, Caching::Never, &OrderView::from(&order)))
    }

    async fn pay(
        context: Shared<Self, R>,
        PathOf(id): PathOf<String>,
        Shopper { id: shopper, .. }: Shopper,
        IdempotencyKey(key): IdempotencyKey,
        Json(body): Json<PaymentBody>,
    ) -> Result<Response, Failure> {
        let Self { orders, runtime } = &context.service;
        let id: OrderId = path_id("order", &id)?;
        let mistakes = body.mistakes();
        if !mistakes.is_empty() {
            return Err(Problem::of_fields().fields(mistakes).into());
        }
        let method = &body.payment_method;
        let request = Fingerprint::of_request(key.as_bytes(), method.as_bytes());
        let decide = |order| pay(order, method, &request, runtime.now());
        let own = |order: &Order| order.shopper == shopper;
        let order = change(orders, runtime, &id, own, decide)
            .await
            .map_err(|error| not_changed("bring another card", error, not_accepted))?;
        let view = OrderView::from(&order);
        Ok(answer(StatusCode::ACCEPTED, Caching::Never, &view))
    }
}

fn not_changed<R>(task: &'static str, error: NotChanged<R>, refused: impl FnOnce(R) -> Problem) -> Failure {
    let problem = match error {
        NotChanged::Unknown => Problem::new(Code::NotFound, "You have no such order."),
        NotChanged::Refused(why) => refused(why),
        NotChanged::Contended => {
            Problem::new(Code::Conflict, "The order keeps changing. Try again.").retry_after(1)
        }
        NotChanged::Store(error) => return Failure::store(task, &error),
    };
    problem.into()
}

fn not_accepted(why: NotAccepted) -> Problem {
    match why {
        NotAccepted::OtherRequest => {
            let detail = "This key belongs to another card. Use a new key.";
            Problem::new(Code::IdempotencyMismatch, detail)
        }
        NotAccepted::NotAwaited(status) => {
            let detail = format!("The order is {status} and awaits no other card.");
            Problem::new(Code::WrongState, detail)
        }
        NotAccepted::TooLate => Problem::new(Code::WrongState, "The time for another card is over."),
    }
}

fn not_cancelled(status: OrderStatus) -> Problem {
    let detail = format!("The order is {status} and can no longer be cancelled.");
    Problem::new(Code::WrongState, detail)
}
