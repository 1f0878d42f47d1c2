//! Tests payments on a store and a gateway in memory: batches, endings, outages, rates, faults.
#![cfg(test)]

mod batch;
mod faults;
mod mode;
mod outage;
mod outcomes;
mod rate;
mod support;
