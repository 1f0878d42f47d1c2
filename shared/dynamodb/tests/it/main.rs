//! The adapters against a real DynamoDB server and against a server that answers by script.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod contract;
mod failures;
mod layout;
mod prescale;
mod support;
mod told;
