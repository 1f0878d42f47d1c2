//! The import rules of the workspace, and pre-scaling's rules.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod architecture;
mod prescale;
