//! The ports' own behaviour, on a clock that the tests move.
#![cfg(test)]

mod cached;
mod retry;
