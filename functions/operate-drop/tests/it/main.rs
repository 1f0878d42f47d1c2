//! Tests the operator's API on a store in memory.
#![cfg(test)]

mod deployer;
mod http;
mod orders;
mod readiness;
mod support;
mod undisturbed;
