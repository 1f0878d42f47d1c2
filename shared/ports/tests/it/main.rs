//! The ports' own behaviour, on a clock that the tests move.
#![cfg(test)]

mod retry;
