//! Reservations on memory.
#![cfg(test)]

mod http;
mod late_look;
