//! Contains the functions behind the fuzz targets.
//!
//! **Problem.** The project parses many texts from outside: identifiers, tokens, bodies, cursors, API Gateway events,
//! messages, stream records, answers of a database or a payment gateway. No parser may panic or accept invalid input,
//! and a refused request must change nothing.
//!
//! **Model.** A [`Target`] is a function of bytes that panics on a finding. [`TARGETS`] lists all targets.
//! `loadtest/fuzz` makes each target a program of libFuzzer. The tests of this crate run each target over its
//! corpus, over every input that ever failed (`regressions/`), and over some thousand seeded mutations of both, so
//! that `make test` keeps checking what fuzzing found.
//!
//! | target | input | asserts |
//! |---|---|---|
//! | [`requests`] | HTTP requests as text, one after another | the real routers over memory: no 5xx, a refusal is a problem document and changes nothing, and the store adds up |
//! | [`events`](gateway_events) | API Gateway's events as JSON | as `requests`, for the event's request |
//! | [`identifiers`] | any text | an identifier, claim, cursor, moment or amount is written as it was read |
//! | [`tokens`](bearer) | a token's header and claims | only a complete token for this audience and within its time is accepted; an unsigned token never is |
//! | [`bodies`] | JSON | a body is unchanged by writing and parsing; a draft's mistakes are found before anything is computed from it |
//! | [`messages`] | bodies of queue messages | an unreadable message fails; a good message in the same batch succeeds |
//! | [`stream`] | records of the orders' stream | an unreadable record is parked whole, once; others are forwarded |
//! | [`stored`] | answers of DynamoDB | an unknown item is an error, never a panic |
//! | [`payments`] | answers of the payment gateway | a payment counts as captured only after a well-formed answer that says so |
//!
//! **What it does not do.** Webhooks have no target of their own: [`requests`] covers their route.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a finding is a panic"
)]

pub mod bearer;
pub mod bodies;
pub mod gateway_events;
pub mod identifiers;
pub mod messages;
pub mod payments;
pub mod requests;
mod run;
pub mod stored;
pub mod stream;
mod world;

/// Takes any bytes, and panics on a finding.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus and of its binary in `loadtest/fuzz`.
pub const TARGETS: [(&str, Target); 9] = [
    ("requests", requests::target),
    ("events", gateway_events::target),
    ("identifiers", identifiers::target),
    ("tokens", bearer::target),
    ("bodies", bodies::target),
    ("messages", messages::target),
    ("stream", stream::target),
    ("stored", stored::target),
    ("payments", payments::target),
];
