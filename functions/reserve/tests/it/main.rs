//! Tests the function on a store in memory.
#![cfg(test)]

mod http;
mod late_look;
