//! Runs whole small drops in one process, from a seed: the real handlers over adapters in memory, in virtual time, with
//! faults and crashes at every step, and the audit of a load run afterwards.
//!
//! **The problem.** Drops break in unforeseen orders of events: an answer is lost while a conductor is slow
//! and a shopper clicks twice. A load run has few of these orders and cannot repeat them.
//!
//! **The model.** A [`plan`] is drawn from a seed: the goods, the shoppers and their actions, the behaviour
//! of the services, the faults. Processes ([`process`]) are wired as each function's `main.rs` wires them
//! ([`fleet`]), with ports behind a gate ([`ports`]). At its gate every call takes virtual time while other
//! tasks run, and a fault may hit it: the call is refused, lost before or after its effect, late or slow, or
//! the process dies. The [`executor`] runs one task at a time, and the seed decides which. There is no other
//! randomness, so the same plan gives the same history, byte for byte.
//!
//! **A walk through.** [`run::run`] publishes the drop through `operate-drop`, lets [`shopper`]s send
//! requests to the real routes with real tokens, carries order changes over the [`stream`] to the relay and
//! over [`queue`]s to the workers, and starts the scheduled functions. [`watch`] checks promises after every
//! write. When no work is left, [`verdict`] passes the facts to `loadtest::audit`. [`prove`] does this for
//! many seeds, and [`shrink`] reduces the plan of a seed that breaks a promise. [`sabotage`] proves that bugs
//! are found.
//!
//! **What it does not do.** It does not run the adapters of AWS, of PostgreSQL and of the gateway: the same
//! contract tests check these adapters and the adapters in memory. Network partitions exist only as lost calls and
//! answers, and reads lag by a second at most. The replay measures no speed.
#![forbid(unsafe_code)]
// The handlers' futures, nested in routers, exceed the compiler's default recursion limit.
#![recursion_limit = "256"]

pub mod bank;
pub mod buying;
pub mod chance;
pub mod client;
pub mod draw;
pub mod executor;
pub mod faults;
pub mod fleet;
pub mod function;
pub mod hashed;
mod lock;
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
pub mod sources;
pub mod stream;
pub mod timeline;
pub mod tokens;
pub mod verdict;
pub mod watch;
pub mod webhooks;
pub mod world;
