//! The contracts of the ports on the adapters in memory, and the tools that other crates' tests use.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod account;
mod contract;
mod faults;
mod gateway;
