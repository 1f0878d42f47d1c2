//! In-memory adapters of every port.
//!
//! **The problem.** Handlers are tested without a database, so the adapters in memory must behave as the real
//! database does, including the order of two refusals and the answer to a repeat.
//!
//! **The model.** [`MemoryStore`] implements every database port by the domain's own rules, one atomic step at a time;
//! [`MemoryQueues`] and [`MemoryLedger`] keep what they are given; [`MemorySecret`] is a secret that tests change;
//! [`TestRuntime`] is a clock that tests move, with random numbers that follow from a seed. The crate `contracts` holds
//! the tests that say what each port promises: they run on these adapters and on the real ones.
//!
//! **A walk through.** Set the scene with [`MemoryStore::put_drop`]; run the handler on a clone of the store; let calls
//! fail with [`MemoryStore::fail_next`] (or all of them by a [`MemoryStore::set_plan`]); check what is left with
//! [`MemoryStore::audit`].
//!
//! **What it does not do.** It is not slow, not partitioned and never stale: a read that the port allows to lag is up
//! to date here. It stores nothing beyond the process.
#![forbid(unsafe_code)]

mod account;
mod audit;
mod drops;
mod faults;
pub mod fixtures;
pub mod gateway;
mod issuers;
mod ledger;
mod mailbox;
mod orders;
mod queues;
mod runtime;
mod secret;
mod stock;
mod store;
mod yielding;

pub use account::{AccountFault, MemoryAccount, Pace};
pub use faults::{Fault, Op};
pub use gateway::{GatewayFault, GatewayOp, MemoryGateway, PaymentChange, PaymentEvents, PaymentOutcome};
pub use issuers::MemoryParameters;
pub use ledger::MemoryLedger;
pub use mailbox::{MailFault, MemoryMailbox};
pub use queues::{MemoryQueues, SendFault};
pub use runtime::TestRuntime;
pub use secret::MemorySecret;
pub use store::{MemoryStore, OrderChange};
