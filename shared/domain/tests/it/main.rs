//! The import rules of the workspace, and pre-scaling's rules.
#![cfg(test)]

mod architecture;
mod prescale;
