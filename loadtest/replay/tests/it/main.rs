//! The replay proved: sabotages are found, drops keep their promises.
#![cfg(test)]
#![allow(clippy::print_stdout)]

mod limits;
mod outage;
mod sabotage;
mod thousand;
