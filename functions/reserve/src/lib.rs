//! Reserves units: holds units of one SKU for a shopper, shows the hold, releases it.
//!
//! **The central rule** of the whole system is implemented here: a reservation is one conditional write on one small
//! item, and a shopper for whom no unit is free is refused without a write, mostly without any database call.
//!
//! **A walk through `POST /drops/{drop_id}/reservations`.** The drop comes from a one-second cache. The process's cache
//! of the stock may already show that no unit is left ([`shard_cache`]). Otherwise one eventually consistent read of
//! the shopper's two shards finds free units, and an earlier claim of the shopper. The write goes to a shard with free
//! units. If it is refused, the refusal contains the shard, and a few further shards are tried, chosen by the
//! conductor's counts. [`domain::search`] decides each of these steps, and [`create`] carries them out.
//!
//! **What it does not do.** It changes no order. It checks the limit per shopper only so that a request is refused
//! before its checkout; the order's transaction enforces the limit.
#![forbid(unsafe_code)]

pub mod create;
pub mod http;
pub mod release;
pub mod shard_cache;

use domain::limits::{API_TIMEOUT_SECONDS, FunctionLimits, Trigger};

pub use http::Api;

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(API_TIMEOUT_SECONDS, Trigger::Http);
