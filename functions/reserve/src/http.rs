//! Serves the routes of reservations, and maps each result to the API's answer.

use std::sync::{Arc, Mutex};

use api::reservations::{ReservationView, ReserveBody};
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use domain::crowd::StockTable;
use domain::ids::{DropId, OrderId, ReservationId};
use domain::limits::STATUS_REPLICAS;
use domain::search::{Refused, Request, Reserved};
use domain::status::Availability;
use http::StatusCode;
use ports::cached::CachedDrops;
use ports::drops::{ReadCounts, ReadDrop, ReadStatus};
use ports::runtime::Runtime;
use ports::stock::{ClaimStock, GiveBackStock, PeekStock, ReadClaim};
use web::{
    Attempt, Caching, Code, Failure, IdempotencyKey, Json, PathOf, Problem, Shared, Shopper, Tokens, answer,
    path_id,
};

use crate::create::{Create, NotReserved, ProcessBudget};
use crate::release::{NoReservation, Reservations};
use crate::shard_cache::ShardCache;

pub struct Api<D, S, T, R> {
    create: Create<D, S, T, R>,
    reservations: Reservations<D, S, R>,
}

impl<D, S, T, R> Api<D, S, T, R>
where
    D: ReadDrop + 'static,
    S: PeekStock + ClaimStock + ReadClaim + GiveBackStock + Clone + 'static,
    T: ReadStatus + ReadCounts + 'static,
    R: Runtime,
{
    /// Builds the function's router, whose handlers use these ports. `table` is the capacity of the stock table.
    /// The process reads one copy of the status documents, drawn here at random, so that no copy is hot.
    pub fn router(
        drops: D,
        stock: S,
        status: T,
        shoppers: impl Into<Tokens>,
        runtime: R,
        table: StockTable,
    ) -> Router {
        let routes = Router::new()
            .route("/drops/{drop_id}/reservations", post(Self::create))
            .route(
                "/drops/{drop_id}/reservations/{reservation_id}",
                get(Self::show).delete(Self::release),
            );
        let drops = Arc::new(CachedDrops::new(drops, runtime.clone()));
        let replica = runtime.random() % u64::from(STATUS_REPLICAS);
        let api = Self {
            create: Create {
                drops: Arc::clone(&drops),
                stock: stock.clone(),
                status,
                shard_cache: ShardCache::default(),
                looks: Mutex::new(ProcessBudget::at(table)),
                replica: u8::try_from(replica).unwrap_or(0),
                runtime: runtime.clone(),
            },
            reservations: Reservations {
                drops,
                stock,
                runtime: runtime.clone(),
            },
        };
        web::with_tokens(routes, api, shoppers, runtime)
    }

    async fn create(
        context: Shared<Self, R>,
        PathOf(drop): PathOf<String>,
        shopper: Shopper,
        IdempotencyKey(idempotency_key): IdempotencyKey,
        Attempt(attempt): Attempt,
        Json(body): Json<ReserveBody>,
    ) -> Result<Response, Failure> {
        let request = Request {
            drop: path_id("drop", &drop)?,
            sku: body.sku,
            units: body.quantity,
            shopper: shopper.id,
            idempotency_key,
            is_repeat: attempt > 1,
        };
        let reserved = context.service.create.create(&request, shopper.scope).await;
        view(StatusCode::CREATED, reserved.map_err(not_reserved)?)
    }

    async fn show(
        context: Shared<Self, R>,
        PathOf(path): PathOf<(String, String)>,
        shopper: Shopper,
    ) -> Result<Response, Failure> {
        let (drop, id) = ids(&path)?;
        let reserved = context.service.reservations.show(&drop, &id, &shopper.id).await;
        view(StatusCode::OK, reserved.map_err(no_reservation)?)
    }

    async fn release(
        context: Shared<Self, R>,
        PathOf(path): PathOf<(String, String)>,
        shopper: Shopper,
    ) -> Result<Response, Failure> {
        let (drop, id) = ids(&path)?;
        let reservations = &context.service.reservations;
        let released = reservations.release(&drop, &id, &shopper.id).await;
        released.map_err(no_reservation)?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

fn ids((drop, reservation): &(String, String)) -> Result<(DropId, ReservationId), Failure> {
    Ok((path_id("drop", drop)?, path_id("reservation", reservation)?))
}

fn view(status: StatusCode, reserved: Reserved) -> Result<Response, Failure> {
    let view = ReservationView::of(reserved.id, &reserved.claim, reserved.price);
    let view = view.ok_or_else(|| Failure::internal("work out the amount", &"it cannot be represented"))?;
    Ok(answer(status, Caching::Never, &view))
}

/// A wait in whole seconds, at least one.
fn seconds(in_ms: i64) -> u32 {
    let whole = u32::try_from(in_ms.max(0) / 1000);
    whole.unwrap_or(u32::MAX).saturating_add(1)
}

fn not_reserved(error: NotReserved) -> Failure {
    let refused = match error {
        NotReserved::Store(error) => return Failure::store("reserve", &error),
        NotReserved::OutOfScope => return web::out_of_scope().into(),
        NotReserved::Refused(refused) => refused,
    };
    let problem = match refused {
        Refused::UnknownDrop => Problem::new(Code::NotFound, "There is no such drop."),
        Refused::UnknownSku => {
            Problem::new(Code::NotFound, "The drop has no such SKU.").field("sku", "one of the drop's SKUs")
        }
        Refused::BadQuantity { limit } => {
            let detail = "Ask for a quantity that one shopper may buy.";
            Problem::new(Code::InvalidRequest, detail).field("quantity", format!("1 to {limit}"))
        }
        Refused::NotOpen { in_ms } => {
            Problem::new(Code::NotOpen, "Ask again when the drop has started.").retry_after(seconds(in_ms))
        }
        Refused::Paused => {
            let detail = "Reservations are stopped for a moment; follow the status.";
            Problem::new(Code::Paused, detail).retry_after(5)
        }
        Refused::Closed => Problem::new(Code::Closed, "The drop takes no more reservations."),
        Refused::SoldOut(availability) => {
            let problem = match availability {
                Availability::Gone => {
                    Problem::new(Code::SoldOut, "Every unit is paid for. Nothing will return.")
                }
                _ => {
                    let detail = "Every unit is held; some may return. Follow the status.";
                    Problem::new(Code::SoldOut, detail).retry_after(2)
                }
            };
            Problem {
                availability: Some(availability),
                ..problem
            }
        }
        Refused::FewerLeft(available) => {
            let detail = "Not as many can be had in one reservation. Ask for fewer.";
            Problem {
                available: Some(available),
                ..Problem::new(Code::FewerLeft, detail)
            }
        }
        Refused::LimitReached => Problem::new(
            Code::LimitReached,
            "You have bought, or are buying, as many as one shopper may.",
        ),
        Refused::Exists(id) => {
            let detail = "Check that reservation out, or release it first.";
            Problem {
                reservation_id: Some(id.to_string()),
                ..Problem::new(Code::ReservationExists, detail)
            }
        }
        Refused::OrderInProgress(id) => {
            let detail = "What is free lies where your order in progress is. Follow that order, and ask again when it has ended.";
            Problem {
                order_id: Some(OrderId::of_reservation(&id).to_string()),
                ..Problem::new(Code::OrderInProgress, detail).retry_after(5)
            }
        }
        Refused::Crowded { in_ms } => {
            let detail =
                "Every unit is held, or more ask than can be answered at once. Ask again with the same key.";
            Problem {
                availability: Some(Availability::AllHeld),
                ..Problem::new(Code::SoldOut, detail).retry_after(seconds(in_ms))
            }
        }
        Refused::HoldsUnused { in_ms } => {
            let detail = "You let more than one reservation expire. Ask again later; others may take the units meanwhile.";
            Problem::new(Code::HoldsUnused, detail).retry_after(seconds(in_ms))
        }
        Refused::OtherRequest => Problem::new(
            Code::IdempotencyMismatch,
            "This key belongs to a reservation of another quantity. Use a new key.",
        ),
    };
    problem.into()
}

fn no_reservation(error: NoReservation) -> Failure {
    let problem = match error {
        NoReservation::Unknown => Problem::new(Code::NotFound, "You have no such reservation, or no longer."),
        NoReservation::Ordered => Problem::new(
            Code::WrongState,
            "It has become an order. Cancel the order instead.",
        ),
        NoReservation::Contended => {
            Problem::new(Code::Conflict, "It keeps changing. Try again.").retry_after(1)
        }
        NoReservation::Store(error) => return Failure::store("release", &error),
    };
    problem.into()
}
