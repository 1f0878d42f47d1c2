//! The operator's API over memory.
#![cfg(test)]

mod deployer;
mod http;
mod orders;
mod readiness;
mod support;
mod undisturbed;
