//! Lets shoppers browse: the list of drops, one drop, and its status document.
//!
//! **The problem.** Hundreds of thousands of waiting shoppers request a drop's status every two seconds. The load on
//! the database must not depend on their number.
//!
//! **The model.** Answers are public and have `max-age=1`, so that a CDN reduces the requests to one a second for each
//! edge location. Behind the CDN, each process reads a drop and its status at most once a second
//! ([`ports::timed_cache`]), each from *one* of the document's copies, chosen at random at its start, so that no key is
//! hot. The list has no copies, so a process reads it at most once in [`domain::limits::LIST_CACHE_MS`], and cuts each
//! page from its copy: no cursor that a client sends reaches the database.
//!
//! **A walk through `GET /drops/{drop_id}/status`** ([`status`]). The drop's document has times and state, the status
//! document the counts. The phase is computed from the times at the moment of the answer. When the database does not
//! answer, the last good copies are used for a bounded time. Counts that are too old are reported as *available*, never
//! as *gone* ([`api::drops::StatusView`]).
//!
//! **What it does not do.** It writes nothing, checks no token, and shows no draft.
#![forbid(unsafe_code)]

pub mod browse;
pub mod http;
pub mod status;

use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};

pub use http::Api;

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);
