//! The OpenAPI document, made from the types of this crate.
//!
//! The functions below have no bodies worth calling: each carries the description of one route, and the parameters and
//! answers that the handlers of `functions/` implement. A golden file holds the document, and the routes are compared with
//! the template's, so that neither can drift.

use utoipa::openapi::RefOr;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::drops::{DropList, DropView, StatusView};
use crate::operator::{DropBody, ExtendBody, OperatorDropView, ReadinessView, RestockBody};
use crate::orders::{CheckoutBody, OrderList, OrderView};
use crate::problem::Problem;
use crate::reservations::{ReservationView, ReserveBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stampede",
        description = "Flash-sale drops: browse, reserve, check out, follow the order. Errors are problem documents \
                       (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        describe, list_drops, get_drop, get_status, reserve, get_reservation, release, checkout, list_orders, get_order,
        cancel_order, put_drop, get_operator_drop, publish, pause, resume, extend, restock, cancel_drop,
        get_readiness
    ),
    modifiers(&Tokens, &Problems)
)]
struct Document;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        for name in ["shopper", "operator"] {
            let mut scheme = Http::new(HttpAuthScheme::Bearer);
            scheme.bearer_format = Some("JWT".to_owned());
            scheme.description = Some(format!("An EdDSA JWT with the audience `stampede-{name}`."));
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// What a problem is sent as.
const PROBLEM_TYPE: &str = "application/problem+json";

struct Problems;

impl Modify for Problems {
    /// Says of every refusal that it is a problem document; said at each route it would be forgotten at one.
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().filter_map(Option::as_mut) {
                for (status, response) in &mut operation.responses.responses {
                    let RefOr::T(response) = response else { continue };
                    if status.starts_with('2') {
                        continue;
                    }
                    if let Some(content) = response.content.shift_remove("application/json") {
                        response.content.insert(PROBLEM_TYPE.to_owned(), content);
                    }
                }
            }
        }
    }
}

/// The document as JSON, indented.
///
/// # Errors
/// When it cannot be written as JSON, which would be a mistake of a type here.
pub fn document() -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&Document::openapi())
}

macro_rules! routes {
    ($($(#[$meta:meta])* $name:ident;)*) => {
        $($(#[$meta])* #[allow(dead_code)] const fn $name() {})*
    };
}

routes! {
    /// This document. Cached for five minutes.
    #[utoipa::path(get, path = "/openapi.json", tag = "description",
        responses((status = 200, description = "An OpenAPI document.", body = serde_json::Value, content_type = "application/json")))]
    describe;

    /// Published drops, latest start first.
    #[utoipa::path(get, path = "/drops", tag = "drops",
        params(("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "At most how many; 20 if not said."),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")),
        responses((status = 200, body = DropList), (status = 400, body = Problem), (status = 503, body = Problem)))]
    list_drops;

    /// One drop.
    #[utoipa::path(get, path = "/drops/{drop_id}", tag = "drops", params(("drop_id" = String, Path)),
        responses((status = 200, body = DropView), (status = 404, body = Problem), (status = 503, body = Problem)))]
    get_drop;

    /// What is left of a drop, and when to ask again. Cached for a second.
    #[utoipa::path(get, path = "/drops/{drop_id}/status", tag = "drops", params(("drop_id" = String, Path)),
        responses((status = 200, body = StatusView), (status = 404, body = Problem), (status = 503, body = Problem)))]
    get_status;

    /// Hold units of one SKU. The same key again answers the same reservation.
    #[utoipa::path(post, path = "/drops/{drop_id}/reservations", tag = "reservations", security(("shopper" = [])),
        params(("drop_id" = String, Path), ("Idempotency-Key" = String, Header, pattern = "^[!-~]{1,64}$")), request_body = ReserveBody,
        responses((status = 201, body = ReservationView), (status = 400, body = Problem), (status = 401, body = Problem),
            (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
            (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
    reserve;

    /// One's reservation.
    #[utoipa::path(get, path = "/drops/{drop_id}/reservations/{reservation_id}", tag = "reservations", security(("shopper" = [])),
        params(("drop_id" = String, Path), ("reservation_id" = String, Path)),
        responses((status = 200, body = ReservationView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
    get_reservation;

    /// Give a reservation back before its time.
    #[utoipa::path(delete, path = "/drops/{drop_id}/reservations/{reservation_id}", tag = "reservations", security(("shopper" = [])),
        params(("drop_id" = String, Path), ("reservation_id" = String, Path)),
        responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
    release;

    /// Turn a reservation into an order. The same request again answers the same order.
    #[utoipa::path(post, path = "/orders", tag = "orders", security(("shopper" = [])),
        params(("Idempotency-Key" = String, Header, pattern = "^[!-~]{1,64}$")), request_body = CheckoutBody,
        responses((status = 202, body = OrderView), (status = 400, body = Problem), (status = 401, body = Problem),
            (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
            (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
    checkout;

    /// One's orders, newest first.
    #[utoipa::path(get, path = "/orders", tag = "orders", security(("shopper" = [])),
        params(("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "At most how many; 20 if not said."),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")),
        responses((status = 200, body = OrderList), (status = 400, body = Problem), (status = 401, body = Problem), (status = 503, body = Problem)))]
    list_orders;

    /// One's order.
    #[utoipa::path(get, path = "/orders/{order_id}", tag = "orders", security(("shopper" = [])), params(("order_id" = String, Path)),
        responses((status = 200, body = OrderView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
    get_order;

    /// Call an order off: at once while no payment exists (200), else as soon as the gateway confirms (202).
    #[utoipa::path(post, path = "/orders/{order_id}/cancel", tag = "orders", security(("shopper" = [])), params(("order_id" = String, Path)),
        responses((status = 200, body = OrderView), (status = 202, body = OrderView), (status = 401, body = Problem),
            (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
    cancel_order;

    /// Write a drop down, or correct it while it is a draft.
    #[utoipa::path(put, path = "/operator/drops/{drop_id}", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)), request_body = DropBody,
        responses((status = 200, body = OperatorDropView), (status = 201, body = OperatorDropView), (status = 400, body = Problem), (status = 401, body = Problem),
            (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 503, body = Problem)))]
    put_drop;

    /// A drop as operators see it.
    #[utoipa::path(get, path = "/operator/drops/{drop_id}", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, body = OperatorDropView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
    get_operator_drop;

    /// Freeze the shard plan, write the shards, and put the drop on the calendar.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/publish", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, body = OperatorDropView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
    publish;

    /// Stop reservations for the moment. Holds, orders and payments go on.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/pause", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, body = OperatorDropView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
    pause;

    /// Take reservations again.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/resume", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, body = OperatorDropView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
    resume;

    /// Move the end to later.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/extend", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)), request_body = ExtendBody,
        responses((status = 200, body = OperatorDropView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
            (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 503, body = Problem)))]
    extend;

    /// Add units. The same key again adds them once.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/restock", tag = "operator", security(("operator" = [])),
        params(("drop_id" = String, Path), ("Idempotency-Key" = String, Header, pattern = "^[!-~]{1,64}$")), request_body = RestockBody,
        responses((status = 200, body = OperatorDropView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
            (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
    restock;

    /// Call the drop off: holds and open orders are undone, paid orders stand.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/cancel", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, body = OperatorDropView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
    cancel_drop;

    /// How ready the drop's capacity is, part by part, and when it will be. `not_prepared` until pre-scaling has looked.
    #[utoipa::path(get, path = "/operator/drops/{drop_id}/readiness", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, body = ReadinessView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
    get_readiness;
}
