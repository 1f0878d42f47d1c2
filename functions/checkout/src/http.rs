//! Serves the route of checkouts, and maps each result to the API's answer.

use api::orders::{CheckoutBody, OrderView};
use axum::Router;
use axum::extract::Extension;
use axum::response::Response;
use axum::routing::post;
use domain::ids::{CorrelationId, OrderId};
use domain::order::Fingerprint;
use http::StatusCode;
use ports::cached::CachedDrops;
use ports::drops::ReadDrop;
use ports::orders::{PlaceOrder, ReadOrder};
use ports::runtime::Runtime;
use ports::stock::SurveyStock;
use web::{Caching, Code, Failure, IdempotencyKey, Json, Problem, Shared, Shopper, Tokens, answer};

use crate::place_order::{Checkout, NotOrdered, Request};

pub struct Api<D, S, O, R>(Checkout<D, S, O, R>);

impl<D, S, O, R> Api<D, S, O, R>
where
    D: ReadDrop + 'static,
    S: SurveyStock + 'static,
    O: PlaceOrder + ReadOrder + 'static,
    R: Runtime,
{
    /// Builds the function's router, whose handlers use these ports.
    pub fn router(drops: D, stock: S, orders: O, shoppers: impl Into<Tokens>, runtime: R) -> Router {
        let api = Self(Checkout {
            drops: CachedDrops::new(drops, runtime.clone()),
            stock,
            orders,
            runtime: runtime.clone(),
        });
        let routes = Router::new().route("/orders", post(Self::place));
        web::with_tokens(routes, api, shoppers, runtime)
    }

    async fn place(
        context: Shared<Self, R>,
        shopper: Shopper,
        IdempotencyKey(key): IdempotencyKey,
        correlation: Option<Extension<CorrelationId>>,
        Json(body): Json<CheckoutBody>,
    ) -> Result<Response, Failure> {
        let mistakes = body.mistakes();
        if !mistakes.is_empty() {
            return Err(Problem::of_fields().fields(mistakes).into());
        }
        let reservation = &body.reservation_id;
        web::about_order(reservation, &OrderId::of_reservation(reservation));
        let encoded = |error: serde_json::Error| Failure::internal("encode the checkout", &error);
        let contents = serde_json::to_vec(&body).map_err(encoded)?;
        let request = Request {
            shopper: shopper.id,
            scope: shopper.scope,
            reservation: body.reservation_id,
            amount: body.amount,
            payment_method: body.payment_method,
            address: serde_json::to_string(&body.shipping).map_err(encoded)?,
            fingerprint: Fingerprint::of_request(key.as_bytes(), &contents),
            correlation: correlation.map(|Extension(id)| id),
        };
        let order = context.service.0.place(&request).await.map_err(not_ordered)?;
        // For a repeat, the order keeps the first request's correlation id.
        startup::spans::correlate(order.correlation.as_ref());
        tracing::info!(
            status = order.status.as_str(),
            version = order.version,
            "the order is accepted"
        );
        let view = OrderView::from(&order);
        Ok(answer(StatusCode::ACCEPTED, Caching::Never, &view))
    }
}

fn not_ordered(error: NotOrdered) -> Failure {
    let problem = match error {
        NotOrdered::UnknownReservation => Problem::new(Code::NotFound, "You have no such reservation."),
        NotOrdered::Expired => Problem::new(
            Code::ReservationExpired,
            "The reservation has expired, or was released or replaced. Reserve again.",
        ),
        NotOrdered::WrongAmount(amount) => {
            Problem::new(Code::InvalidRequest, "Consent to the reservation's amount.")
                .field("amount", amount.to_string())
        }
        NotOrdered::DropCancelled => Problem::new(Code::Closed, "The drop was cancelled."),
        NotOrdered::LimitReached => Problem::new(
            Code::LimitReached,
            "You have bought, or are buying, as many as one shopper may.",
        ),
        NotOrdered::OtherRequest => Problem::new(
            Code::IdempotencyMismatch,
            "This key belongs to a checkout with other contents. Use a new key.",
        ),
        NotOrdered::AlreadyOrdered(id) => Problem::new(
            Code::WrongState,
            format!("The reservation has become order {id}. Follow that order."),
        ),
        NotOrdered::Contended => {
            Problem::new(Code::Conflict, "The reservation keeps changing. Try again.").retry_after(1)
        }
        NotOrdered::OutOfScope => web::out_of_scope(),
        NotOrdered::Store(error) => return Failure::store("check out", &error),
    };
    problem.into()
}
