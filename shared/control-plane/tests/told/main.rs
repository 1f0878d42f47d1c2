//! What no emulator does: slow, busy, half done, given up, silent. Answers come from a server that does as it is told.
//!
//! The exchanges are written after AWS's API references and the SDK's own models; none was recorded on AWS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod account;
mod answers;
mod changes;
mod database;
mod lists;
mod looks;
mod metrics;
mod profile;
mod server;
