//! Drop files, the generator's shoppers, and the open model.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod drop_files;
mod journeys;
mod open_model;
mod support;
