//! The route of this function and its answers.

use std::sync::Arc;

use api::orders::{CheckoutBody, OrderView};
use axum::Router;
use axum::response::Response;
use axum::routing::post;
use domain::order::Fingerprint;
use domain::time::Timestamp;
use http::StatusCode;
use ports::drops::ReadDrop;
use ports::edge::Edge;
use ports::orders::{PlaceOrder, ReadOrder};
use ports::stock::SurveyStock;
use tokens::VerifyingKey;
use web::{Authority, Caching, Code, Failure, IdempotencyKey, Json, Problem, Shopper, answer};

use crate::place::{Checkout, NotOrdered, Request};

/// What the route shares.
pub struct State<D, S, O, E> {
    /// The use case.
    pub checkout: Checkout<D, S, O, E>,
    /// The key of the shoppers' tokens.
    pub shoppers: VerifyingKey,
}

/// A shared [`State`]; axum wants it cheap to clone.
pub struct Shared<D, S, O, E>(Arc<State<D, S, O, E>>);

impl<D, S, O, E> Clone for Shared<D, S, O, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D, S, O, E: Edge> Authority for Shared<D, S, O, E> {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.0.shoppers
    }

    fn now(&self) -> Timestamp {
        self.0.checkout.edge.now()
    }
}

/// The function's router.
pub fn router<D, S, O, E>(state: State<D, S, O, E>) -> Router
where
    D: ReadDrop + 'static,
    S: SurveyStock + 'static,
    O: PlaceOrder + ReadOrder + 'static,
    E: Edge,
{
    let routes = Router::new().route("/orders", post(checkout::<D, S, O, E>));
    web::conventions(routes).with_state(Shared(Arc::new(state)))
}

async fn checkout<D, S, O, E>(
    axum::extract::State(state): axum::extract::State<Shared<D, S, O, E>>,
    Shopper(shopper): Shopper,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<CheckoutBody>,
) -> Result<Response, Failure>
where
    D: ReadDrop,
    S: SurveyStock,
    O: PlaceOrder + ReadOrder,
    E: Edge,
{
    let mistakes = body.mistakes();
    if !mistakes.is_empty() {
        let problem = Problem::new(
            Code::InvalidRequest,
            "Correct the fields named and send the request again.",
        );
        return Err(Problem {
            errors: mistakes,
            ..problem
        }
        .into());
    }
    let encoded = |error: serde_json::Error| Failure::internal("encode the checkout", &error);
    let contents = serde_json::to_vec(&body).map_err(encoded)?;
    let request = Request {
        shopper,
        reservation: body.reservation_id,
        amount: body.amount,
        payment_method: body.payment_method,
        address: serde_json::to_string(&body.shipping).map_err(encoded)?,
        fingerprint: Fingerprint::of_request(key.as_bytes(), &contents),
    };
    let order = state.0.checkout.place(&request).await.map_err(not_ordered)?;
    Ok(answer(
        StatusCode::ACCEPTED,
        Caching::Never,
        &OrderView::from(&order),
    ))
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
        NotOrdered::Store(error) => return Failure::store("check out", &error),
    };
    problem.into()
}
