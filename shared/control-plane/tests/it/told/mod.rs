//! What no emulator does: slow, busy, half done, given up, silent. Answers come from a server that does as it is told.
//!
//! The exchanges are written after AWS's API references and the SDK's own models; none was recorded on AWS.

mod account;
mod answers;
mod changes;
mod database;
mod lists;
mod looks;
mod metrics;
mod profile;
mod server;
