//! Tests the adapters on independently written control planes, and on scripted answers.
#![cfg(test)]

mod local;
mod scripted;
