//! Payments on memory: batches, endings, faults.
#![cfg(test)]

mod batch;
mod faults;
mod mode;
mod outcomes;
mod support;
