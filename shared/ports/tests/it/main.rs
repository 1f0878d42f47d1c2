//! Tests the ports' own code, with a clock that the tests move.
#![cfg(test)]

mod cached;
mod retry;
