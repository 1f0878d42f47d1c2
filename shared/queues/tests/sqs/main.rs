//! The message ports on SQS: an embedded server, spoken to over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod contract;
mod failures;
mod local;
mod standard_queue;
