//! The operator's API on memory.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod deployer;
mod http;
mod readiness;
mod support;
mod undisturbed;
