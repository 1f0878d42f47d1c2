//! Tests the rules of [docs/ARCHITECTURE.md](../../../docs/ARCHITECTURE.md) about crates, their files and their
//! modules. This crate has no code to import.
#![cfg(test)]

mod files;
mod imports;
mod modules;
