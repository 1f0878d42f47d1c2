//! The rules of [docs/ARCHITECTURE.md](../../../docs/ARCHITECTURE.md) about crates, their files and their modules, as
//! tests. There is no code to import.
#![cfg(test)]

mod files;
mod imports;
mod modules;
