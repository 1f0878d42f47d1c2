//! Tests the adapter against the sandbox gateway and against faulty servers.
#![cfg(test)]

mod contract;
mod failures;
mod outside;
mod support;
