//! Tests cases that no emulator produces: slow, busy, incomplete, failed, silent. A scripted server gives the answers.
//!
//! The exchanges are written by hand from AWS's API references and the SDK's models; none was recorded on AWS.

mod account;
mod answers;
mod changes;
mod database;
mod lists;
mod looks;
mod metrics;
mod profile;
mod server;
