//! Tests the relay on queues in memory, with faults at each of its calls.
#![cfg(test)]

mod bench;
mod failing;
mod reading;
