//! Payments on memory: batches, endings, faults.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod batch;
mod faults;
mod mode;
mod outage;
mod outcomes;
mod rate;
mod support;
