//! The ports that functions are given here: those in memory, behind a gate at every call.

mod gateway;
mod ledger;
mod mail;
mod orders;
mod queues;
mod stock;
mod store;
mod tables;
mod tell;

pub use gateway::Gateway;
pub use ledger::Ledger;
pub use mail::Mailbox;
pub use queues::Queues;
pub use store::Store;
pub(crate) use tell::short;
