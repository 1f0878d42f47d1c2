//! Reserve: hold units of one SKU for a shopper, show the hold, release it.
//!
//! **The one idea** of the whole system lives here: a reservation is one conditional write on one small item, and
//! whoever cannot have one is refused without a write, mostly without a database at all.
//!
//! **A walk through `POST /drops/{drop_id}/reservations`.** The drop comes from a cache of a second. What the process
//! learnt in the last second may already say that nothing is left ([`knowledge`]). Otherwise the shopper's two shards are
//! peeked at in one cheap read, which also finds an earlier claim of the shopper; the write then goes where units are.
//! Refused all the same, the answer of the refusal tells why, and a few further shards are tried, guided by the
//! conductor's counts. [`domain::search`] decides each of these steps, and [`create`] does them.
//!
//! **What it does not do.** It never touches an order, and it does not enforce the limit per shopper beyond a polite
//! early word: the order does that, in its transaction.
#![forbid(unsafe_code)]

pub mod create;
pub mod http;
pub mod knowledge;
pub mod release;

use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};

pub use http::Api;

/// What the platform gives the function.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);
