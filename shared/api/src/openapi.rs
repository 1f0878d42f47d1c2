//! Makes the OpenAPI document from the types of this crate.
//!
//! The functions below are never called: each has the description of one route, and the parameters and answers that
//! the handlers in `functions/` implement. A test compares the document with a golden file, and the routes with the
//! template's.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::drops::{DropList, DropView, StatusView};
use crate::operator::{
    DropBody, EndBody, ExtendBody, KeepBody, MessageBody, OperatorDropView, OperatorOrderList,
    OperatorOrderView, ReadinessView, RescheduleBody, RestockBody,
};
use crate::orders::{CheckoutBody, OrderList, OrderView, PaymentBody};
use crate::problem::{Code, Problem};
use crate::reservations::{ReservationView, ReserveBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stampede",
        description = "Flash-sale drops: browse, reserve, check out, follow the order. Errors are problem documents \
                       (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "The host that serves this document.")),
    tags(
        (name = "drops", description = "What is sold, when, and what is left of it. Public."),
        (name = "reservations", description = "Units held for one shopper for a short time."),
        (name = "orders", description = "Reservations that were checked out, and their payment."),
        (name = "operator", description = "Drops as operators prepare and run them, and their orders that wait for the payment gateway."),
        (name = "payments", description = "What the payment gateway calls."),
        (name = "description", description = "This document. Public.")
    ),
    paths(
        describe, list_drops, get_drop, get_status, reserve, get_reservation, release, checkout, list_orders, get_order,
        cancel_order, pay_order, receive_webhook, put_drop, get_operator_drop, publish, pause, resume, extend, reschedule,
        tell_waiting, restock, cancel_drop, get_readiness, list_open_orders, keep_order, end_order
    ),
    components(schemas(Problem)),
    modifiers(&Tokens, &Refusals)
)]
struct Document;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        for name in ["shopper", "operator"] {
            let mut scheme = Http::new(HttpAuthScheme::Bearer);
            scheme.bearer_format = Some("JWT".to_owned());
            scheme.description = Some(format!("A JWT of an issuer in the list of {name}s."));
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

struct Refusals;

impl Modify for Refusals {
    /// Adds to each operation the problems that it answers, and an empty `security` to operations that need no token.
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let shared = &mut document.components.get_or_insert_with(Default::default).responses;
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().filter_map(Option::as_mut) {
                operation.security.get_or_insert_default();
                let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
                for code in Code::ALL.iter().filter(|code| refuses(operation, **code)) {
                    by_status.entry(code.status()).or_default().push(*code);
                }
                for (status, codes) in by_status {
                    let mut response = RefOr::T(refusal(status, &codes));
                    // The document has the response with one code once, and all operations refer to it.
                    if let [code] = codes[..] {
                        shared.insert(code.as_str().to_owned(), response);
                        response = RefOr::Ref(Ref::from_response_name(code.as_str()));
                    }
                    operation.responses.responses.insert(status.to_string(), response);
                }
            }
        }
    }
}

/// Whether an operation may answer with `code`: because of its parameters, body and token, or because [`REFUSED`]
/// lists it.
fn refuses(operation: &Operation, code: Code) -> bool {
    let takes = |place: ParameterIn| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.any(|parameter| matches!(parameter, RefOr::T(p) if p.parameter_in == place))
    };
    let body = operation.request_body.is_some();
    let by_form = match code {
        Code::InvalidRequest => body || takes(ParameterIn::Query),
        Code::Unauthenticated => operation.security.iter().flatten().next().is_some(),
        Code::NotFound => takes(ParameterIn::Path),
        Code::TooLarge | Code::UnsupportedMediaType => body,
        // An operation without parameters and body calls no other service, so it answers neither code.
        Code::Internal | Code::Throttled => body || operation.parameters.is_some(),
        _ => false,
    };
    let named = |(name, codes): &(&str, &[Code])| {
        operation.operation_id.as_deref() == Some(*name) && codes.contains(&code)
    };
    by_form || REFUSED.iter().any(named)
}

/// The response with `status`, for all `codes` of this status.
fn refusal(status: u16, codes: &[Code]) -> Response {
    let meanings: Vec<String> = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.as_str(), code.meaning()))
        .collect();
    let one_of_them = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().map(|c| c.as_str())));
    let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(
        ObjectBuilder::new()
            .property("code", one_of_them)
            .required("code"),
    );
    let response = ResponseBuilder::new()
        .description(meanings.join("\n\n"))
        .content("application/problem+json", Content::new(Some(schema)));
    if !matches!(status, 409 | 503) {
        return response.build();
    }
    let seconds = HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
        .description(Some("The number of seconds until a repeat may succeed."));
    response.header("Retry-After", seconds.build()).build()
}

/// The document as JSON, indented.
///
/// # Errors
/// When the document cannot be written as JSON, which only a mistake in a type of this crate can cause.
pub fn document() -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&Document::openapi())
}

macro_rules! routes {
    ($($(#[$meta:meta])* $name:ident $(refuses $($code:ident)*)?;)*) => {
        $($(#[$meta])* #[allow(dead_code)] const fn $name() {})*

        /// The codes of each operation in addition to those that follow from its parameters, body and token.
        const REFUSED: &[(&str, &[Code])] = &[$((stringify!($name), &[$($(Code::$code),*)?])),*];
    };
}

routes! {
    /// The OpenAPI document of this API. Cached for five minutes.
    #[utoipa::path(get, path = "/openapi.json", tag = "description",
        responses((status = 200, description = "An OpenAPI document.", body = serde_json::Value, content_type = "application/json")))]
    describe;

    /// The published drops that are listed, latest start first.
    #[utoipa::path(get, path = "/drops", tag = "drops",
        params(("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "The largest number of entries; 20 by default."),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")),
        responses((status = 200, description = "A page of drops.", body = DropList)))]
    list_drops;

    /// A published drop.
    #[utoipa::path(get, path = "/drops/{drop_id}", tag = "drops", params(("drop_id" = String, Path)),
        responses((status = 200, description = "The drop.", body = DropView)))]
    get_drop;

    /// The units of a drop that are left, and the time of the next request. Cached for a second.
    #[utoipa::path(get, path = "/drops/{drop_id}/status", tag = "drops", params(("drop_id" = String, Path)),
        responses((status = 200, description = "The status; `as_of` says when the units were counted.", body = StatusView)))]
    get_status;

    /// Hold units of one SKU. A repeat with the same key returns the same reservation.
    #[utoipa::path(post, path = "/drops/{drop_id}/reservations", tag = "reservations", security(("shopper" = [])),
        params(("drop_id" = String, Path), ("Idempotency-Key" = String, Header, pattern = "^[!-~]{1,64}$"),
            ("Idempotency-Attempt" = Option<u16>, Header, minimum = 1, description = "2 for the first repeat of a request whose answer did not arrive, and so on.")),
        request_body = ReserveBody,
        responses((status = 201, description = "The units are held, by this request or by an earlier one with its key.", body = ReservationView)))]
    reserve refuses Forbidden NotOpen Paused Closed SoldOut FewerLeft LimitReached ReservationExists OrderInProgress HoldsUnused IdempotencyMismatch;

    /// One reservation of the shopper.
    #[utoipa::path(get, path = "/drops/{drop_id}/reservations/{reservation_id}", tag = "reservations", security(("shopper" = [])),
        params(("drop_id" = String, Path), ("reservation_id" = String, Path)),
        responses((status = 200, description = "The reservation.", body = ReservationView)))]
    get_reservation;

    /// Release a reservation before its deadline.
    #[utoipa::path(delete, path = "/drops/{drop_id}/reservations/{reservation_id}", tag = "reservations", security(("shopper" = [])),
        params(("drop_id" = String, Path), ("reservation_id" = String, Path)),
        responses((status = 204, description = "The units were returned.")))]
    release refuses WrongState Conflict;

    /// Turn a reservation into an order. A repeat of the request returns the same order.
    #[utoipa::path(post, path = "/orders", tag = "orders", security(("shopper" = [])),
        params(("Idempotency-Key" = String, Header, pattern = "^[!-~]{1,64}$")), request_body = CheckoutBody,
        responses((status = 202, description = "The order exists; its payment follows.", body = OrderView)))]
    checkout refuses Forbidden NotFound Closed LimitReached ReservationExpired WrongState Conflict IdempotencyMismatch;

    /// The shopper's orders, newest first.
    #[utoipa::path(get, path = "/orders", tag = "orders", security(("shopper" = [])),
        params(("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "The largest number of entries; 20 by default."),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")),
        responses((status = 200, description = "A page of the shopper's orders.", body = OrderList)))]
    list_orders;

    /// One order of the shopper.
    #[utoipa::path(get, path = "/orders/{order_id}", tag = "orders", security(("shopper" = [])), params(("order_id" = String, Path)),
        responses((status = 200, description = "The order.", body = OrderView)))]
    get_order;

    /// Cancel an order: immediately while no payment exists (200), otherwise as soon as the gateway confirms (202).
    #[utoipa::path(post, path = "/orders/{order_id}/cancel", tag = "orders", security(("shopper" = [])), params(("order_id" = String, Path)),
        responses((status = 200, description = "The order is cancelled.", body = OrderView), (status = 202, description = "The gateway must confirm first; `cancel_requested` is true.", body = OrderView)))]
    cancel_order refuses WrongState Conflict;

    /// Submit another card after a decline. A repeat of the request returns the same order.
    #[utoipa::path(post, path = "/orders/{order_id}/payments", tag = "orders", security(("shopper" = [])),
        params(("order_id" = String, Path), ("Idempotency-Key" = String, Header, pattern = "^[!-~]{1,64}$")), request_body = PaymentBody,
        responses((status = 202, description = "The card is to be charged.", body = OrderView)))]
    pay_order refuses WrongState Conflict IdempotencyMismatch;

    /// An event of the payment gateway. The body is the event as the gateway signed it, byte by byte, at most 64 KB.
    #[utoipa::path(post, path = "/payments/{gateway}/webhook", tag = "payments",
        params(("gateway" = String, Path, description = "The configured gateway: `stripe`."),
               ("Stripe-Signature" = String, Header, description = "Time and signatures: `t=SECONDS,v1=HEX`.")),
        responses((status = 200, description = "The event was accepted, or needs no action.", body = serde_json::Value)))]
    receive_webhook refuses InvalidRequest Unauthenticated TooLarge;

    /// Create the draft of a drop, or change an existing draft.
    #[utoipa::path(put, path = "/operator/drops/{drop_id}", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)), request_body = DropBody,
        responses((status = 200, description = "The draft was changed, or had these contents already.", body = OperatorDropView), (status = 201, description = "The draft is new.", body = OperatorDropView)))]
    put_drop refuses Forbidden WrongState Conflict;

    /// A drop, as operators see it.
    #[utoipa::path(get, path = "/operator/drops/{drop_id}", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, description = "The drop.", body = OperatorDropView)))]
    get_operator_drop refuses Forbidden;

    /// Freeze the shard plan, write the shards, and put the drop on the calendar.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/publish", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, description = "The drop as it is now.", body = OperatorDropView)))]
    publish refuses Forbidden WrongState Conflict;

    /// Pause reservations. Holds, orders and payments continue.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/pause", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, description = "The drop as it is now.", body = OperatorDropView)))]
    pause refuses Forbidden WrongState Conflict;

    /// Resume paused reservations.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/resume", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, description = "The drop as it is now.", body = OperatorDropView)))]
    resume refuses Forbidden WrongState Conflict;

    /// Move the drop's end to a later time.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/extend", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)), request_body = ExtendBody,
        responses((status = 200, description = "The drop as it is now.", body = OperatorDropView)))]
    extend refuses Forbidden WrongState Conflict;

    /// Move the drop's start to a later time, until 18 seconds before the start. The end moves by the same time.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/reschedule", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)), request_body = RescheduleBody,
        responses((status = 200, description = "The drop as it is now.", body = OperatorDropView)))]
    reschedule refuses Forbidden WrongState Conflict;

    /// Put a message to waiting shoppers into the drop's status.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/message", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)), request_body = MessageBody,
        responses((status = 200, description = "The drop as it is now.", body = OperatorDropView)))]
    tell_waiting refuses Forbidden WrongState Conflict;

    /// Add units to a SKU. A repeat with the same key adds none.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/restock", tag = "operator", security(("operator" = [])),
        params(("drop_id" = String, Path), ("Idempotency-Key" = String, Header, pattern = "^[!-~]{1,64}$")), request_body = RestockBody,
        responses((status = 200, description = "The drop as it is now.", body = OperatorDropView)))]
    restock refuses Forbidden WrongState Conflict IdempotencyMismatch;

    /// Cancel the drop: holds are released, open orders are cancelled, paid orders stay paid.
    #[utoipa::path(post, path = "/operator/drops/{drop_id}/cancel", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, description = "The drop as it is now.", body = OperatorDropView)))]
    cancel_drop refuses Forbidden WrongState Conflict;

    /// The readiness of the drop's capacity, by part, and the time at which all parts will be ready. The answer is `not_prepared` until pre-scaling has run for the drop.
    #[utoipa::path(get, path = "/operator/drops/{drop_id}/readiness", tag = "operator", security(("operator" = [])), params(("drop_id" = String, Path)),
        responses((status = 200, description = "The result of the last run.", body = ReadinessView)))]
    get_readiness refuses Forbidden NotPrepared;

    /// Open orders of all drops: those that wait for the payment gateway, those that wait for their shopper, or both.
    #[utoipa::path(get, path = "/operator/orders", tag = "operator", security(("operator" = [])),
        params(("turn" = Option<String>, Query, pattern = "^(gateway|shopper)$", description = "Who must act next: `gateway`, which includes orders whose end the gateway must confirm, or `shopper`. Both by default."),
               ("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "The largest number of entries; 20 by default."),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")),
        responses((status = 200, description = "A page of open orders.", body = OperatorOrderList)))]
    list_open_orders refuses Forbidden;

    /// Let an order wait longer for the payment gateway, counted from now. A repeat with the same key changes nothing.
    #[utoipa::path(post, path = "/operator/orders/{order_id}/keep", tag = "operator", security(("operator" = [])),
        params(("order_id" = String, Path), ("Idempotency-Key" = String, Header, pattern = "^[!-~]{1,64}$")), request_body = KeepBody,
        responses((status = 200, description = "The order as it is now.", body = OperatorOrderView)))]
    keep_order refuses Forbidden WrongState Conflict IdempotencyMismatch;

    /// End an order that waits for the payment gateway, as `gateway_unavailable`: immediately while no payment exists (200), otherwise as soon as the gateway confirms (202).
    #[utoipa::path(post, path = "/operator/orders/{order_id}/end", tag = "operator", security(("operator" = [])), params(("order_id" = String, Path)), request_body = EndBody,
        responses((status = 200, description = "The order has ended.", body = OperatorOrderView), (status = 202, description = "The gateway must confirm first.", body = OperatorOrderView)))]
    end_order refuses Forbidden WrongState Conflict;
}
