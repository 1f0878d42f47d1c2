//! Tests the cache on a test clock, and the adapter against a server.
#![cfg(test)]

mod cached;
mod manager;
