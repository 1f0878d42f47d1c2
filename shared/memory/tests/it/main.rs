//! Tests the contracts of the ports on the adapters in memory, and the tools that other crates' tests use.
#![cfg(test)]

mod account;
mod contract;
mod faults;
mod gateway;
