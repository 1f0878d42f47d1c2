//! Tests the sandbox gateway over real HTTP.
#![cfg(test)]

mod failures;
mod payments;
mod program;
mod support;
