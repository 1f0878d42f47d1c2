//! Tests drops from the baseline to ready and back, with every possible fault.
#![cfg(test)]

mod calendars;
mod faults;
mod lessons;
mod others;
mod readiness;
mod support;
mod whole;
