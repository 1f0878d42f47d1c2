//! Browse: the list of drops, one drop, and its status document.
//!
//! **The problem.** Everyone who waits for a drop asks for its status every two seconds, hundreds of thousands at a time.
//! The database must not notice.
//!
//! **The model.** Answers are public and carry `max-age=1`, so that a CDN turns a crowd into one request a second per
//! place. Behind it, each process reads a drop, its status and the first page of the list at most once a second
//! ([`ports::recent`]), and each process reads *one* of the status document's sixteen copies, chosen by chance when it starts, so
//! that no key is hot.
//!
//! **A walk through `GET /drops/{drop_id}/status`** ([`status`]). The drop's document gives times and state, the
//! status document the counts; the phase comes from comparing times at the moment of the answer. When the database does
//! not answer, the last good copies stand in for a bounded time; counts too old to trust are told as *available*, never
//! as *gone* ([`api::drops::StatusView`]).
//!
//! **What it does not do.** It writes nothing, knows nobody, and shows no draft.
#![forbid(unsafe_code)]

pub mod browse;
pub mod http;
pub mod status;

use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};

pub use http::Api;

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);
