//! The relay over queues in memory, with faults at each of its calls.
#![cfg(test)]

mod bench;
mod failing;
mod reading;
