//! The cache on a clock that tests move, and the adapter against a server.
#![cfg(test)]

mod cached;
mod manager;
