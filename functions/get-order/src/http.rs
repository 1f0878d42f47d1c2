//! The routes of this function and their answers.

use std::sync::Arc;

use api::orders::{OrderList, OrderView};
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use domain::ids::OrderId;
use domain::time::Timestamp;
use http::StatusCode;
use ports::edge::Edge;
use ports::orders::{AdvanceOrder, ListOrders, ReadOrder};
use ports::retry::{IN_REQUEST, retry};
use tokens::VerifyingKey;
use web::{
    Authority, Caching, Code, Failure, Page, PathOf, Problem, Shopper, answer, encode_cursor, path_id,
};

use crate::cancel::{NotCancelled, cancel};

/// What the routes share.
pub struct State<O, E> {
    /// The orders.
    pub orders: O,
    /// The key of the shoppers' tokens.
    pub shoppers: VerifyingKey,
    /// Clock and chance.
    pub edge: E,
}

/// A shared [`State`]; axum wants it cheap to clone.
pub struct Shared<O, E>(Arc<State<O, E>>);

impl<O, E> Clone for Shared<O, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O, E: Edge> Authority for Shared<O, E> {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.0.shoppers
    }

    fn now(&self) -> Timestamp {
        self.0.edge.now()
    }
}

/// The function's router.
pub fn router<O, E>(state: State<O, E>) -> Router
where
    O: ReadOrder + ListOrders + AdvanceOrder + 'static,
    E: Edge,
{
    let routes = Router::new()
        .route("/orders", get(list::<O, E>))
        .route("/orders/{order_id}", get(show::<O, E>))
        .route("/orders/{order_id}/cancel", post(call_off::<O, E>));
    web::conventions(routes).with_state(Shared(Arc::new(state)))
}

async fn list<O: ListOrders, E: Edge>(
    axum::extract::State(state): axum::extract::State<Shared<O, E>>,
    Shopper(shopper): Shopper,
    page: Page<OrderId>,
) -> Result<Response, Failure> {
    let orders = &state.0.orders;
    let found = retry(&state.0.edge, IN_REQUEST, || {
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

async fn show<O: ReadOrder, E: Edge>(
    axum::extract::State(state): axum::extract::State<Shared<O, E>>,
    PathOf(id): PathOf<String>,
    Shopper(shopper): Shopper,
) -> Result<Response, Failure> {
    let id: OrderId = path_id("order", &id)?;
    let found = retry(&state.0.edge, IN_REQUEST, || state.0.orders.order(&id))
        .await
        .map_err(|error| Failure::store("show an order", &error))?;
    match found.filter(|order| order.shopper == shopper) {
        Some(order) => Ok(answer(StatusCode::OK, Caching::Never, &OrderView::from(&order))),
        None => Err(Problem::new(Code::NotFound, "You have no such order.").into()),
    }
}

async fn call_off<O: ReadOrder + AdvanceOrder, E: Edge>(
    axum::extract::State(state): axum::extract::State<Shared<O, E>>,
    PathOf(id): PathOf<String>,
    Shopper(shopper): Shopper,
) -> Result<Response, Failure> {
    let id: OrderId = path_id("order", &id)?;
    match cancel(&state.0.orders, &state.0.edge, &id, &shopper).await {
        Ok(order) => {
            let status = if order.status.is_open() {
                StatusCode::ACCEPTED
            } else {
                StatusCode::OK
            };
            Ok(answer(status, Caching::Never, &OrderView::from(&order)))
        }
        Err(error) => Err(not_cancelled(error)),
    }
}

fn not_cancelled(error: NotCancelled) -> Failure {
    let problem = match error {
        NotCancelled::Unknown => Problem::new(Code::NotFound, "You have no such order."),
        NotCancelled::Ended(status) => Problem::new(
            Code::WrongState,
            format!("The order is {} and can no longer be cancelled.", status.as_str()),
        ),
        NotCancelled::Contended => {
            Problem::new(Code::Conflict, "The order keeps changing. Try again.").retry_after(1)
        }
        NotCancelled::Store(error) => return Failure::store("cancel an order", &error),
    };
    problem.into()
}
