//! The operator's API on memory.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod deployer;
mod http;
mod orders;
mod readiness;
mod support;
mod undisturbed;
