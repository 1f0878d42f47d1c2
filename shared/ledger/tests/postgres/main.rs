//! Tests the ledger on a PostgreSQL server that the tests start.
#![cfg(test)]

mod authority;
mod contract;
mod entries;
mod faults;
mod former;
mod function;
mod migrations;
mod refusals;
mod server;
mod sign_in;
mod tls;
