//! Tests of pre-scaling: cases computed by hand, and properties over random calendars, limits and histories.
#![cfg(test)]

mod capacity;
mod learning;
mod limits;
mod mistakes;
mod plans;
mod properties;
mod readiness;
mod runs;
mod support;
