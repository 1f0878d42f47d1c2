//! The conductor on memory: runs, steps, cancellation, random histories.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod cancellation;
mod histories;
mod runs;
mod steps;
mod support;
