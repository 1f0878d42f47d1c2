//! Tests the conductor on a store in memory: runs, steps, cancellation, random histories.
#![cfg(test)]

mod cancellation;
mod histories;
mod runs;
mod steps;
mod support;
