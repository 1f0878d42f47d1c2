//! The ledger on a PostgreSQL server that the tests start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod authority;
mod contract;
mod entries;
mod faults;
mod former;
mod function;
mod migrations;
mod refusals;
mod server;
mod sign_in;
mod tls;
