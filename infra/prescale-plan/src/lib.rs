//! Prints the plan of a drop's capacity.
//!
//! **Problem.** Before a change for a drop, people want to see what changes, when, at what cost, which steps cannot be
//! undone, and which limits of the account prevent them.
//!
//! **Model.** [`capacity`] makes all decisions. This crate has the input and the output: [`documents`] reads
//! and checks the declared documents and the drop's file; [`render`] prints a plan as tables.
//!
//! **Walk-through.** `make prescale-plan DROP=infra/prescale/drops/small.toml`, or the binary itself with `--json` for
//! programs, `--quotas` for another account, and `--beside` for other drops on the calendar. It exits with 0 whenever
//! there is a plan, also for a plan that cannot serve everyone, and with 1 if a document is wrong or no capacity is
//! planned for the drop. With `--deployable SECONDS` it says instead whether a deployment of that length may begin, and
//! exits with 3 if not.
//!
//! **What it does not do.** It calls no AWS account: it plans from the declared baseline and reads the limits from a
//! file.
#![forbid(unsafe_code)]

pub mod documents;
pub mod render;
mod table;
