//! The cache on a clock that tests move, and the adapter against a server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod cached;
mod manager;
