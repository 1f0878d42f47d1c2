//! The operator's API on memory.
#![cfg(test)]

mod deployer;
mod http;
mod orders;
mod readiness;
mod support;
mod undisturbed;
