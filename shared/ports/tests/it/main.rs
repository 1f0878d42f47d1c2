//! The ports' own behaviour, on a clock that the tests move.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod retry;
