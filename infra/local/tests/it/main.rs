//! The local stack and its parts over real sockets and processes.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod faults;
mod front;
mod lifecycle;
mod metering;
mod permissions;
mod planes;
mod runtime;
mod sources;
mod support;
mod template;
