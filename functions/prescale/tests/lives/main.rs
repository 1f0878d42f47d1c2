//! Drops from the baseline up to ready and back, with everything going wrong that can.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod calendars;
mod faults;
mod lessons;
mod others;
mod readiness;
mod support;
mod whole;
