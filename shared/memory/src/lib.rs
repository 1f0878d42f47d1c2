//! Implements every port in memory.
//!
//! **The problem.** Handlers are tested without a database, so the adapters in memory must behave as the real
//! database does, including the order of two refusals and the answer to a repeat.
//!
//! **The model.** [`MemoryStore`] implements every database port by the domain's own rules, one atomic step at a time.
//! [`MemoryQueues`] and [`MemoryLedger`] keep the events that they receive. [`MemorySecret`] is a secret that tests
//! change. [`TestRuntime`] is a clock that tests move, with random numbers that follow from a seed. The crate
//! `contracts` has the tests of what each port promises, which run on these adapters and on the adapters of real
//! services.
//!
//! **A walk through.** A test prepares a drop with [`MemoryStore::put_drop`], and runs the handler on a clone of the
//! store. It lets calls fail with [`MemoryStore::fail_next`] or [`MemoryStore::set_plan`], and checks the tables with
//! [`MemoryStore::audit`].
//!
//! **What it does not do.** The adapters are not slow, not partitioned and never stale: a read that the port allows to
//! be out of date is up to date here. They store nothing beyond the process.
#![forbid(unsafe_code)]

mod account;
mod audit;
mod conditions;
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
mod shared;
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
