//! Drops from the baseline up to ready and back, with everything going wrong that can.
#![cfg(test)]

mod calendars;
mod faults;
mod lessons;
mod others;
mod readiness;
mod support;
mod whole;
