//! The rules of [docs/ARCHITECTURE.md](../../../docs/ARCHITECTURE.md) about crates, as tests. There is no code to import.
#![cfg(test)]

mod imports;
