//! The outbox relay: order changes from the stream become CloudEvents on queues.
//!
//! `checkout` and everyone else who changes an order write to DynamoDB alone; the table's stream is the outbox, and this
//! function carries it on: every change to the ledger's queue, and to the payments queue what begins something there.
//!
//! Each record is decoded by itself. One that cannot be is **parked** as it came, where an engineer finds it, and never
//! blocks the others: a stream is a line in which one bad record would hold up every order behind it. A send that fails
//! for good is answered with the first record concerned, and Lambda hands everything from there again; consumers bear
//! repeats. Dying between the two queues means both again.
//!
//! It reads no table and decides nothing about an order.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod record;
mod relay;

pub use relay::{Relay, StreamEvent};
