//! The adapter against the sandbox gateway and against servers that misbehave.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod contract;
mod failures;
mod outside;
mod support;
