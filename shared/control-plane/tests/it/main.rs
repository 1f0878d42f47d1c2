//! The adapters on control planes that others have written, and on answers by script.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod local;
mod told;
