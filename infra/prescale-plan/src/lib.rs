//! The plan of a drop's capacity, printed.
//!
//! **Problem.** Before anything is changed for a drop, people want to see what will be, when, at what cost, what cannot be
//! undone, and which limits of the account stand in the way.
//!
//! **Model.** All of it is decided by [`domain::prescale`]. Here are its edges: [`documents`] reads and checks the declared
//! documents and the drop's file; [`render`] prints a plan as tables.
//!
//! **Walk-through.** `make prescale-plan DROP=infra/prescale/drops/small.toml`, or the binary itself with `--json` for
//! machines, `--quotas` for another account, and `--beside` for other drops on the calendar. It exits with 0 whenever there
//! is a plan, also one that cannot serve everyone; with 1 if a document is wrong or nothing is held for the drop. With
//! `--deployable SECONDS` it answers instead whether a deployment of that length may begin, and exits with 3 if not.
//!
//! **What it does not do.** It talks to no account: it plans from the declared baseline, and limits are what the file says.
#![forbid(unsafe_code)]

pub mod documents;
pub mod render;
mod table;
