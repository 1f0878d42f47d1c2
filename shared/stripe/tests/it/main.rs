//! The adapter against the sandbox gateway and against servers that misbehave.
#![cfg(test)]

mod contract;
mod failures;
mod outside;
mod support;
