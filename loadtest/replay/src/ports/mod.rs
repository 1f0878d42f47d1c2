//! Implements the ports of the functions in a replay: the adapters in memory, with a gate before every call, where
//! faults can hit it.

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
