//! What the fuzz targets do with the bytes they are given.
//!
//! **Problem.** Every text that comes from outside meets a parser of ours: identifiers, tokens, bodies, cursors, events of
//! API Gateway, messages, stream records, what a database or a payment gateway answers. None may panic, none may take
//! for good what is not, and whoever is refused must leave no trace.
//!
//! **Model.** A [`Target`] is a function of bytes that panics on a finding. [`TARGETS`] names them all. `loadtest/fuzz`
//! wraps each for libFuzzer; the tests of this crate run each over its corpus, over every input that ever failed
//! (`regressions/`), and over some thousand seeded mutations of both, so that an ordinary `make test` keeps what fuzzing
//! found.
//!
//! | target | takes | and asserts |
//! |---|---|---|
//! | [`requests`] | HTTP requests as text, one after another | the real routers over memory: no 5xx, a refusal is a problem document and changes nothing, and the store adds up |
//! | [`events`](gateway_events) | API Gateway's events as JSON | the same, from the event on |
//! | [`identifiers`] | any text | what an identifier, claim, cursor, moment or amount is read as, it is written as |
//! | [`tokens`](bearer) | a token's head and claims | only what is complete, for this audience and in time is taken; no unsigned text ever |
//! | [`bodies`] | JSON | a body survives being written; a draft's mistakes are found before anything is computed from it |
//! | [`messages`] | bodies of queue messages | what cannot be read fails alone, a good message beside it does not |
//! | [`stream`] | records of the orders' stream | what cannot be read is parked whole, once, and the rest goes on |
//! | [`stored`] | what DynamoDB answers | an item that is none of ours is an error, never a panic |
//! | [`payments`] | what the payment gateway answers | money counts as taken only from a well-formed answer that says so |
//!
//! **What it does not do.** There are no webhooks and no tickets of a waiting room in the product yet, so there are no
//! targets for them: each brings its own when it comes.
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

/// Takes any bytes, and panics when something is wrong.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus and of its binary in `loadtest/fuzz`.
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
