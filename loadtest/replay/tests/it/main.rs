//! The replay proved: sabotages are found, drops keep their promises.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod limits;
mod outage;
mod sabotage;
mod thousand;
