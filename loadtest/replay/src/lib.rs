//! Whole small drops in one process, from a seed: the real handlers over adapters in memory, in virtual time, with
//! faults and crashes at every step, and the audit of a load run afterwards.
//!
//! **The problem.** What breaks a drop is an order of events that nobody thought of: an answer that gets lost while a
//! conductor is slow while a shopper clicks twice. A load run meets few of them and cannot repeat what it met.
//!
//! **The model.** A seed is drawn into a [`plan`]: what is sold, who comes and does what, how the machinery behaves, what
//! goes wrong. Processes ([`process`]) are wired as each function's `main.rs` wires them ([`fleet`]), with ports behind
//! a gate ([`ports`]). At the gate of every call the call takes its time, others go on, and a fault may strike: refused, lost
//! before or after its effect, late, slow, or the death of the process. The [`executor`] runs one task at a time; which, the
//! seed decides. Nothing else is left to chance, so that the same plan gives the same history, byte for byte.
//!
//! **A walk through.** [`run::run`] publishes the drop through `operate-drop`, lets [`shopper`]s send requests to the real
//! routes with real tokens, carries order changes over the [`stream`] to the relay and over [`queue`]s to the workers, and
//! starts the scheduled functions. [`watch`] checks promises after every single write; when nothing is left to happen,
//! [`verdict`] hands the facts to `loadtest::audit`. [`prove`] does so for many seeds; a seed that breaks a promise is
//! made small by [`shrink`]. [`sabotage`] proves that bugs are found.
//!
//! **What it does not do.** It does not run the adapters of AWS, of PostgreSQL and of the gateway: these are held to the same
//! contract tests as the ones in memory. Network partitions exist as lost calls and answers only, and reads that may lag
//! do so by a second, not by minutes. It says nothing about speed.
#![forbid(unsafe_code)]
// The handlers' futures, nested in routers, are deeper than the compiler's usual bound.
#![recursion_limit = "256"]

pub mod buying;
pub mod chance;
pub mod client;
pub mod draw;
pub mod executor;
pub mod faults;
pub mod fleet;
pub mod hashed;
pub mod operator;
pub mod plan;
pub mod ports;
pub mod process;
pub mod prove;
pub mod queue;
pub mod run;
pub mod sabotage;
pub mod shopper;
pub mod shrink;
pub mod situations;
pub mod stream;
pub mod timeline;
pub mod tokens;
pub mod verdict;
pub mod watch;
pub mod webhooks;
pub mod world;
