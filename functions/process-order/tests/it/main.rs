//! Tests of payments over memory: batches, endings, faults.
#![cfg(test)]

mod batch;
mod faults;
mod mode;
mod outage;
mod outcomes;
mod rate;
mod support;
