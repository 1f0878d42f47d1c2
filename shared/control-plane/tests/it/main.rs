//! The adapters on control planes that others have written, and on answers by script.
#![cfg(test)]

mod local;
mod told;
