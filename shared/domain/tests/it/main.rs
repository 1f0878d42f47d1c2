//! The import rules of the workspace.
#![cfg(test)]

mod architecture;
